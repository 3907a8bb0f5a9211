//! Publishing without a fence.
//!
//! The fence between an index and the look at the notify byte waits until the index has reached the line that both sides
//! write, which between two busy processors takes longer than a small message. The side that goes to sleep can wait in
//! its stead: the system makes a *barrier* for it, a fence on every processor that runs one of the processes that have
//! asked to be reached so. A fence of one side then needs no partner but the order of the other's program.
//!
//! So a side that seldom sleeps *promises*, by a bit in the peer's notify byte, a barrier after each request that needs one. A
//! peer that can be reached *relies* on that from its next publication on, and says so by another bit, one for each of its
//! indices: a barrier is due for as long as that is there. A promise may be taken back at any time; the peer notices with its
//! next publication, and relies no more. Requests and these bits stand in one byte and change by atomic operations, so
//! there is one order to them, and whatever was stored before an earlier one is seen after a later one:
//!
//! * a request that comes before the peer begins to rely is found by what the peer publishes then;
//! * one that comes while it relies is followed by a barrier;
//! * one that comes after it has ceased to finds the index that was published last.
//!
//! A promise ends with the peer that made it. A server can't know what the next client makes of the bits before that client
//! is at work, so a server of more than one client relies on nothing.
//!
//! Other implementations leave these bits alone, and get the fences of old.

use std::sync::atomic::{AtomicBool, AtomicU8 as AtomicU8Private, Ordering as Private};

use super::interest::Interest;
use super::sync::{fence, AtomicU8, Ordering};
use crate::fault::{fault, Fault};
use crate::fence;

/// In the peer's notify byte: this side makes a barrier after each request that finds the peer relying on it.
const OFFER: u8 = 1 << 2;

/// In the own notify byte: what this side publishes, for a peer that wants that, goes without a fence.
const fn elides(wanted: Interest) -> u8 {
    (wanted as u8) << 3
}

/// Either.
const ELIDES: u8 = elides(Interest::Readable) | elides(Interest::Writable);

/// Whether a side that has found this in the peer's notify byte, where it put its request, owes a barrier.
pub(super) fn is_heavy_fence_due(byte: u8, interest: Interest) -> bool {
    !fault(Fault::BarrierForgotten) && byte & elides(interest) != 0
}

/// Makes or takes back the promise, in the peer's notify byte.
pub(super) fn offer(peers: &AtomicU8, made: bool) {
    if made {
        peers.fetch_or(OFFER, Ordering::SeqCst);
    } else {
        peers.fetch_and(!OFFER, Ordering::SeqCst);
    }
}

/// A new client begins anew: it has promised nothing, and relies on nothing. Its server may still be relying on what the one
/// before had promised, and its bits stay until it has noticed.
pub(super) fn reset(own: &AtomicU8, peers: &AtomicU8) {
    own.fetch_and(!ELIDES, Ordering::SeqCst);
    peers.fetch_and(ELIDES, Ordering::SeqCst);
}

/// Published with a fence.
const FENCES: u8 = 0;
/// Published without one: the peer has promised barriers.
const ELIDES_FENCES: u8 = 1;
/// With a fence again, since the peer may be another one by now. The next publication takes back what this side said.
const ENDING: u8 = 2;

/// Whether the index of one ring is published without a fence.
#[derive(Debug, Default)]
pub(super) struct FenceElision(AtomicU8Private);

impl FenceElision {
    #[inline]
    fn state(&self) -> u8 {
        self.0.load(Private::Relaxed)
    }

    /// Whether it is.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.state() == ELIDES_FENCES
    }

    /// The fence behind an index, or what stands for it.
    #[inline]
    pub(super) fn fence(&self) {
        if self.is_active() {
            fence::light();
        } else if !fault(Fault::FenceInTake) {
            fence(Ordering::SeqCst);
        }
    }

    /// Whether the notify byte that was read behind the fence leaves everything as it is: no request of what is `wanted`,
    /// and no change of the promise.
    #[inline]
    pub(super) fn is_unchanged(&self, byte: u8, wanted: Interest) -> bool {
        // While it is ending, nothing is: no byte has all of these bits and no others.
        let same = match self.state() {
            FENCES => 0,
            ELIDES_FENCES => OFFER,
            _ => u8::MAX,
        };
        byte & (OFFER | wanted.bit()) == same
    }

    /// From now on there is a fence. What this side said of it stays until the next publication: only then it is certain
    /// that none without a fence is under way.
    pub(super) fn end(&self) {
        let _ = self.0.compare_exchange(ELIDES_FENCES, ENDING, Private::SeqCst, Private::SeqCst);
    }

    /// Follows the promise, if this side `may` rely on barriers. To be called after each publication that finds
    /// something changed, before it looks for a request.
    pub(super) fn follow(&self, own: &AtomicU8, wanted: Interest, may: &AtomicBool) {
        let offered = own.load(Ordering::Relaxed) & OFFER != 0;
        match (self.state(), offered) {
            (FENCES, true) if may.load(Private::Relaxed) => {
                own.fetch_or(elides(wanted), Ordering::SeqCst);
                self.0.store(ELIDES_FENCES, Private::SeqCst);
                // Either this sees the end of it, or the end sees that there is something to be ended.
                if !may.load(Private::SeqCst) {
                    self.end();
                }
            }
            // Nothing is to be made of it, so that later publications need not look at it again.
            (FENCES, true) => drop(own.fetch_and(!OFFER, Ordering::SeqCst)),
            (ELIDES_FENCES, false) | (ENDING, _) => {
                self.0.store(FENCES, Private::Relaxed);
                own.fetch_and(!elides(wanted), Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
