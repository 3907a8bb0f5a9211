//! When this side offers the peer heavy [fences](crate::fence), so that the peer publishes without a fence of its own
//! (`ring/fence_elision.rs`).
//!
//! A heavy fence costs up to ten microseconds and interrupts another processor. An offer commits this side to one for
//! each notification that it enables. So a side makes the offer while it rarely enables them: its waits end without
//! enabling one, or much data moves in between. A side that enables them often withdraws the offer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::tuning;
use crate::fence;

/// At least this many waits between two enabled notifications count as many.
const MANY_WAITS: u32 = if cfg!(model) { 1 } else { 16 };
/// Likewise for bytes.
const MANY_BYTES: u32 = if cfg!(model) { 2 } else { 4 << 20 };
/// After this many early notifications in a row the offer is withdrawn. A few at the start are normal.
const OFTEN: u32 = if cfg!(model) { 1 } else { 4 };

#[derive(Debug)]
pub(super) struct FencePolicy {
    /// Heavy fences reach a peer of this implementation.
    possible: bool,
    offered: AtomicBool,
    /// Waits since the last enabled notification.
    waits: AtomicU32,
    /// Bytes that had been moved by then.
    moved: AtomicU32,
    /// Enabled notifications in a row that came early.
    early: AtomicU32,
}

impl FencePolicy {
    pub(super) fn new(same_kernel: bool) -> FencePolicy {
        FencePolicy {
            possible: same_kernel && tuning::has("fence-elision") && fence::is_available(),
            offered: AtomicBool::new(false),
            waits: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            early: AtomicU32::new(0),
        }
    }

    pub(super) fn is_possible(&self) -> bool {
        self.possible
    }

    /// A wait ended without a notification. Returns whether it is time to learn what implementation the peer is: at
    /// exponentially growing intervals.
    pub(super) fn record_ready(&self) -> bool {
        let waits = self.waits.load(Ordering::Relaxed).saturating_add(1);
        self.waits.store(waits, Ordering::Relaxed);
        if waits >= MANY_WAITS {
            self.early.store(0, Ordering::Relaxed);
        }
        waits.is_power_of_two()
    }

    /// A notification is enabled, after this many bytes in total.
    pub(super) fn record_rearm(&self, moved: u32) {
        let few = moved.wrapping_sub(self.moved.swap(moved, Ordering::Relaxed)) < MANY_BYTES;
        let early = self.waits.swap(0, Ordering::Relaxed) < MANY_WAITS && few;
        let before = self.early.load(Ordering::Relaxed);
        self.early.store(if early { before.saturating_add(1) } else { 0 }, Ordering::Relaxed);
    }

    /// The change that is due: `true` makes the offer, `false` withdraws it.
    #[inline]
    pub(super) fn due_change(&self) -> Option<bool> {
        let wanted = self.early.load(Ordering::Relaxed) < OFTEN;
        (self.possible && self.offered.load(Ordering::Relaxed) != wanted).then_some(wanted)
    }

    /// Records a change. Returns `true` for the one thread that must carry it out.
    pub(super) fn change_to(&self, offered: bool) -> bool {
        self.offered.swap(offered, Ordering::Relaxed) != offered
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    fn policy() -> FencePolicy {
        FencePolicy { possible: true, ..FencePolicy::new(false) }
    }

    #[test]
    fn the_offer_is_withdrawn_after_early_notifications() {
        let policy = policy();
        assert_eq!(policy.due_change(), Some(true));
        assert!(policy.change_to(true) && !policy.change_to(true));
        (1..OFTEN).for_each(|n| policy.record_rearm(n));
        assert_eq!(policy.due_change(), None);
        policy.record_rearm(OFTEN);
        assert_eq!(policy.due_change(), Some(false));
    }

    #[test]
    fn many_waits_or_bytes_in_between_make_it_again() {
        let early = || {
            let policy = policy();
            (1..=OFTEN).for_each(|n| policy.record_rearm(n));
            policy
        };
        assert_eq!(early().due_change(), None);
        let policy = early();
        policy.record_rearm(OFTEN + MANY_BYTES);
        assert_eq!(policy.due_change(), Some(true));
        let policy = early();
        for _ in 0..MANY_WAITS {
            policy.record_ready();
        }
        assert_eq!(policy.due_change(), Some(true));
    }

    #[test]
    fn the_peer_is_looked_at_rarely() {
        let policy = policy();
        assert_eq!((0..1000).filter(|_| policy.record_ready()).count(), 10);
    }
}
