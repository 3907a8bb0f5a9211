//! How much of this side's time other processes may take by yields. The policy asks it last, after the other
//! conditions.

use std::sync::atomic::{AtomicI32, Ordering};

use super::backoff::Backoff;
use super::tuning::{MAX_YIELD_CREDIT, SLOW_YIELD, YIELD_GAIN};

/// A token bucket for yields: what other processes may take of this side's time.
#[derive(Debug, Default)]
pub(super) struct YieldBudget {
    backoff: Backoff,
    /// Nanoseconds.
    credit: AtomicI32,
}

impl YieldBudget {
    /// Whether to yield in this wait.
    pub(super) fn should_yield(&self) -> bool {
        let credit = self.credit.load(Ordering::Relaxed);
        if credit < 0 {
            self.credit.store(credit + YIELD_GAIN, Ordering::Relaxed);
            return false;
        }
        self.backoff.should_try()
    }

    /// Records a yield: its duration minus the estimated time of the peer's work, and whether the wait was over then.
    pub(super) fn record(&self, took: u32, ready: bool) {
        let credit = self.credit.load(Ordering::Relaxed);
        if took > SLOW_YIELD {
            self.credit.store(credit.saturating_sub_unsigned(took), Ordering::Relaxed);
        } else if ready {
            self.backoff.succeeded();
            self.credit.store((credit + YIELD_GAIN).min(MAX_YIELD_CREDIT), Ordering::Relaxed);
        } else {
            self.backoff.failed();
        }
    }
}
