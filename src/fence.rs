//! Fences on other processors, at the system's hands: membarrier(2).
//!
//! Where one side does something very often and the other looks for it very seldom, both need not pay for the order of
//! their memory accesses. The busy side only keeps the compiler in order, by [`light`]; the other one calls [`heavy`], which
//! is a fence here and at the same time one on every processor that runs a thread of a process that can be reached. What
//! is said of a pair of sequentially consistent fences holds for `light` and `heavy`.
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
//! use vchan::fence;
//!
//! static WORKING: AtomicBool = AtomicBool::new(false);
//! static ENDED: AtomicBool = AtomicBool::new(false);
//!
//! // Often, in one thread:
//! WORKING.store(true, Relaxed);
//! if fence::is_available() { fence::light() } else { std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst) }
//! if !ENDED.load(Relaxed) { /* work */ }
//! WORKING.store(false, Relaxed);
//!
//! // Once, in another: afterwards no work begins any more.
//! ENDED.store(true, Relaxed);
//! fence::heavy();
//! while WORKING.load(Relaxed) { std::thread::yield_now() }
//! ```

use std::sync::atomic::{compiler_fence, fence, Ordering};
use std::{thread, time::Duration};

use once_cell::sync::Lazy;

/// Whether this process can make barriers, and is reached by those of this process and of others: from Linux 4.16 on, where
/// nothing forbids it. The answer stays the same.
///
/// The first call registers the process. Where it has several threads, that takes some milliseconds.
#[inline]
pub fn is_available() -> bool {
    static REGISTERED: Lazy<bool> = Lazy::new(|| {
        let both = libc::c_long::from(GLOBAL_EXPEDITED | REGISTER_GLOBAL_EXPEDITED);
        // Miri doesn't know the call.
        !cfg!(miri) && membarrier(QUERY) & both == both && membarrier(REGISTER_GLOBAL_EXPEDITED) == 0
    });
    *REGISTERED
}

/// The frequent half of a pair: orders nothing by itself, and costs nothing. Where barriers are not
/// [available](is_available) it takes a fence instead.
#[inline]
pub fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// The seldom half of a pair: a fence here and in every process that can be reached. A system call of half a microsecond;
/// ten where another processor has to be interrupted. Where barriers are not [available](is_available) it is a fence here.
pub fn heavy() {
    if is_available() && membarrier(GLOBAL_EXPEDITED) != 0 {
        // Forbidden since then, by a filter.
        thread::sleep(WRITTEN);
    }
    fence(Ordering::SeqCst);
}

/// Commands of membarrier(2).
const QUERY: libc::c_int = 0;
const GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

/// A processor has written out long before this what it has stored.
const WRITTEN: Duration = Duration::from_millis(1);

fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: takes no addresses.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    };

    use super::*;

    /// On a cache line of its own.
    #[derive(Default)]
    #[repr(align(128))]
    struct Line(AtomicU32);

    /// Both store the round's number and then look for the other's: at most one may miss it.
    #[test]
    fn one_of_both_sees_the_other() {
        if !is_available() {
            println!("no membarrier: not tested");
            return;
        }
        const ROUNDS: u32 = 60_000;
        let lines: [Line; 4] = Default::default();
        let [often, seldom, turn, missed] = lines.each_ref().map(|line| &line.0);
        let slow: [Line; 8] = Default::default();
        let wait_for = |place: &AtomicU32, value| {
            for look in 1u32.. {
                match place.load(Acquire) == value {
                    true => return,
                    false if look % 1000 == 0 => thread::yield_now(),
                    false => std::hint::spin_loop(),
                }
            }
        };
        let mut both_missed = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_for(turn, round);
                    // Stores that take their time, since the other one has just written there, delay the next.
                    slow.iter().for_each(|line| line.0.store(round, Relaxed));
                    often.store(round, Relaxed);
                    light();
                    missed.store(u32::from(seldom.load(Relaxed) != round), Relaxed);
                    turn.store(0, Release);
                }
            });
            for round in 1..=ROUNDS {
                slow.iter().for_each(|line| line.0.store(0, Relaxed));
                turn.store(round, Release);
                // The other one hears of it after a while: at some time, both are at it together.
                (0..round % 128).for_each(|_| std::hint::spin_loop());
                seldom.store(round, Relaxed);
                heavy();
                let one_missed = often.load(Relaxed) != round;
                wait_for(turn, 0);
                both_missed += u32::from(one_missed) * missed.load(Relaxed);
            }
        });
        assert_eq!(both_missed, 0, "of {ROUNDS} rounds");
    }
}
