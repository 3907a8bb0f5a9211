//! Asymmetric fences: membarrier(2).
//!
//! If one side does something often and the other checks for it rarely, only the rare side needs a real fence. The
//! frequent side calls [`light`], which orders only the compiler. The rare side calls [`heavy`], a fence here and on
//! every processor that runs a thread of a registered process. The pair has the guarantees of two sequentially
//! consistent fences.
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
//! use vchan::unstable::fence;
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

/// Whether this process can make heavy fences, and is reached by those of this process and others: from Linux 4.16 on,
/// unless forbidden. The answer never changes.
///
/// The first call registers the process. With several threads that takes some milliseconds.
#[inline]
pub fn is_available() -> bool {
    static REGISTERED: Lazy<bool> = Lazy::new(|| {
        let both = libc::c_long::from(GLOBAL_EXPEDITED | REGISTER_GLOBAL_EXPEDITED);
        // Miri does not know the call.
        !cfg!(miri) && membarrier(QUERY) & both == both && membarrier(REGISTER_GLOBAL_EXPEDITED) == 0
    });
    *REGISTERED
}

/// The frequent half of a pair. Orders only the compiler, and costs nothing. Use a real fence where heavy ones are not
/// [available](is_available).
#[inline]
pub fn light() {
    compiler_fence(Ordering::SeqCst);
}

/// The rare half of a pair: a fence here and in every registered process. A system call of half a microsecond, or ten
/// if another processor has to be interrupted. Only a fence here where it is not [available](is_available).
pub fn heavy() {
    if is_available() && membarrier(GLOBAL_EXPEDITED) != 0 {
        // A filter has forbidden it since.
        thread::sleep(WRITTEN);
    }
    fence(Ordering::SeqCst);
}

/// Commands of membarrier(2).
const QUERY: libc::c_int = 0;
const GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

/// A processor has long written out its stores by then.
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

    /// Both store the number of the round and then check the other's. At most one may miss it.
    #[test]
    fn one_of_both_sees_the_other() {
        if !is_available() {
            println!("no membarrier: not tested");
            return;
        }
        const ROUNDS: u32 = 60_000;
        let lines: [Line; 4] = Default::default();
        let [often, rare, turn, missed] = lines.each_ref().map(|line| &line.0);
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
                    // Slow stores, to lines that the other thread has just written, delay the next one.
                    slow.iter().for_each(|line| line.0.store(round, Relaxed));
                    often.store(round, Relaxed);
                    light();
                    missed.store(u32::from(rare.load(Relaxed) != round), Relaxed);
                    turn.store(0, Release);
                }
            });
            for round in 1..=ROUNDS {
                slow.iter().for_each(|line| line.0.store(0, Relaxed));
                turn.store(round, Release);
                // The delay varies, so that both overlap in some rounds.
                (0..round % 128).for_each(|_| std::hint::spin_loop());
                rare.store(round, Relaxed);
                heavy();
                let one_missed = often.load(Relaxed) != round;
                wait_for(turn, 0);
                both_missed += u32::from(one_missed) * missed.load(Relaxed);
            }
        });
        assert_eq!(both_missed, 0, "of {ROUNDS} rounds");
    }
}
