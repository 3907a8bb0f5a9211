//! Arming notifications for callers who poll a descriptor or call `wait`, and forwarding events to them.

use std::os::fd::BorrowedFd;

use super::cancel;
use super::source::Source;
use super::Waiter;
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::Result;

impl Waiter {
    /// The descriptor to poll for one direction, or for both. Made on first request, which fails where no descriptor is
    /// free.
    pub(in crate::channel) fn fd(
        &self,
        source: &impl Source,
        interest: Option<Interest>,
    ) -> Result<BorrowedFd<'_>> {
        self.poll_fd.fd(interest, self.event_count.fd(), source.events())
    }

    /// Readable when an event has come that no call has taken, or the peer or this side has ended.
    pub(in crate::channel) fn events_fd(&self) -> BorrowedFd<'_> {
        self.event_count.fd()
    }

    /// Whether a descriptor was handed out.
    pub(in crate::channel) fn has_poll_fd(&self) -> bool {
        self.poll_fd.is_in_use()
    }

    /// Whether a caller may poll for the events. A persistent server always takes them, because they announce clients.
    pub(in crate::channel) fn is_polled(&self, source: &impl Source) -> bool {
        self.poll_fd.is_in_use() || source.is_persistent()
    }

    /// Asks the peer for an event when there are `need` bytes. The caller checks once more after this.
    pub(in crate::channel) fn arm(&self, source: &impl Source, interest: Interest, need: u32) {
        self.poll_fd.arm(interest, need);
        self.event_count.note_epoch();
        self.record_rearm(source);
        source.rearm(interest);
    }

    /// As [`arm`](Self::arm), until there is more than now.
    pub(in crate::channel) fn arm_for_more(&self, source: &impl Source, interest: Interest) {
        // With 1 first: a thread that takes an event before the next line must not leave the poller asleep.
        self.arm(source, interest, 1);
        // The caller's check reports corruption.
        self.poll_fd.arm(interest, source.ring().available(interest).unwrap_or(0) + 1);
    }

    /// As [`arm`](Self::arm), for a call that may wait and ends with less than it was asked for: its caller may poll now.
    #[inline]
    pub(in crate::channel) fn arm_if_polled(&self, source: &impl Source, interest: Interest, need: u32) {
        if self.poll_fd.is_in_use() {
            self.arm(source, interest, need);
            self.set_ready_unless_must_wait(source, interest, need);
        }
    }

    /// Called when a call tries the direction or waits for it: no caller polls for it any more.
    #[inline]
    pub(in crate::channel) fn disarm(&self, source: &impl Source, interest: Interest) {
        self.poll_fd.disarm(interest, source.events());
    }

    /// Wakes the caller at once, in its poll or in its `wait`, if there is nothing to wait for: no event will come
    /// then.
    pub(in crate::channel) fn set_ready_unless_must_wait(
        &self,
        source: &impl Source,
        interest: Interest,
        need: u32,
    ) {
        if !source.must_wait(interest, need) {
            self.set_ready(source, interest);
        }
    }

    /// Wakes the caller at once, in its poll or in its `wait`. Another thread's `wait` may disarm the direction, so
    /// this thread's next `wait` also returns at once.
    pub(in crate::channel) fn set_ready(&self, source: &impl Source, interest: Interest) {
        if !fault(Fault::StolenReady) {
            self.event_count.note_stale_epoch();
        }
        self.poll_fd.set_ready(interest, source.events());
    }

    /// As [`set_ready`](Self::set_ready), for a caller that is not armed yet.
    pub(in crate::channel) fn arm_and_set_ready(&self, source: &impl Source, interest: Interest) {
        self.poll_fd.arm(interest, 1);
        self.set_ready(source, interest);
    }

    /// After an event was taken: wakes the pollers of the direction if their bytes have come or never will.
    pub(in crate::channel) fn forward_event(&self, source: &impl Source, interest: Interest) {
        let Some(need) = self.poll_fd.armed(interest) else { return };
        // The event may have used up the poller's request, although its bytes were already read. Request again.
        if !fault(Fault::UnrequestedEvent) {
            source.rearm(interest);
        }
        if !source.must_wait(interest, need) && !fault(Fault::ForwardEvent) {
            self.poll_fd.set_ready(interest, source.events());
        }
    }

    pub(super) fn forward_event_to_both(&self, source: &impl Source) {
        self.forward_event(source, Interest::Readable);
        self.forward_event(source, Interest::Writable);
    }

    /// Takes the events that made the descriptor readable, for a call that tries one direction. Events for the other
    /// direction are forwarded. The caller checks its direction after this.
    pub(in crate::channel) fn take_events(&self, source: &impl Source, interest: Interest) -> Result<()> {
        if !self.is_polled(source) {
            return Ok(());
        }
        let _held = cancel::hold();
        self.event_count.drain(source)?;
        self.forward_event(
            source,
            match interest {
                Interest::Readable => Interest::Writable,
                Interest::Writable => Interest::Readable,
            },
        );
        Ok(())
    }
}
