//! Publishing without a fence.
//!
//! The fence between an index and the check of the notify byte waits until the index has reached the cache line that
//! both sides write. Between two busy processors that takes longer than a small message. The side that goes to sleep
//! can pay instead, with a [heavy fence](crate::fence): a fence on every processor that runs a registered process. The
//! other side then only needs its program order.
//!
//! A side that rarely sleeps *offers* heavy fences by a bit in the peer's notify byte: one after each request that
//! needs it. A peer that they reach *elides* its own fences from its next publication on, and announces that by a bit
//! per index. A heavy fence is due while that bit is set. An offer can be withdrawn at any time. The peer sees that
//! with its next publication and fences again. Requests and these bits share one byte and change by atomic operations.
//! So there is one order of them, and what was stored before an earlier one is visible after a later one:
//!
//! * A request before the peer begins to elide is found by its publication then.
//! * A request while it elides is followed by a heavy fence.
//! * A request after it has stopped finds the index that was published last.
//!
//! An offer ends with the peer that made it. A server cannot know whether a bit is the next client's before that
//! client is at work, so a server of several clients elides nothing.
//!
//! Other implementations ignore these bits and publish with fences.

use std::sync::atomic::{AtomicBool, AtomicU8 as AtomicU8Private, Ordering as Private};

use super::interest::Interest;
use super::sync::{fence, AtomicU8, Ordering};
use crate::fault::{fault, Fault};
use crate::fence;

/// In the peer's notify byte: this side makes a heavy fence after each request that finds the peer eliding.
const OFFER: u8 = 1 << 2;

/// In the own notify byte: this side publishes without a fence for a peer with this interest.
const fn elides(wanted: Interest) -> u8 {
    (wanted as u8) << 3
}

/// Both directions.
const ELIDES: u8 = elides(Interest::Readable) | elides(Interest::Writable);

/// Whether a heavy fence is due, by the peer's notify byte at the time of the request.
pub(super) fn is_heavy_fence_due(byte: u8, interest: Interest) -> bool {
    !fault(Fault::MissingHeavyFence) && byte & elides(interest) != 0
}

/// Makes or withdraws the offer, in the peer's notify byte.
pub(super) fn offer(peers: &AtomicU8, made: bool) {
    if made {
        peers.fetch_or(OFFER, Ordering::SeqCst);
    } else {
        peers.fetch_and(!OFFER, Ordering::SeqCst);
    }
}

/// A new client starts without an offer and elides nothing. Its server may still elide because of an earlier client's
/// offer. The server's bits stay until it notices.
pub(super) fn reset(own: &AtomicU8, peers: &AtomicU8) {
    own.fetch_and(!ELIDES, Ordering::SeqCst);
    peers.fetch_and(ELIDES, Ordering::SeqCst);
}

/// Publishes with a fence.
const FENCES: u8 = 0;
/// Publishes without a fence: the peer offered heavy ones.
const ELIDES_FENCES: u8 = 1;
/// Publishes with a fence again, since the peer may be another one. The next publication clears this side's bit.
const ENDING: u8 = 2;

/// Whether the index of one ring is published without a fence.
#[derive(Debug, Default)]
pub(super) struct FenceElision(AtomicU8Private);

impl FenceElision {
    #[inline]
    fn state(&self) -> u8 {
        self.0.load(Private::Relaxed)
    }

    /// Whether fences are elided now.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.state() == ELIDES_FENCES
    }

    /// The fence after an index, or its light half.
    #[inline]
    pub(super) fn fence(&self) {
        if self.is_active() {
            fence::light();
        } else if !fault(Fault::FenceAfterIndex) {
            fence(Ordering::SeqCst);
        }
    }

    /// Whether the notify byte that was loaded after the fence needs no action: no request with this interest, no
    /// change of the offer.
    #[inline]
    pub(super) fn is_unchanged(&self, byte: u8, wanted: Interest) -> bool {
        // In the third state every byte needs action: none has all these bits and no others.
        let same = match self.state() {
            FENCES => 0,
            ELIDES_FENCES => OFFER,
            _ => u8::MAX,
        };
        byte & (OFFER | wanted.bit()) == same
    }

    /// Fences from now on. This side's bit stays until the next publication. Only then no publication without a fence
    /// is under way.
    pub(super) fn end(&self) {
        let _ = self.0.compare_exchange(ELIDES_FENCES, ENDING, Private::SeqCst, Private::SeqCst);
    }

    /// Follows the offer if this side `may` elide. Called after each publication that found a change, before the check
    /// for a request.
    pub(super) fn follow(&self, own: &AtomicU8, wanted: Interest, may: &AtomicBool) {
        let offered = own.load(Ordering::Relaxed) & OFFER != 0;
        match (self.state(), offered) {
            (FENCES, true) if may.load(Private::Relaxed) => {
                own.fetch_or(elides(wanted), Ordering::SeqCst);
                self.0.store(ELIDES_FENCES, Private::SeqCst);
                // Either this sees the end, or the end sees that there is something to end.
                if !may.load(Private::SeqCst) {
                    self.end();
                }
            }
            // Clears the offer, so that later publications need not look at it again.
            (FENCES, true) => drop(own.fetch_and(!OFFER, Ordering::SeqCst)),
            (ELIDES_FENCES, false) | (ENDING, _) => {
                self.0.store(FENCES, Private::Relaxed);
                own.fetch_and(!elides(wanted), Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
