//! The atomics of the shared page, which a model checker replaces.

#[cfg(not(model))]
pub(crate) use std::sync::atomic::{fence, AtomicU16, AtomicU32, AtomicU8, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{fence, AtomicU16, AtomicU32, AtomicU8, Ordering};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{fence, AtomicU16, AtomicU32, AtomicU8, Ordering};
