//! Letting the peer run that shares our processor.
//!
//! Where spinning fails although the waits are short, the peer can't run meanwhile: both sides share a processor. There,
//! giving the processor away costs a good deal less than going to sleep and being woken does, and no event at all. But
//! it may be somebody else who takes it, and keeps it for a whole time slice, which costs as much as thousands of
//! successes gain. So every try is timed; after one that took long there are so many waits without that the loss is
//! small among them, after one that brought nothing a few, and ever more when that repeats.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the processor is given away in one wait.
const TRIES: u32 = 2;
/// Longer than this somebody else had the processor, or the peer has so much to do that a sleep doesn't matter.
const TOO_LONG: Duration = Duration::from_micros(20);
/// After so many nanoseconds lost, there is one more wait without.
const LOSS: u128 = 16;
/// After many failures, one wait in 2 to the power of this is tried.
const MOST_SELDOM: u32 = 12;
/// How often the pause after a loss is doubled.
const MOST_LOSSES: u32 = 6;
/// So many successes make up for a loss.
const MADE_UP: u32 = 100_000;

/// What one direction of a channel knows of it.
#[derive(Debug, Default)]
pub(super) struct Yielding {
    /// Tries in vain, lately.
    failures: AtomicU32,
    /// Tries that took long, lately.
    losses: AtomicU32,
    /// Successes since the last of those.
    streak: AtomicU32,
    /// How many more waits go without.
    pause: AtomicU32,
}

impl Yielding {
    /// Gives the processor away, if that promises something; says whether it is `done` then.
    pub(super) fn until(&self, mut done: impl FnMut() -> bool) -> bool {
        if self.pauses() {
            return false;
        }
        let begun = Instant::now();
        let done = (0..TRIES).any(|_| {
            thread::yield_now();
            done()
        });
        self.learn(done, begun.elapsed());
        done
    }

    /// Whether this wait goes without.
    fn pauses(&self) -> bool {
        let pause = self.pause.load(Ordering::Relaxed);
        self.pause.store(pause.saturating_sub(1), Ordering::Relaxed);
        pause > 0
    }

    fn learn(&self, done: bool, took: Duration) {
        if took > TOO_LONG {
            self.lost(took);
        } else if done {
            self.won();
        } else {
            self.failed();
        }
    }

    fn won(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            self.failures.store(failures / 2, Ordering::Relaxed);
        }
        let streak = self.streak.load(Ordering::Relaxed) + 1;
        self.streak.store(streak % MADE_UP, Ordering::Relaxed);
        if streak == MADE_UP {
            let losses = self.losses.load(Ordering::Relaxed);
            self.losses.store(losses.saturating_sub(1), Ordering::Relaxed);
        }
    }

    fn failed(&self) {
        let failures = (self.failures.load(Ordering::Relaxed) + 1).min(MOST_SELDOM);
        self.failures.store(failures, Ordering::Relaxed);
        self.pause.store(1 << failures, Ordering::Relaxed);
    }

    fn lost(&self, took: Duration) {
        let losses = (self.losses.load(Ordering::Relaxed) + 1).min(MOST_LOSSES);
        self.losses.store(losses, Ordering::Relaxed);
        self.streak.store(0, Ordering::Relaxed);
        let pause = (took.as_nanos() / LOSS) << losses;
        self.pause.store(u32::try_from(pause).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(1);

    /// How many waits go without, now.
    fn pause(yielding: &Yielding) -> u128 {
        (0..).find(|_| !yielding.pauses()).expect("without end")
    }

    #[test]
    fn failures_make_it_seldom_and_success_brings_it_back() {
        let yielding = Yielding::default();
        for failures in (1..=MOST_SELDOM).chain([MOST_SELDOM]) {
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
    fn what_takes_long_makes_a_long_pause() {
        let yielding = Yielding::default();
        let long = 2 * TOO_LONG;
        for losses in 1..4 {
            yielding.learn(true, long);
            assert_eq!(pause(&yielding), (long.as_nanos() / LOSS) << losses);
        }
        for _ in 0..3 * MADE_UP {
            yielding.learn(true, SHORT);
        }
        yielding.learn(false, long);
        assert_eq!(pause(&yielding), (long.as_nanos() / LOSS) << 1);
    }

    #[test]
    fn it_looks_after_each_try() {
        let (yielding, mut looks) = (Yielding::default(), 0);
        assert!(!yielding.until(|| {
            looks += 1;
            false
        }));
        assert_eq!(looks, TRIES);
    }
}
