//! Cancellation of threads by `pthread_cancel`, for C programs.
//!
//! A cancelled thread unwinds from a *cancellation point*, a call of the C library that may block. Rust code cannot be
//! unwound that way. So cancellation is disabled around such calls in this crate, and sleeps use system calls that are
//! not cancellation points. During a sleep the program's own setting applies. The sleep ends periodically, or by the C
//! library's signal. The call then returns to the C interface, which checks for a cancellation when no frame of this
//! crate is on the stack. Only threads with deferred cancellation, the default, can be in this crate: asynchronous
//! cancellation allows hardly any call.

use std::cell::Cell;
use std::os::raw::{c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use once_cell::sync::Lazy;

extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const ENABLE: c_int = 0;
const DISABLE: c_int = 1;

/// The signal by which the C library cancels a thread, the first of its reserved ones.
const SIGCANCEL: c_int = 32;

thread_local! {
    /// The program's setting while cancellation is disabled.
    static BEFORE: Cell<Option<c_int>> = const { Cell::new(None) };
}

fn set(state: c_int) -> c_int {
    let mut old = ENABLE;
    if !cfg!(any(miri, model)) {
        // SAFETY: a valid state, and a place for the old one. To allow cancellation cancels nothing by itself where it is deferred.
        unsafe { pthread_setcancelstate(state, &mut old) };
    }
    old
}

/// Keeps cancellation disabled until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Held {
    /// Whether this is the outermost.
    outermost: bool,
}

/// Disables cancellation of this thread.
// Inlined, this and `drop` would make the data path compute the address of a thread-local variable too early.
#[inline(never)]
pub fn hold() -> Held {
    let outermost = BEFORE.get().is_none();
    if outermost {
        BEFORE.set(Some(set(DISABLE)));
    }
    Held { outermost }
}

impl Drop for Held {
    #[inline(never)]
    fn drop(&mut self) {
        if let Some(before) = BEFORE.get().filter(|_| self.outermost) {
            BEFORE.set(None);
            set(before);
        }
    }
}

/// Runs `sleep`, which is not a cancellation point itself, with the program's setting restored, so that a cancellation
/// interrupts it.
pub(super) fn with_programs_setting<T>(sleep: impl FnOnce() -> T) -> T {
    match BEFORE.get() {
        Some(ENABLE) => {
            // A signal handler may call into this crate, and disable cancellation again, or leave by `longjmp`, which
            // must not leave it disabled.
            BEFORE.set(None);
            set(ENABLE);
            let result = sleep();
            // `set` changes a word of the thread. It does not touch `errno`.
            set(DISABLE);
            BEFORE.set(Some(ENABLE));
            result
        }
        _ => sleep(),
    }
}

/// Whether another thread exists that could cancel this one.
pub(super) fn is_possible() -> bool {
    /// The C library's flag, null if it has none.
    static SINGLE: Lazy<AtomicPtr<c_char>> = Lazy::new(|| {
        // SAFETY: a name that ends in zero.
        AtomicPtr::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) }.cast())
    });
    let single = SINGLE.load(Relaxed);
    // SAFETY: null, or the C library's flag, of one byte. This thread's own view of it is enough: only it could make the first other one.
    single.is_null() || unsafe { single.read_volatile() } == 0
}

/// Whether any thread of this process was ever cancelled. The C library installs the handler of its signal at the
/// first `pthread_cancel`.
pub(super) fn was_used() -> bool {
    if cfg!(miri) {
        return false;
    }
    /// The kernel's layout. The C library does not report this signal.
    #[repr(C)]
    struct Action {
        handler: usize,
        rest: [usize; 7],
    }
    let mut action = Action { handler: 0, rest: [0; 7] };
    // SAFETY: changes nothing, and fills in at most as much; the set of signals in it has 8 bytes.
    let result = unsafe {
        let none = ptr::null::<Action>();
        libc::syscall(libc::SYS_rt_sigaction, SIGCANCEL, none, ptr::from_mut(&mut action), 8usize)
    };
    result == 0 && action.handler > 1
}
