//! The transport of real Xen.

pub mod xenstore;
