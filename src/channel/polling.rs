//! For those who wait outside, by polling a descriptor.

use std::sync::atomic::Ordering;

use super::cancel;
use super::shared::Channel;
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::Result;

impl Channel {
    /// An event was taken: wakes whoever polls the descriptor for `interest`, if that has come or never will.
    pub(super) fn pass_on(&self, interest: Interest) {
        let Some(need) = self.outside.expected(interest) else { return };
        // The event may have been the answer to their request, though it told of bytes that they have taken.
        if !fault(Fault::Unasked) {
            self.enable_notification(interest);
        }
        if !self.waits_on(interest, need) && !fault(Fault::PassOn) {
            self.outside.kick(interest, &*self.events);
        }
    }

    /// Whether somebody who needs so much has to wait on, and something may come.
    fn waits_on(&self, interest: Interest, need: u32) -> bool {
        self.ring.available(interest).is_ok_and(|count| count < need)
            && self.state().is_ok_and(|state| self.terminal_error(interest, state).is_none())
    }

    /// A call is about to end after which its caller may poll, or call `wait`, until there are `need` bytes: wakes it where that
    /// need not be waited for, since no event comes then. Another thread's `wait` may take the kick back, so this thread's own
    /// is over at once as well.
    pub(super) fn leave_waiting(&self, interest: Interest, need: u32) {
        if !self.waits_on(interest, need) {
            self.wake_caller(interest);
        }
    }

    /// Wakes the caller, see [`leave_waiting`](Self::leave_waiting).
    pub(super) fn wake_caller(&self, interest: Interest) {
        if !fault(Fault::StolenKick) {
            self.sleepers.remember_event();
        }
        self.outside.kick(interest, &*self.events);
    }

    /// The same for both directions.
    pub(super) fn pass_on_both(&self) {
        self.pass_on(Interest::Readable);
        self.pass_on(Interest::Writable);
    }

    /// To be called when a direction is tried, or waited for in a call: whoever polled for it does not any more.
    pub(super) fn settle(&self, interest: Interest) {
        self.outside.settle(interest, &*self.events);
    }

    /// Prepares for somebody who is going to poll the descriptor, or to call `wait`, until there is more of what is
    /// wanted: asks the peer to tell. The caller looks at the ring once more after this.
    pub fn expect(&self, interest: Interest) {
        // Whoever takes an event meanwhile is to think that anything is enough.
        self.expect_at_least(interest, 1);
        // Something corrupt is found by the caller's own look.
        self.outside.expect(interest, self.ring.available(interest).unwrap_or(0) + 1);
    }

    /// As [`expect`](Self::expect), until there are `need` bytes.
    pub(super) fn expect_at_least(&self, interest: Interest, need: u32) {
        self.outside.expect(interest, need);
        self.sleepers.remember();
        self.has_to_ask();
        self.enable_notification(interest);
    }

    /// Whether somebody may poll for the events. A persistent server takes them in any case: they tell of clients that come.
    pub(super) fn is_polled(&self) -> bool {
        self.outside.is_polled() || self.persistent.load(Ordering::Relaxed)
    }

    /// A call that may wait ends with less than it was asked for. A program that polls the descriptor may do so now, until there
    /// are `need` bytes.
    #[inline]
    pub(super) fn leave_polled(&self, interest: Interest, need: u32) {
        if self.outside.is_polled() {
            self.expect_at_least(interest, need);
            self.leave_waiting(interest, need);
        }
    }

    /// Takes the events that made the descriptor readable, if anybody has it, since they are being acted on by
    /// somebody who tries `interest`. Those that were meant for the other direction are passed on. What is wanted is to
    /// be looked at after this.
    pub(super) fn take_events(&self, interest: Interest) -> Result<()> {
        if !self.is_polled() {
            return Ok(());
        }
        let _held = cancel::hold();
        self.sleepers.drain(self)?;
        self.pass_on(match interest {
            Interest::Readable => Interest::Writable,
            Interest::Writable => Interest::Readable,
        });
        Ok(())
    }

    /// How much there is of what is wanted, for somebody who is going to poll until there is more.
    pub(super) fn ask(&self, interest: Interest) -> Result<usize> {
        self.check_open()?;
        self.settle(interest);
        self.take_events(interest)?;
        self.expect(interest);
        let count = self.ring.available(interest)?;
        // The peer's last event may have been taken before anybody knew that the caller waits.
        self.leave_waiting(interest, count.saturating_add(1));
        Ok(count as usize)
    }
}
