//! What a channel's waits check, and the waits themselves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::channel::Channel;
use super::wait::deadline::Deadline;
use super::wait::Source;
use super::State;
use crate::fault::{fault, Fault};
use crate::ring::{Endpoint, Interest};
use crate::transport::EventChannel;
use crate::{Error, Result};

impl Channel {
    /// Whether there are `need` bytes. Fails with the reason if there never will be.
    fn check_ready(&self, interest: Interest, need: u32) -> Result<bool> {
        self.check_open()?;
        if interest == Interest::Writable && self.has_left() {
            return Err(Error::Closed);
        }
        if self.ring.available(interest)? >= need && interest == Interest::Readable {
            return Ok(true);
        }
        match self.terminal_error(interest, self.state()?) {
            // The peer may have written between the check above and its leaving.
            Some(_)
                if interest == Interest::Readable
                    && !fault(Fault::FinalCheck)
                    && self.ring.available(interest)? >= need =>
            {
                Ok(true)
            }
            Some(error) => Err(error),
            None => Ok(self.ring.available(interest)? >= need),
        }
    }

    /// Waits until there are `need` bytes, or fails with the reason why there never will be.
    pub fn wait_for(&self, interest: Interest, need: u32, timeout: Option<Duration>) -> Result<()> {
        self.waiter.wait_ready(self, interest, need, timeout)
    }

    /// Waits until an event comes that this thread has not seen.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.waiter.wait_event(self, timeout)
    }

    /// Waits until a client has come (server).
    pub fn wait_for_peer(&self, timeout: Option<Duration>) -> Result<()> {
        self.wait_for_peer_until(timeout, Deadline::from(timeout))
    }

    /// As [`wait_for_peer`](Self::wait_for_peer). No signal ends it.
    pub(super) fn wait_for_peer_through_signals(&self, timeout: Option<Duration>) -> Result<()> {
        let deadline = Deadline::from(timeout).fixed();
        loop {
            match self.wait_for_peer_until(timeout, deadline) {
                Err(Error::Interrupted) => {}
                other => return other,
            }
        }
    }

    fn wait_for_peer_until(&self, timeout: Option<Duration>, deadline: Deadline) -> Result<()> {
        self.waiter.wait_until(self, timeout, deadline, || match self.state()? {
            State::Waiting => Ok(None),
            State::PeerDied => Err(Error::PeerDied),
            State::Connected | State::PeerClosed => {
                self.ring.peer_half_closes();
                Ok(Some(()))
            }
        })
    }

    /// Asks the peer for an event, for a caller that is going to poll a descriptor, or to call [`wait`](Self::wait),
    /// until there is more. The caller checks the ring once more after this.
    pub fn arm(&self, interest: Interest) {
        self.waiter.arm_for_more(self, interest);
    }

    /// The bytes that are ready now, for a caller that is going to poll until there are more.
    pub(super) fn arm_and_count(&self, interest: Interest) -> Result<usize> {
        self.check_open()?;
        self.waiter.disarm(self, interest);
        self.waiter.take_events(self, interest)?;
        self.arm(interest);
        let count = self.ring.available(interest)?;
        // The peer's last event may have been taken before the direction was armed.
        self.waiter.set_ready_unless_must_wait(self, interest, count.saturating_add(1));
        Ok(count as usize)
    }

    /// The error for a non-blocking call that found nothing, if nothing can come.
    pub(super) fn terminal_error_now(&self, interest: Interest) -> Result<Option<Error>> {
        let state = if self.waiter.should_check_peer() { self.state_now() } else { self.state() };
        Ok(self.terminal_error(interest, state?))
    }
}

impl Source for Channel {
    fn ring(&self) -> &Endpoint {
        &self.ring
    }

    fn events(&self) -> &dyn EventChannel {
        &*self.events
    }

    fn check_open(&self) -> Result<()> {
        Channel::check_open(self)
    }

    fn check(&self, interest: Interest, need: u32) -> Result<bool> {
        self.check_ready(interest, need)
    }

    fn must_wait(&self, interest: Interest, need: u32) -> bool {
        self.ring.available(interest).is_ok_and(|count| count < need)
            && self.state().is_ok_and(|state| self.terminal_error(interest, state).is_none())
    }

    fn end_of_events(&self) -> Result<Option<Error>> {
        Ok(self.peer_gone(self.state()?))
    }

    fn peer_is_ours(&self) -> bool {
        self.events.peer_has_extensions() || self.heeds_stream_end() && self.ring.peer_half_closes()
    }

    fn is_persistent(&self) -> bool {
        self.persistent.load(Ordering::Relaxed)
    }

    fn drain(&self) -> Result<bool> {
        self.take_pending()
    }

    fn notify(&self) -> Result<()> {
        Channel::notify(self)
    }
}
