//! Backoff: what fails is tried less often, what succeeds is tried again.

use std::sync::atomic::{AtomicU32, Ordering};

use super::tuning::MAX_BACKOFF;

/// Bits of the word that count the waits to skip. The failures are in the bits above.
const SKIP_BITS: u32 = 24;
const MAX_SKIPS: u32 = (1 << SKIP_BITS) - 1;
/// One failure may be chance.
const FAILING: u32 = 2;

/// Recent failures of one mechanism, and how many more waits go without it. Threads that update it at the same time may
/// lose an update.
#[derive(Debug, Default)]
pub(super) struct Backoff(AtomicU32);

impl Backoff {
    fn load(&self) -> (u32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        (word >> SKIP_BITS, word & MAX_SKIPS)
    }

    fn store(&self, failures: u32, skips: u32) {
        self.0.store(failures << SKIP_BITS | skips, Ordering::Relaxed);
    }

    /// Whether to try it in this wait. Counts the wait as skipped if not.
    pub(super) fn should_try(&self) -> bool {
        let (failures, skips) = self.load();
        if skips > 0 {
            self.store(failures, skips - 1);
        }
        skips == 0
    }

    /// Whether the last tries failed.
    #[inline]
    pub(super) fn is_failing(&self) -> bool {
        self.load().0 >= FAILING
    }

    pub(super) fn succeeded(&self) {
        let (failures, skips) = self.load();
        if failures > 0 {
            self.store(failures / 2, skips);
        }
    }

    pub(super) fn failed(&self) {
        let failures = (self.load().0 + 1).min(MAX_BACKOFF);
        self.store(failures, 1 << failures);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    #[test]
    fn failures_double_the_skipped_waits_and_successes_restore() {
        let backoff = Backoff::default();
        let tried = (0..5000).filter(|_| backoff.should_try()).inspect(|_| backoff.failed()).count();
        // Once in 2, 4, 8, … 4096 waits.
        assert!((10..=16).contains(&tried), "{tried}");
        assert!(backoff.is_failing());
        let tried = (0..100_000).filter(|_| backoff.should_try()).inspect(|_| backoff.succeeded()).count();
        assert!(tried > 90_000, "{tried}");
        assert!(!backoff.is_failing());
    }
}
