//! A condition variable whose waits a signal can end, which std's can't.

use std::sync::PoisonError;

use super::limit::Limit;
use super::sync::{Mutex, MutexGuard};

#[cfg(not(model))]
use std::{
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

#[cfg(not(model))]
use super::interrupt;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roused {
    /// By a call, the limit, or for no reason.
    Perhaps,
    /// By a signal that [ends waits](super::interrupt).
    Interrupted,
}

/// Counts the calls, all made with the mutex held: a word to wait on.
#[cfg(not(model))]
#[derive(Debug, Default)]
pub(super) struct Waker(AtomicU32);

#[cfg(not(model))]
impl Waker {
    /// Releases the mutex, waits, and takes it again.
    pub(super) fn wait<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        limit: Limit,
    ) -> (MutexGuard<'a, T>, Roused) {
        let calls = self.0.load(Ordering::Relaxed);
        drop(guard);
        let roused = self.wait_for_another_than(calls, limit);
        (mutex.lock().unwrap_or_else(PoisonError::into_inner), roused)
    }

    /// Without a time-out the kernel ends this for a handler without `SA_RESTART` alone. With one it does for any handler, and
    /// it can't be known which one ran.
    fn wait_for_another_than(&self, calls: u32, limit: Limit) -> Roused {
        let timeout = limit.time_left();
        let time = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word and the time live as long as the call.
        let ended = unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), operation, calls, time) };
        let interrupted = ended != 0 && nix::errno::Errno::last() == nix::errno::Errno::EINTR;
        if interrupted && (timeout.is_none() || interrupt::ends_the_wait()) {
            return Roused::Interrupted;
        }
        Roused::Perhaps
    }

    /// Ends the wait of one thread.
    pub(super) fn notify_one(&self) {
        self.notify(1);
    }

    /// Ends the waits of all threads.
    pub(super) fn notify_all(&self) {
        self.notify(i32::MAX);
    }

    fn notify(&self, threads: i32) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the kernel only looks for threads that wait on the word.
        unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), operation, threads) };
    }
}

/// The model checkers': they know no signals.
#[cfg(model)]
#[derive(Debug, Default)]
pub(super) struct Waker(super::sync::Condvar);

#[cfg(model)]
impl Waker {
    pub(super) fn wait<'a, T>(
        &self,
        _mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        limit: Limit,
    ) -> (MutexGuard<'a, T>, Roused) {
        let guard = match limit.left() {
            None => self.0.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(left) => self.0.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0,
        };
        (guard, Roused::Perhaps)
    }

    pub(super) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(super) fn notify_all(&self) {
        self.0.notify_all();
    }
}
