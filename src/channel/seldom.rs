//! Trying what may be in vain: the more often it was, the more seldom it is tried. A success brings it back.

use std::sync::atomic::{AtomicU32, Ordering};

/// After many failures, it is still tried one time in 2 to the power of this.
const MOST_SELDOM: u32 = 12;
/// So many failures are more than chance.
const HOPELESS: u32 = 2;

/// What is known of the last tries.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// How often it failed lately.
    failures: AtomicU32,
    /// How many more times it isn't tried.
    pause: AtomicU32,
}

impl Seldom {
    /// Whether to try it this time.
    pub(super) fn is_due(&self) -> bool {
        let pause = self.pause.load(Ordering::Relaxed);
        if pause > 0 {
            self.pause.store(pause - 1, Ordering::Relaxed);
        }
        pause == 0
    }

    /// Whether it seems to be in vain.
    #[inline]
    pub(super) fn is_hopeless(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= HOPELESS
    }

    pub(super) fn succeeded(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            self.failures.store(failures / 2, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self) {
        let failures = (self.failures.load(Ordering::Relaxed) + 1).min(MOST_SELDOM);
        self.failures.store(failures, Ordering::Relaxed);
        self.rest(1 << failures);
    }

    /// Isn't to be tried the next `times`.
    pub(super) fn rest(&self, times: u32) {
        self.pause.store(times, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    #[test]
    fn failures_make_it_seldom_and_a_success_brings_it_back() {
        let seldom = Seldom::default();
        let tried = (0..5000).filter(|_| seldom.is_due()).inspect(|_| seldom.failed()).count();
        // Once in 2, 4, 8, … 4096 times.
        assert!((10..=16).contains(&tried), "{tried}");
        assert!(seldom.is_hopeless());
        let tried = (0..100_000).filter(|_| seldom.is_due()).inspect(|_| seldom.succeeded()).count();
        assert!(tried > 90_000, "{tried}");
        assert!(!seldom.is_hopeless());
    }
}
