//! Waiting in a call: for bytes, for any event, for the client.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cancel;
use super::interrupt::is_made_again;
use super::limit::Limit;
use super::linger::{Linger, Pause};
use super::moment::Moment;
use super::nudge::Forgetful;
use super::promise::Promise;
use super::shared::Channel;
use super::sleep::{Host, Stay, Ticket, Until, Woken};
use super::spin::{Begun, Spin};
use super::State;
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::{Error, Result};

/// What an end has learnt of its waits.
pub(super) struct Waits {
    data: Spin,
    space: Spin,
    any_event: Spin,
    moments: [Moment; 2],
    linger: Linger,
    pub(super) promise: Promise,
    /// How many calls that find nothing need not ask whether the peer has died, since a wait has.
    unasked: AtomicU32,
    forgetful: Forgetful,
}

impl Waits {
    pub(super) fn new(spin: Option<Duration>, nudges: bool, same_scheduler: bool) -> Waits {
        let spin = || Spin::new(spin, same_scheduler);
        Waits {
            data: spin(),
            space: spin(),
            any_event: spin(),
            moments: Default::default(),
            linger: Linger::default(),
            promise: Promise::new(same_scheduler),
            unasked: AtomicU32::new(0),
            forgetful: Forgetful::new(nudges),
        }
    }

    fn spin_for(&self, interest: Interest) -> &Spin {
        match interest {
            Interest::Readable => &self.data,
            Interest::Writable => &self.space,
        }
    }

    /// The peer has asked for an event instead of looking itself for what this side writes.
    pub(super) fn peer_sleeps(&self) {
        self.data.peer_sleeps();
    }

    /// Whether the peer seems to run beside this side, as far as waits for `interest` and for any event tell.
    #[inline]
    pub(super) fn peer_runs_beside(&self, interest: Interest) -> bool {
        self.spin_for(interest).hopeful() && self.any_event.hopeful()
    }
}

impl Channel {
    /// Waits until there are `need` bytes of what is wanted, or fails with the reason why there never will be.
    pub fn wait_for(&self, interest: Interest, need: u32, timeout: Option<Duration>) -> Result<()> {
        let waited = self.wait_in_call(interest, need, timeout);
        if matches!(waited, Err(Error::TimedOut(_) | Error::Interrupted)) {
            self.leave_polled(interest, need);
        }
        waited
    }

    fn wait_in_call(&self, interest: Interest, need: u32, timeout: Option<Duration>) -> Result<()> {
        let spin = self.waits.spin_for(interest);
        let done = || !matches!(self.check(interest, need), Ok(false));
        // Who gives the processor away in turn may take its time. Others are woken by a writer's first byte, and the scheduler
        // then lets them run for each.
        let kin = self.events.peer_has_extensions();
        let moved = || if kin { self.ring.available(interest).unwrap_or(0) } else { 0 };
        let yields = kin || interest == Interest::Readable;
        let pause = || self.waits.linger.pause(&self.ring, interest);
        // A call that is made again has done that.
        let spun =
            if is_made_again() { Some(spin.skip()) } else { spin.until(timeout, pause, yields, done, moved) };
        let Some(begun) = spun else {
            self.waited_unasked();
            return self.check(interest, need).map(drop);
        };
        let _held = cancel::hold();
        self.settle(interest);
        let stay = self.sleepers.stay();
        let deadline = Limit::from(timeout).fixed();
        let mut nudges = self.waits.forgetful.nudges(self.peer_is_ours());
        let mut due = nudges.due();
        if nudges.at_once() {
            self.notify()?;
        }
        self.has_to_ask();
        loop {
            let ticket = self.sleepers.ticket();
            self.enable_notification(interest);
            if !fault(Fault::Recheck) && self.check(interest, need)? {
                nudges.moved();
                spin.slept(begun);
                return Ok(());
            }
            let woken = self.sleep(&stay, ticket, Until::Bytes(interest, need), due.or(deadline))?;
            if woken == Woken::Event && self.check(interest, need)? {
                // Not asked for again, so the peer need not tell.
                nudges.moved();
                spin.slept(begun);
                return Ok(());
            }
            // After an event, too: events that bring nothing must not stop the clock.
            if deadline.is_over() {
                return Err(Error::TimedOut(timeout.unwrap_or_default()));
            }
            if woken == Woken::Late && self.peer_is_ours() {
                nudges.end();
                due = nudges.due();
            } else if woken == Woken::Late {
                self.notify()?;
                nudges.sent();
                due = nudges.due();
            }
            due = due.fixed();
        }
    }

    /// Why nothing will come, if so, for a call that doesn't wait and has found nothing.
    pub(super) fn terminal_error_now(&self, interest: Interest) -> Result<Option<Error>> {
        let unasked = self.waits.unasked.load(Ordering::Relaxed);
        let state = if unasked > 0 { self.state() } else { self.state_now() };
        self.waits.unasked.store(unasked.saturating_sub(1), Ordering::Relaxed);
        Ok(self.terminal_error(interest, state?))
    }

    /// Whether `need` bytes of what is wanted, which are not there, come within a moment: without an event, then.
    pub(super) fn comes_in_a_moment(&self, interest: Interest, need: u32) -> bool {
        let moment = &self.waits.moments[usize::from(interest == Interest::Writable)];
        // Something corrupt is told by the caller's own look.
        self.waits.spin_for(interest).may_spin()
            && moment.until(|| self.ring.available(interest).map_or(true, |count| count >= need))
    }

    /// Whether there are `need` bytes of what is wanted. Fails where there never will be.
    fn check(&self, interest: Interest, need: u32) -> Result<bool> {
        self.check_open()?;
        if interest == Interest::Writable && self.has_left() {
            return Err(Error::Closed);
        }
        if self.ring.available(interest)? >= need && interest == Interest::Readable {
            return Ok(true);
        }
        match self.terminal_error(interest, self.state()?) {
            // The peer may have written between the look above and its leaving.
            Some(_)
                if interest == Interest::Readable
                    && !fault(Fault::FinalLook)
                    && self.ring.available(interest)? >= need =>
            {
                Ok(true)
            }
            Some(error) => Err(error),
            None => Ok(self.ring.available(interest)? >= need),
        }
    }

    fn sleep(&self, stay: &Stay<'_>, ticket: Ticket, until: Until, limit: Limit) -> Result<Woken> {
        let sleep = |limit| self.sleepers.sleep(stay, ticket, until, limit, self);
        let woken = match self.events.name_is_due() {
            None => sleep(limit),
            Some(due) => {
                let (limit, due) = (limit.fixed(), Limit::After(due).fixed());
                match sleep(limit.or(due)) {
                    Ok(Woken::Late) if due.is_over() && !limit.is_over() => {
                        self.events.watch_name();
                        sleep(limit)
                    }
                    woken => woken,
                }
            }
        };
        // What was closed meanwhile says so by its own rule.
        let woken = woken.or_else(|error| self.check_open().and(Err(error)))?;
        if woken == Woken::Event {
            self.pass_on_both();
        }
        Ok(woken)
    }

    /// Takes pending events without sleeping; says whether there has been any since `ticket`.
    pub(super) fn take_since(&self, ticket: Ticket) -> Result<bool> {
        self.sleepers.drain(self)?;
        let past = self.sleepers.is_past(ticket);
        if past {
            self.pass_on_both();
        }
        Ok(past)
    }

    /// Waits until an event comes that this thread has not seen.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.check_open()?;
        self.ring.check()?;
        let _held = cancel::hold();
        // Whoever calls this will find nothing in both directions, as a rule, before the next time.
        self.waits.unasked.store(2, Ordering::Relaxed);
        let ticket = self.sleepers.remembered();
        let awaited = [Interest::Readable, Interest::Writable]
            .map(|interest| self.outside.expected(interest).map(|need| (interest, need)));
        let kicked = [Interest::Readable, Interest::Writable]
            .map(|interest| self.outside.settle(interest, &*self.events));
        if kicked != [false; 2] {
            return Ok(());
        }
        if let Some(error) = self.peer_gone(self.state()?) {
            // No event will come any more. What has come, or can still be read, is worth waking for once.
            self.sleepers.drain(self)?;
            let news = self.sleepers.is_past(ticket) || self.ring.available(Interest::Readable)? > 0;
            return if news { Ok(()) } else { Err(error) };
        }
        // Who was told by the descriptor that there is an event wants it taken.
        if self.is_polled() && self.take_since(ticket)? {
            return Ok(());
        }
        let spun = if is_made_again() {
            Some(self.waits.any_event.skip())
        } else {
            self.spin_for_awaited(ticket, awaited, timeout)
        };
        let Some(begun) = spun else { return self.check_open() };
        // Not a sleep to learn from: what was moved while nobody slept may have left an event behind.
        if begun.counts() && self.take_since(ticket)? && !fault(Fault::FreshTicket) {
            return Ok(());
        }
        let ticket = if fault(Fault::FreshTicket) { self.sleepers.ticket() } else { ticket };
        let limit = timeout.into();
        let woken = self
            .sleep(&self.sleepers.stay(), ticket, Until::AnyEvent, limit)
            // The wait that is made again is for the same events.
            .inspect_err(|_| self.sleepers.remember_again(ticket))?;
        self.waits.any_event.slept(begun);
        match woken {
            Woken::Event => Ok(()),
            Woken::Late => Err(Error::TimedOut(timeout.unwrap_or_default())),
        }
    }

    /// Spins until one of those has come that the non-blocking calls have last asked for, or an event was taken. The
    /// peer's own event will be pending then, and wake somebody once for nothing.
    fn spin_for_awaited(
        &self,
        ticket: Ticket,
        awaited: [Option<(Interest, u32)>; 2],
        timeout: Option<Duration>,
    ) -> Option<Begun> {
        let awaited = || awaited.iter().flatten();
        let done = || {
            self.sleepers.is_past(ticket)
                || awaited().any(|&(interest, need)| !matches!(self.check(interest, need), Ok(false)))
        };
        let kin = self.events.peer_has_extensions();
        let moved = || match kin {
            true => awaited().map(|&(interest, _)| self.ring.available(interest).unwrap_or(0)).sum(),
            false => 0,
        };
        self.waits.any_event.until(timeout, Pause::default, kin, done, moved)
    }

    /// Waits until a client has come (server).
    pub fn wait_for_peer(&self, timeout: Option<Duration>) -> Result<()> {
        self.wait_for_peer_until(timeout, Limit::from(timeout))
    }

    /// As [`wait_for_peer`](Self::wait_for_peer), and no signal ends it.
    pub(super) fn wait_for_peer_through_signals(&self, timeout: Option<Duration>) -> Result<()> {
        let limit = Limit::from(timeout).fixed();
        loop {
            match self.wait_for_peer_until(timeout, limit) {
                Err(Error::Interrupted) => {}
                other => return other,
            }
        }
    }

    fn wait_for_peer_until(&self, timeout: Option<Duration>, limit: Limit) -> Result<()> {
        let _held = cancel::hold();
        let stay = self.sleepers.stay();
        let limit = limit.fixed();
        loop {
            self.check_open()?;
            let ticket = self.sleepers.ticket();
            match self.state()? {
                State::Waiting => {}
                State::PeerDied => return Err(Error::PeerDied),
                State::Connected | State::PeerClosed => {
                    self.ring.peer_half_closes();
                    return Ok(());
                }
            }
            let late = self.sleep(&stay, ticket, Until::AnyEvent, limit)? == Woken::Late;
            if late || (limit.is_over() && self.state()? == State::Waiting) {
                return Err(Error::TimedOut(timeout.unwrap_or_default()));
            }
        }
    }
}

impl Host for Channel {
    fn drain(&self) -> Result<bool> {
        self.take_pending()
    }

    fn sleeps_on(&self, interest: Interest, need: u32) -> bool {
        self.enable_notification(interest);
        matches!(self.check(interest, need), Ok(false))
    }
}
