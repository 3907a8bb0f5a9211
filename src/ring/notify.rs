//! Asking to be woken, and finding out whether the peer asked.
//!
//! The order of the steps is what keeps the two sides from sleeping at the same time (`docs/protocol.md`):
//! a side that moves an index publishes it, fences, and then looks at its own notify byte; a side that wants to
//! sleep sets its bit in the peer's byte, fences, and then looks at the index again.

use std::sync::atomic::AtomicBool;

use super::fence_elision::{self, FenceElision};
use super::interest::Interest;
use super::sync::{fence, AtomicU32, AtomicU8, Ordering};
use crate::fault::{fault, Fault};

/// Asks the peer, whose notify byte this is, to tell. Whoever calls this looks at the index again before sleeping, after a
/// barrier if the result says that one is due.
#[must_use]
pub(super) fn enable_notification(peers: &AtomicU8, interest: Interest) -> bool {
    let before = peers.fetch_or(interest.bit(), Ordering::SeqCst);
    if !fault(Fault::FenceInRequest) {
        fence(Ordering::SeqCst);
    }
    fence_elision::is_heavy_fence_due(before, interest)
}

/// Where a side that publishes an index learns whether to tell the peer.
#[derive(Clone, Copy)]
pub(super) struct Notification<'a> {
    /// This side's notify byte.
    pub(super) own: &'a AtomicU8,
    /// What the peer would ask for.
    pub(super) wanted: Interest,
    pub(super) elision: &'a FenceElision,
    /// Whether this side may rely on the peer's barriers: they reach it, and there has been no other peer.
    pub(super) may_elide: &'a AtomicBool,
}

/// Publishes an index. Says whether the peer asked to be told.
#[inline]
pub(super) fn publish(index: &AtomicU32, value: u32, notification: Notification<'_>) -> bool {
    let early = fault(Fault::ClearedEarly) && notification.is_requested();
    index.store(value, if fault(Fault::RelaxedIndex) { Ordering::Relaxed } else { Ordering::Release });
    early || !fault(Fault::ClearedEarly) && notification.is_requested()
}

impl Notification<'_> {
    /// Says whether the peer asked to be told, and takes the request away. To be called after an index was published.
    ///
    /// A plain look comes first: the atomic operation costs a locked access to the line that both sides share.
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
