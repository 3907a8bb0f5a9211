//! Asking to be woken, and finding out whether the peer asked.
//!
//! The order of the steps is what keeps the two sides from sleeping at the same time (`docs/protocol.md`):
//! a side that moves an index publishes it, fences, and then looks at its own notify byte; a side that wants to
//! sleep sets its bit in the peer's byte, fences, and then looks at the index again.

use super::sync::{fence, AtomicU32, AtomicU8, Ordering};
use crate::fault::{fault, Fault};

/// What a side waits for, as the bit that it sets in the peer's notify byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Want {
    /// Data: the peer is to tell when it has written.
    Data = 1,
    /// Space: the peer is to tell when it has consumed.
    Space = 2,
}

impl Want {
    /// The bit in the notify byte.
    pub fn bit(self) -> u8 {
        self as u8
    }
}

/// Asks the peer, whose notify byte this is, to tell. Whoever calls this looks at the index again before sleeping.
pub(super) fn request(peers: &AtomicU8, want: Want) {
    peers.fetch_or(want.bit(), Ordering::SeqCst);
    if !fault(Fault::FenceInRequest) {
        fence(Ordering::SeqCst);
    }
}

/// Publishes an index. Says whether the peer asked to be told.
#[inline]
pub(super) fn publish(index: &AtomicU32, value: u32, own: &AtomicU8, wanted: Want) -> bool {
    let early = fault(Fault::ClearedEarly) && take(own, wanted);
    index.store(value, if fault(Fault::RelaxedIndex) { Ordering::Relaxed } else { Ordering::Release });
    early || !fault(Fault::ClearedEarly) && take(own, wanted)
}

/// Says whether the peer asked to be told, and takes the request away. To be called after an index was published.
///
/// A plain look comes first: the atomic operation costs a locked access to the line that both sides share.
#[inline]
fn take(own: &AtomicU8, wanted: Want) -> bool {
    if !fault(Fault::FenceInTake) {
        fence(Ordering::SeqCst);
    }
    own.load(Ordering::Relaxed) & wanted.bit() != 0
        && own.fetch_and(!wanted.bit(), Ordering::SeqCst) & wanted.bit() != 0
}
