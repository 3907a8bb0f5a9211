//! Xen's vchan protocol in Rust.

pub mod transport;
