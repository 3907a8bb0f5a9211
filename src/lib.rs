//! Xen's vchan protocol in Rust.
