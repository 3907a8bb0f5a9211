//! Cancellation of threads, by `pthread_cancel`, as C programs use it.
//!
//! A thread that is cancelled unwinds from within a *cancellation point*: a call of the C library that may block. Rust code
//! can't be unwound so. So cancellation is held off wherever this crate makes such calls, and sleeps are made by system
//! calls that are none. While a thread sleeps, cancellation is as the program has it. The sleep ends every now and then, or by the C
//! library's signal, the call returns to the C interface, and that looks whether the thread was cancelled once nothing of this
//! crate is on the stack any more. Only a thread whose cancellation is deferred, as is usual, can be in this crate: asynchronous cancellation
//! allows hardly any call.

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

/// The signal by which the C library cancels a thread: the first of those that it keeps for itself.
const SIGCANCEL: c_int = 32;

thread_local! {
    /// What the program had, while it is held off.
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

/// Holds cancellation off until it is dropped.
#[must_use]
pub struct Held {
    /// Whether this is the outermost.
    outermost: bool,
}

/// Holds cancellation of this thread off.
// Inlined, this and `drop` make the data path compute the address of a thread-local variable before it is needed.
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

/// Does what is no cancellation point with cancellation as the program has it, so that a sleep is interrupted.
pub(super) fn open<T>(sleep: impl FnOnce() -> T) -> T {
    match BEFORE.get() {
        Some(ENABLE) => {
            // A signal handler holds it off again for its own calls, or leaves by `longjmp`, when nothing is held off any more.
            BEFORE.set(None);
            set(ENABLE);
            let result = sleep();
            // `errno` is the C library's to keep: this changes a word of the thread's.
            set(DISABLE);
            BEFORE.set(Some(ENABLE));
            result
        }
        _ => sleep(),
    }
}

/// Whether there is another thread that could cancel this one.
pub(super) fn is_possible() -> bool {
    /// The C library's flag. Null where it has none.
    static SINGLE: Lazy<AtomicPtr<c_char>> = Lazy::new(|| {
        // SAFETY: a name that ends in zero.
        AtomicPtr::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) }.cast())
    });
    let single = SINGLE.load(Relaxed);
    // SAFETY: null, or the C library's flag, of one byte. This thread's own view of it is enough: only it could make the first other one.
    single.is_null() || unsafe { single.read_volatile() } == 0
}

/// Whether any thread of this process was ever cancelled: the C library handles its signal from then on.
pub(super) fn was_used() -> bool {
    if cfg!(miri) {
        return false;
    }
    /// As the kernel has it: the C library refuses to tell of this signal.
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
