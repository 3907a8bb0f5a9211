//! Writing files under a limit on their size (`RLIMIT_FSIZE`): the kernel sends SIGXFSZ beside the error, which would
//! end the program.

use std::mem::MaybeUninit;
use std::ptr;

/// Runs `write` without SIGXFSZ. What exceeds the limit fails with `EFBIG` alone. A signal that was pending before stays.
///
/// The kernel sends this signal to the thread that writes, so other threads are not concerned.
pub(super) fn without_signal<T>(write: impl FnOnce() -> T) -> T {
    let _held = Held::new();
    write()
}

/// SIGXFSZ is blocked in this thread.
struct Held {
    before: libc::sigset_t,
    was_pending: bool,
}

impl Held {
    fn new() -> Held {
        let mut before = MaybeUninit::uninit();
        let set = only_xfsz();
        // SAFETY: both sets are valid for the call, which fills in the second one. It fails only for a bad first
        // argument.
        let before = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, before.as_mut_ptr());
            before.assume_init()
        };
        Held { before, was_pending: is_pending() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.was_pending && is_pending() {
            let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the set and the time are valid for the call. Without a place for it, no information is given.
            unsafe { libc::sigtimedwait(&only_xfsz(), ptr::null_mut(), &none) };
        }
        // SAFETY: the set that was filled in by `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

fn only_xfsz() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` fills the set in, and can't fail; neither can `sigaddset` for a signal that exists.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGXFSZ);
        set.assume_init()
    }
}

fn is_pending() -> bool {
    let mut pending = MaybeUninit::uninit();
    // SAFETY: the call fills the set in; it fails only for a bad pointer.
    unsafe {
        libc::sigpending(pending.as_mut_ptr());
        libc::sigismember(pending.as_ptr(), libc::SIGXFSZ) == 1
    }
}
