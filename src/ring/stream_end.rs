//! Half-close and abort, between two ends of this implementation.
//!
//! The protocol has one live byte for each side, so a side can only leave altogether. Two ends of this implementation
//! say more, by bits of the notify bytes that other implementations neither set nor look at. Each bit is set by one side in
//! the notify byte of the other, by an atomic operation after the index that it follows was published: a side that
//! sees the bit and then looks at the index finds the last byte.

use super::sync::{AtomicU8, Ordering};

/// The side that set this understands the other two.
const UNDERSTOOD: u8 = 1 << 7;
/// The side that set this writes no more. The other direction goes on.
const FINISHED: u8 = 1 << 5;
/// The side that set this leaves because of a failure: what it wrote may be incomplete, what it read may be lost.
const ABORTED: u8 = 1 << 6;

/// What the peer has said, in this side's notify byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said(u8);

impl Said {
    /// One look at this side's notify byte. What it is followed by sees every index that was published before.
    #[inline]
    pub(super) fn look(own: &AtomicU8) -> Said {
        Said(own.load(Ordering::Acquire))
    }

    /// The peer understands half-close and abort.
    pub(super) fn understood(self) -> bool {
        self.0 & UNDERSTOOD != 0
    }

    /// The peer has ended its stream.
    pub(super) fn finished(self) -> bool {
        self.0 & FINISHED != 0
    }

    /// The peer left, or is about to leave, because of a failure.
    pub(super) fn aborted(self) -> bool {
        self.0 & ABORTED != 0
    }
}

/// Says in the peer's notify byte that this side understands.
pub(super) fn understand(peers: &AtomicU8) {
    peers.fetch_or(UNDERSTOOD, Ordering::SeqCst);
}

/// Says in the peer's notify byte that this side writes no more.
pub(super) fn finish(peers: &AtomicU8) {
    peers.fetch_or(UNDERSTOOD | FINISHED, Ordering::SeqCst);
}

/// Says in the peer's notify byte that this side leaves because of a failure.
pub(super) fn abort(peers: &AtomicU8) {
    peers.fetch_or(UNDERSTOOD | ABORTED, Ordering::SeqCst);
}
