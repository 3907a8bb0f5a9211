//! What threads of one side meet by, in one place so that a model checker can take its place.

#[cfg(not(model))]
pub(super) use std::sync::{
    atomic::{AtomicU32, AtomicU64},
    Mutex, MutexGuard,
};
#[cfg(not(model))]
pub(super) use std::thread_local;

#[cfg(loom)]
pub(super) use loom::{
    sync::{
        atomic::{AtomicU32, AtomicU64},
        Condvar, Mutex, MutexGuard,
    },
    thread_local,
};

#[cfg(shuttle)]
pub(super) use shuttle::{
    sync::{
        atomic::{AtomicU32, AtomicU64},
        Condvar, Mutex, MutexGuard,
    },
    thread_local,
};
