//! Enabling a notification, and checking whether the peer enabled one.
//!
//! The order of the steps keeps the sides from sleeping at the same time (`docs/protocol.md`). A side that moves an
//! index publishes it, fences, and then checks its own notify byte. A side that is going to sleep sets its bit in the
//! peer's byte, fences, and then checks the index again.

use std::sync::atomic::AtomicBool;

use super::fence_elision::{self, FenceElision};
use super::interest::Interest;
use super::sync::{fence, AtomicU32, AtomicU8, Ordering};
use crate::fault::{fault, Fault};

/// Enables a notification in the peer's notify byte. The caller checks the index again before it sleeps, after a heavy
/// fence if this returns `true`.
#[must_use]
pub(super) fn enable_notification(peers: &AtomicU8, interest: Interest) -> bool {
    let before = peers.fetch_or(interest.bit(), Ordering::SeqCst);
    if !fault(Fault::FenceAfterRequest) {
        fence(Ordering::SeqCst);
    }
    fence_elision::is_heavy_fence_due(before, interest)
}

/// What a side that publishes an index needs to decide about a notification.
#[derive(Clone, Copy)]
pub(super) struct Notification<'a> {
    /// This side's notify byte.
    pub(super) own: &'a AtomicU8,
    /// The bit that the peer sets.
    pub(super) wanted: Interest,
    pub(super) elision: &'a FenceElision,
    /// This side may elide fences: the peer's heavy fences reach it, and it has had no other peer.
    pub(super) may_elide: &'a AtomicBool,
}

/// Publishes an index. Returns whether the peer needs a notification.
#[inline]
pub(super) fn publish(index: &AtomicU32, value: u32, notification: Notification<'_>) -> bool {
    let early = fault(Fault::ClearedEarly) && notification.is_requested();
    index.store(value, if fault(Fault::RelaxedIndex) { Ordering::Relaxed } else { Ordering::Release });
    early || !fault(Fault::ClearedEarly) && notification.is_requested()
}

impl Notification<'_> {
    /// Whether the peer needs a notification. Clears the request. Called after an index was published.
    ///
    /// A plain load comes first. The atomic operation is a locked access to the cache line that both sides share.
    #[inline]
    fn is_requested(self) -> bool {
        self.elision.fence();
        !self.elision.is_unchanged(self.own.load(Ordering::Relaxed), self.wanted)
            && self.is_requested_after_change()
    }

    #[cold]
    fn is_requested_after_change(self) -> bool {
        self.elision.follow(self.own, self.wanted, self.may_elide);
        let bit = self.wanted.bit();
        self.own.load(Ordering::Relaxed) & bit != 0 && self.own.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }
}
