//! Locks, atomics, and a condition variable that signal handlers can end. Model builds substitute the checker's.

use std::sync::PoisonError;

use super::signals::Sleep;

#[cfg(not(model))]
pub(in crate::channel) use std::sync::{
    atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize},
    Mutex, MutexGuard,
};
#[cfg(not(model))]
pub(in crate::channel) use std::thread_local;

#[cfg(loom)]
pub(in crate::channel) use loom::{
    sync::{
        atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize},
        Mutex, MutexGuard,
    },
    thread_local,
};

#[cfg(shuttle)]
pub(in crate::channel) use shuttle::{
    sync::{
        atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize},
        Mutex, MutexGuard,
    },
    thread_local,
};

#[cfg(loom)]
pub(in crate::channel) use loom::sync::Condvar as CheckersCondvar;
#[cfg(shuttle)]
pub(in crate::channel) use shuttle::sync::Condvar as CheckersCondvar;

/// A condition variable. Unlike the standard library's it also ends when a signal handler ends the sleep.
#[derive(Debug, Default)]
pub(in crate::channel) struct Condvar {
    #[cfg(not(model))]
    wakes: AtomicU32,
    #[cfg(model)]
    inner: CheckersCondvar,
}

pub(in crate::channel) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(not(model))]
impl Condvar {
    /// Releases `guard` of `mutex` while asleep. May wake spuriously. `EINTR`: a handler has ended it.
    pub(super) fn wait<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        sleep: &mut Sleep,
    ) -> (MutexGuard<'a, T>, nix::Result<()>) {
        let seen = self.wakes.load(std::sync::atomic::Ordering::Relaxed);
        drop(guard);
        let result = sleep.wait_for_change(&self.wakes, seen);
        (lock(mutex), result)
    }

    /// Called with the mutex locked.
    pub(in crate::channel) fn notify_one(&self) {
        self.notify(1);
    }

    /// Called with the mutex locked.
    pub(in crate::channel) fn notify_all(&self) {
        self.notify(i32::MAX);
    }

    fn notify(&self, count: i32) {
        self.wakes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        super::signals::wake(&self.wakes, count);
    }
}

#[cfg(model)]
impl Condvar {
    pub(super) fn wait<'a, T>(
        &self,
        _mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        _sleep: &mut Sleep,
    ) -> (MutexGuard<'a, T>, nix::Result<()>) {
        (self.inner.wait(guard).unwrap_or_else(PoisonError::into_inner), Ok(()))
    }

    pub(in crate::channel) fn notify_one(&self) {
        self.inner.notify_one();
    }

    pub(in crate::channel) fn notify_all(&self) {
        self.inner.notify_all();
    }
}
