//! Writing files under a size limit (`RLIMIT_FSIZE`): besides the error, the kernel sends SIGXFSZ, which
//! would end the program.

use std::mem::MaybeUninit;
use std::ptr;

/// Runs `write` without SIGXFSZ. A write beyond the limit only fails with `EFBIG`. A signal that was pending
/// before stays pending.
///
/// The kernel sends this signal to the writing thread, so other threads are not affected.
pub(super) fn without_signal<T>(write: impl FnOnce() -> T) -> T {
    let _held = Held::new();
    write()
}

/// SIGXFSZ is blocked in this thread.
struct Held {
    /// `None` if it could not be blocked.
    before: Option<libc::sigset_t>,
    was_pending: bool,
}

impl Held {
    fn new() -> Held {
        let mut before = no_signals();
        // SAFETY: both sets are valid for the call, which fills in the second one.
        let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &only_xfsz(), &mut before) };
        Held { before: (failed == 0).then_some(before), was_pending: must_wait() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(before) = self.before else { return };
        if !self.was_pending && must_wait() {
            let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the set and the time are valid for the call. Without a place for it, no information is given.
            unsafe { libc::sigtimedwait(&only_xfsz(), ptr::null_mut(), &none) };
        }
        // SAFETY: the set that was filled in by `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut()) };
    }
}

fn no_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call fills the set in, and can't fail.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn only_xfsz() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: a set, and a signal that exists.
    unsafe { libc::sigaddset(&mut set, libc::SIGXFSZ) };
    set
}

fn must_wait() -> bool {
    let mut pending = no_signals();
    // SAFETY: the call fills the set in, or leaves it as it is.
    unsafe {
        libc::sigpending(&mut pending);
        libc::sigismember(&pending, libc::SIGXFSZ) == 1
    }
}
