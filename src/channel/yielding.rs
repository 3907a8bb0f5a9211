//! Letting the peer run that shares our processor.
//!
//! Where spinning fails although the waits are short, the peer can't run meanwhile: both sides share a processor. There,
//! giving the processor away costs a good deal less than going to sleep and being woken does, and no event at all. But
//! it may be somebody else who takes it, and keeps it for a whole time slice, which costs as much as thousands of
//! successes gain. So there is an account: a success pays in a little, a try that took long takes out what it took; in
//! the red there are as many waits without as would have earned it, twice as many the next time. After a try that brought
//! nothing there are a few waits without, and ever more when that repeats. So, too, for a reader
//! whose writer goes to sleep all the same: the scheduler holds it against us that we gave the processor away, and lets
//! a writer that is woken run at once, for every little that was read.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::seldom::Seldom;

/// How often the processor is given away in one wait.
const TRIES: u32 = 2;
/// Longer than this, and than the peer needs for what it moved, somebody else had the processor, or the peer has so much
/// else to do that a sleep doesn't matter.
const TOO_LONG: Duration = Duration::from_micros(20);
/// What the peer needs to move a byte, in pieces of some 64.
const PER_BYTE: Duration = Duration::from_nanos(1);
/// What a success gains, in nanoseconds. Little enough that fewer than one try in a hundred takes long.
const GAIN: u32 = 200;
/// The most that is saved up: in nanoseconds.
const MOST_SAVED: u32 = 400_000;
/// So many times in a row the peer has slept all the same, until it counts.
const PATIENCE: u32 = 8;
/// How often the pause after having been in the red is doubled.
const MOST_LOSSES: u32 = 6;
/// So many successes make up for having been in the red once.
const MADE_UP: u32 = 20_000;

/// What one direction of a channel knows of it.
#[derive(Debug, Default)]
pub(super) struct Yielding {
    tries: Seldom,
    /// What successes have gained, in nanoseconds.
    saved: AtomicU32,
    /// How often that didn't suffice, lately.
    losses: AtomicU32,
    /// Successes since the last time.
    streak: AtomicU32,
    /// Whether the peer has asked for an event since the last try.
    peer_slept: AtomicBool,
    /// How many tries in a row it has.
    sleeps: AtomicU32,
}

impl Yielding {
    /// Gives the processor away, if that promises something; says whether it is `done` then. `moved` says how many bytes
    /// the peer has moved.
    pub(super) fn until(&self, mut done: impl FnMut() -> bool, moved: impl Fn() -> u32) -> bool {
        if !self.tries.is_due() {
            return false;
        }
        let begun = Instant::now();
        let done = (0..TRIES).any(|_| {
            thread::yield_now();
            done()
        });
        self.learn(done, begun.elapsed().saturating_sub(PER_BYTE * moved()));
        done
    }

    fn learn(&self, done: bool, took: Duration) {
        let sleeps = self.sleeps();
        if took > TOO_LONG {
            self.lost(took);
        } else if !done || sleeps == PATIENCE {
            self.tries.failed();
        } else if sleeps == 0 {
            self.won();
        }
    }

    /// The peer has asked for an event, and will run at once when it gets it.
    pub(super) fn peer_sleeps(&self) {
        self.peer_slept.store(true, Ordering::Relaxed);
    }

    /// How many times in a row it has done so while this side doesn't sleep.
    fn sleeps(&self) -> u32 {
        let slept = self.peer_slept.load(Ordering::Relaxed);
        self.peer_slept.store(false, Ordering::Relaxed);
        let sleeps = if slept { self.sleeps.load(Ordering::Relaxed) + 1 } else { 0 };
        self.sleeps.store(sleeps % PATIENCE, Ordering::Relaxed);
        sleeps
    }

    fn won(&self) {
        self.tries.succeeded();
        let saved = self.saved.load(Ordering::Relaxed);
        self.saved.store((saved + GAIN).min(MOST_SAVED), Ordering::Relaxed);
        let streak = self.streak.load(Ordering::Relaxed) + 1;
        self.streak.store(streak % MADE_UP, Ordering::Relaxed);
        if streak == MADE_UP {
            let losses = self.losses.load(Ordering::Relaxed);
            self.losses.store(losses.saturating_sub(1), Ordering::Relaxed);
        }
    }

    fn lost(&self, took: Duration) {
        let saved = self.saved.load(Ordering::Relaxed);
        let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
        self.saved.store(saved.saturating_sub(took), Ordering::Relaxed);
        if took > saved {
            let losses = self.losses.load(Ordering::Relaxed);
            self.losses.store((losses + 1).min(MOST_LOSSES), Ordering::Relaxed);
            self.streak.store(0, Ordering::Relaxed);
            self.tries.rest(((took - saved) / GAIN) << losses);
        }
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(1);

    /// How many waits go without, now.
    fn pause(yielding: &Yielding) -> u128 {
        (0..).find(|_| yielding.tries.is_due()).expect("without end")
    }

    #[test]
    fn failures_make_it_seldom_and_success_brings_it_back() {
        let yielding = Yielding::default();
        for failures in 1..=5 {
            yielding.learn(false, SHORT);
            assert_eq!(pause(&yielding), 1 << failures);
        }
        for _ in 0..10 {
            yielding.learn(true, SHORT);
            assert_eq!(pause(&yielding), 0);
        }
        yielding.learn(false, SHORT);
        assert_eq!(pause(&yielding), 2);
    }

    #[test]
    fn what_takes_long_must_have_been_earned() {
        let yielding = Yielding::default();
        let (long, waits) = (Duration::from_millis(2), u128::from(2_000_000 / GAIN));
        for losses in 0..4 {
            yielding.learn(true, long);
            assert_eq!(pause(&yielding), waits << losses);
        }
        for _ in 0..4 * MADE_UP {
            yielding.learn(true, SHORT);
        }
        yielding.learn(true, 2 * TOO_LONG);
        assert_eq!(pause(&yielding), 0, "there was enough");
        yielding.learn(false, long);
        let left = MOST_SAVED - 40_000;
        assert_eq!(pause(&yielding), u128::from((2_000_000 - left) / GAIN));
    }

    #[test]
    fn a_peer_that_sleeps_all_the_same_makes_it_seldom() {
        let yielding = Yielding::default();
        let asleep = |times| {
            for _ in 0..times {
                yielding.peer_sleeps();
                yielding.learn(true, SHORT);
            }
        };
        asleep(PATIENCE - 1);
        yielding.learn(true, SHORT);
        asleep(PATIENCE - 1);
        assert_eq!(pause(&yielding), 0);
        asleep(1);
        assert_eq!(pause(&yielding), 2);
        asleep(PATIENCE);
        assert_eq!(pause(&yielding), 4);
    }

    #[test]
    fn it_looks_after_each_try() {
        let (yielding, mut looks) = (Yielding::default(), 0);
        let look = || {
            looks += 1;
            false
        };
        assert!(!yielding.until(look, || 0));
        assert_eq!(looks, TRIES);
    }
}
