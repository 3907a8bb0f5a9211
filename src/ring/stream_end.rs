//! Half-close and abort, between two ends of this implementation.
//!
//! The protocol has one live byte per side, so a side can only leave as a whole. Two ends of this implementation use
//! more bits of the notify bytes, which other implementations ignore. Each bit is set by one side in the notify byte
//! of the other, by an atomic operation after the index was published. A side that sees the bit and then checks the
//! index finds the last byte.

use super::sync::{AtomicU8, Ordering};

/// The side that set this understands the other two.
const UNDERSTOOD: u8 = 1 << 7;
/// The side that set this writes no more. The other direction goes on.
const FINISHED: u8 = 1 << 5;
/// The side that set this leaves because of a failure: what it wrote may be incomplete, what it read may be lost.
const ABORTED: u8 = 1 << 6;

/// The peer's bits in this side's notify byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said(u8);

impl Said {
    /// One load of this side's notify byte. Later loads see every index that was published before the bits.
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

    /// The peer left, or is going to leave, because of a failure.
    pub(super) fn aborted(self) -> bool {
        self.0 & ABORTED != 0
    }
}

/// Announces in the peer's notify byte that this side understands half-close.
pub(super) fn understand(peers: &AtomicU8) {
    peers.fetch_or(UNDERSTOOD, Ordering::SeqCst);
}

/// Announces in the peer's notify byte that this side writes no more.
pub(super) fn finish(peers: &AtomicU8) {
    peers.fetch_or(UNDERSTOOD | FINISHED, Ordering::SeqCst);
}

/// Announces in the peer's notify byte that this side leaves because of a failure.
pub(super) fn abort(peers: &AtomicU8) {
    peers.fetch_or(UNDERSTOOD | ABORTED, Ordering::SeqCst);
}
