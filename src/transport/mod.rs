//! What a channel runs on.

pub mod xen;
