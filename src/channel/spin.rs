//! Looking again for a short while before asking to be woken.
//!
//! Going to sleep and being woken costs tens of microseconds on an idle core and system calls on both sides; a peer
//! that is busy moves on within a few. Spinning is a loss, though, where the peer can't run meanwhile (one
//! processor) or has nothing to say, so the time spent follows what came of it: a success lets it grow, a failure
//! cuts it to a quarter, and when it has shrunk to nothing it is tried again now and then.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

/// The longest spin, unless `VCHAN_SPIN` or the builder says otherwise.
const DEFAULT_MAX: Duration = Duration::from_micros(50);
/// Below this a spin is not worth its set-up.
const LEAST: u32 = 1_000;
/// How many waits go by unspun before another try, once spinning has proved useless.
const PROBE_EVERY: u32 = 64;
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;

/// `VCHAN_SPIN`: the longest spin in microseconds, 0 or `off` for none.
static FROM_ENVIRONMENT: Lazy<Duration> = Lazy::new(|| match std::env::var("VCHAN_SPIN") {
    Ok(text) if text == "off" => Duration::ZERO,
    Ok(text) => text.parse().map_or(DEFAULT_MAX, Duration::from_micros),
    Err(_) => DEFAULT_MAX,
});

/// How long one direction of a channel spins. Kept in nanoseconds.
#[derive(Debug)]
pub(super) struct Spin {
    max: u32,
    budget: AtomicU32,
    skipped: AtomicU32,
}

impl Spin {
    /// At most `max` at a time; `None` for the default.
    pub(super) fn new(max: Option<Duration>) -> Spin {
        let max = max.unwrap_or(*FROM_ENVIRONMENT).min(Duration::from_secs(1)).as_nanos() as u32;
        let max = if processors() > 1 { max } else { 0 };
        Spin { max, budget: AtomicU32::new(max / 2), skipped: AtomicU32::new(0) }
    }

    /// Looks until `done` says so or the time is up, `limit` at the latest; says which.
    pub(super) fn until(&self, limit: Option<Duration>, mut done: impl FnMut() -> bool) -> bool {
        let mut budget = self.budget.load(Ordering::Relaxed);
        if limit.is_some_and(|limit| limit.as_nanos() < u128::from(budget)) {
            // Too short a time to learn anything from.
            return done();
        }
        if budget < LEAST {
            if self.max < LEAST
                || self.skipped.fetch_add(1, Ordering::Relaxed) % PROBE_EVERY != PROBE_EVERY - 1
            {
                return false;
            }
            budget = self.max.min(8 * LEAST);
        }
        let begun = Instant::now();
        loop {
            // A model has no time: it looks once.
            if cfg!(model) {
                return done();
            }
            for _ in 0..LOOKS {
                if done() {
                    let grown = budget.saturating_add(budget / 4).min(self.max);
                    self.budget.store(grown, Ordering::Relaxed);
                    return true;
                }
                hint::spin_loop();
            }
            if begun.elapsed().as_nanos() >= u128::from(budget) {
                self.budget.store(budget / 4, Ordering::Relaxed);
                return false;
            }
        }
    }
}

/// How many processors the peer could be running on. Not how many this thread may use: a thread that is bound to one
/// of two gains most by spinning. Where the peer shares its one processor, the outcomes say so.
fn processors() -> libc::c_long {
    // SAFETY: reads a number.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_shrinks_and_success_grows() {
        let spin = Spin { max: 100_000, budget: AtomicU32::new(50_000), skipped: AtomicU32::new(0) };
        assert!(spin.until(None, || true));
        assert_eq!(spin.budget.load(Ordering::Relaxed), 62_500);
        while spin.budget.load(Ordering::Relaxed) >= LEAST {
            assert!(!spin.until(None, || false));
        }
        // Now nothing is looked at, but for a probe.
        let mut looked = 0;
        for _ in 0..PROBE_EVERY {
            spin.until(None, || {
                looked += 1;
                true
            });
        }
        assert_eq!(looked, 1);
        assert!(spin.budget.load(Ordering::Relaxed) >= LEAST);
    }

    #[test]
    fn off_is_off() {
        let spin = Spin::new(Some(Duration::ZERO));
        for _ in 0..2 * PROBE_EVERY {
            assert!(!spin.until(None, || panic!("looked")));
        }
    }
}
