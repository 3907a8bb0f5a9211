//! Which thread this is, which threads can exist after a fork, and whether a call can still end.
//!
//! All of it works while a thread ends, after its thread-local variables were destroyed, and in signal handlers.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::errno::Errno;

/// The next thread's number. Numbers are never reused.
static NEXT: AtomicU32 = AtomicU32::new(1);
/// Lower numbers belong to threads from before the last fork.
static FIRST: AtomicU32 = AtomicU32::new(0);
/// The one thread that survived the fork.
static FORKER: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// 0 as long as there is none.
    static NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// The number of this thread. No other thread ever has it, and it is never 0. After a fork the forking thread keeps
/// it.
#[inline]
pub fn number() -> u32 {
    match NUMBER.get() {
        0 => new_number(),
        number => number,
    }
}

#[cold]
fn new_number() -> u32 {
    let new = NEXT.fetch_add(1, Relaxed);
    // The first number is assigned before a fork can leave anything behind.
    #[cfg(not(miri))]
    if new == 1 {
        // SAFETY: a function that may run in a process that was just forked.
        unsafe { libc::pthread_atfork(None, None, Some(has_forked)) };
    }
    NUMBER.set(new);
    new
}

#[cfg(not(miri))]
extern "C" fn has_forked() {
    FORKER.store(NUMBER.get(), Relaxed);
    FIRST.store(NEXT.load(Relaxed), Relaxed);
}

/// Whether a thread of this number can exist in this process. Threads left behind by a fork cannot.
pub fn can_exist(number: u32) -> bool {
    number >= FIRST.load(Relaxed) || number == FORKER.load(Relaxed)
}

/// The kernel's number of this thread.
pub fn kernel_number() -> u32 {
    // SAFETY: asks only.
    unsafe { libc::gettid() }.unsigned_abs()
}

/// Whether this thread of the process lives: its number, and the kernel's number when it registered, 0 if unknown.
/// `true` if uncertain.
pub fn lives(number: u32, kernel: u32) -> bool {
    if number == FORKER.load(Relaxed) || kernel == 0 || cfg!(miri) {
        return true;
    }
    let errno = Errno::last_raw();
    // Thread IDs are positive and fit a C int.
    let (kernel, none) = (kernel as libc::c_long, libc::c_long::from(0));
    // SAFETY: sends no signal.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, libc::c_long::from(libc::getpid()), kernel, none) };
    let gone = result != 0 && Errno::last() == Errno::ESRCH;
    Errno::set_raw(errno);
    can_exist(number) && !gone
}

/// The position of the stack: the lower, the deeper.
#[inline(always)]
pub fn depth() -> usize {
    let mark = MaybeUninit::<u8>::uninit();
    std::hint::black_box(ptr::from_ref(&mark)).addr()
}

/// Whether a call that began at the [`depth`] `begun` was left by `longjmp`, for a function at the depth `now`.
/// `false` if uncertain: the stack may have grown as deep again, and code on a signal handler's own stack may return
/// to anything.
pub fn was_left(begun: usize, now: usize) -> bool {
    now > begun && !on_signal_stack()
}

fn on_signal_stack() -> bool {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: changes nothing, and fills in what it was given, which zeroes are valid for.
    let stack = unsafe {
        libc::sigaltstack(ptr::null(), stack.as_mut_ptr());
        stack.assume_init()
    };
    stack.ss_flags & libc::SS_ONSTACK != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn deeper() -> usize {
        let room = std::hint::black_box([0u8; 4096]);
        begun() + usize::from(std::hint::black_box(room)[0])
    }

    #[inline(never)]
    fn begun() -> usize {
        depth()
    }

    #[test]
    fn numbers_stay_and_differ() {
        let mine = number();
        assert_eq!(mine, number());
        let other = std::thread::spawn(|| (number(), kernel_number())).join().unwrap();
        assert_ne!(mine, other.0);
        assert!(lives(mine, kernel_number()) && can_exist(mine));
    }

    #[test]
    #[cfg(not(miri))]
    fn a_thread_that_has_ended_does_not_live() {
        let (number, kernel) = std::thread::spawn(|| (number(), kernel_number())).join().unwrap();
        // The kernel may need a moment after the join.
        while lives(number, kernel) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_deeper_was_left() {
        assert!(was_left(deeper(), depth()));
        assert!(!was_left(depth(), deeper()));
    }
}
