//! When to promise the peer [barriers](crate::fence).
//!
//! What they are good for is told in `ring/elision.rs`. One costs up to ten microseconds, and the other processor an
//! interruption. So a side promises barriers as long as it seldom has to ask: it finds again and again what it waits for,
//! or much is moved in between. Who asks often takes the promise back.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::shared::Channel;
use crate::fence;
use crate::ring::Interest;

/// Who waits so many times without asking, asks seldom.
const MANY_WAITS: u32 = if cfg!(model) { 1 } else { 16 };
/// Who has so many bytes moved without asking, too.
const MANY_BYTES: u32 = if cfg!(model) { 2 } else { 4 << 20 };
/// So often in a row is often: every conversation begins with some.
const OFTEN: u32 = if cfg!(model) { 1 } else { 4 };

/// What one side knows of it.
#[derive(Debug, Default)]
pub(super) struct Promise {
    /// Whether there are barriers at all that reach the peer, if that is of this implementation.
    possible: bool,
    made: AtomicBool,
    /// Waits since the last request.
    waits: AtomicU32,
    /// What had been moved at the last request.
    moved: AtomicU32,
    /// How many requests in a row came too soon.
    soon: AtomicU32,
    /// Waits before anybody knew of what implementation the peer is.
    strangers: AtomicU32,
}

impl Promise {
    pub(super) fn new(same_scheduler: bool) -> Promise {
        Promise { possible: same_scheduler && fence::is_available(), ..Promise::default() }
    }

    pub(super) fn is_possible(&self) -> bool {
        self.possible
    }

    /// A wait was over without a request.
    fn waited(&self) {
        let waits = self.waits.load(Ordering::Relaxed).saturating_add(1);
        self.waits.store(waits, Ordering::Relaxed);
        if waits >= MANY_WAITS {
            self.soon.store(0, Ordering::Relaxed);
        }
    }

    /// Somebody has to ask, after so many bytes have been moved in all.
    fn asks(&self, moved: u32) {
        let few = moved.wrapping_sub(self.moved.swap(moved, Ordering::Relaxed)) < MANY_BYTES;
        let soon = self.waits.swap(0, Ordering::Relaxed) < MANY_WAITS && few;
        let before = self.soon.load(Ordering::Relaxed);
        self.soon.store(if soon { before.saturating_add(1) } else { 0 }, Ordering::Relaxed);
    }

    /// Whether it is time to take in what the peer has said about itself: ever more seldom.
    fn is_time_to_ask_who(&self) -> bool {
        let waits = self.strangers.load(Ordering::Relaxed).saturating_add(1);
        self.strangers.store(waits, Ordering::Relaxed);
        waits.is_power_of_two()
    }

    /// Whether to change it: to what.
    #[inline]
    fn change(&self) -> Option<bool> {
        let wanted = self.soon.load(Ordering::Relaxed) < OFTEN;
        (self.possible && self.made.load(Ordering::Relaxed) != wanted).then_some(wanted)
    }
}

impl Channel {
    /// A wait is over without a request.
    pub(super) fn waited_unasked(&self) {
        let promise = &self.waits.promise;
        promise.waited();
        if promise.change() == Some(true)
            && !self.events.peer_has_extensions()
            && promise.is_time_to_ask_who()
        {
            // What is wrong with the event channel is told by who sleeps on it.
            let _ = self.take_since(self.sleepers.ticket());
        }
        self.keep_promise();
    }

    /// A search has ended in vain: the peer is going to be asked.
    pub(super) fn has_to_ask(&self) {
        let moved = self.ring.producer.written().wrapping_add(self.ring.consumer.consumed());
        self.waits.promise.asks(moved);
        self.keep_promise();
    }

    /// Makes the promise, or takes it back, if that is due.
    #[inline]
    pub(super) fn keep_promise(&self) {
        if let Some(wanted) = self.waits.promise.change() {
            self.change_promise(wanted);
        }
    }

    #[cold]
    fn change_promise(&self, wanted: bool) {
        // Of two threads, one does it.
        let may = !wanted || self.events.peer_has_extensions() || self.ring.elides();
        if may && self.waits.promise.made.swap(wanted, Ordering::Relaxed) != wanted {
            self.ring.offer_heavy_fences(wanted);
        }
    }

    /// Asks the peer to tell. What is wanted is to be looked at after this.
    pub(super) fn enable_notification(&self, interest: Interest) {
        if self.ring.enable_notification(interest) {
            fence::heavy();
        }
    }
}
