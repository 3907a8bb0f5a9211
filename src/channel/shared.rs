//! What both halves of a channel share: the memory, the event channel, who has left, and how to wait.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::closer::Closer;
use super::nudge::Forgetful;
use super::outside::Outside;
use super::sleep::{Host, Sleepers, Stay, Ticket, Until, Woken};
use super::spin::Spin;
use super::State;
use crate::fault::{fault, Fault};
use crate::ring::{Endpoint, PeerLive, Role, Want};
use crate::transport::{EventChannel, Mapping, Meeting, Publication};
use crate::{Error, Result};

/// What a channel is made of; see [`Channel::new`].
pub(super) struct Parts {
    pub ring: Endpoint,
    pub events: Box<dyn EventChannel>,
    pub mappings: Vec<Box<dyn Mapping>>,
    pub publication: Option<Box<dyn Publication>>,
    pub meeting: Meeting,
    pub path: String,
}

/// How a channel behaves; see [`ServerBuilder`](super::ServerBuilder).
pub(super) struct Habits {
    pub spin: Option<Duration>,
    pub nudges: bool,
    pub persistent: bool,
}

/// One end of a channel, to be shared between threads.
///
/// One thread may read while another writes and a third closes. Two that read at once (or write at once) mix up their
/// data and may break the channel (it is corrupt then), but touch no memory that isn't theirs. [`Vchan`](super::Vchan) rules that out by its types and is
/// what Rust programs want; this is for interfaces that can't, such as C's.
// The fields are dropped in this order: the name first, the memory last.
pub struct Channel {
    publication: Mutex<Option<Box<dyn Publication>>>,
    pub(super) ring: Endpoint,
    outside: Outside,
    sleepers: Sleepers,
    events: Box<dyn EventChannel>,
    closer: Closer,
    spin_for_data: Spin,
    spin_for_space: Spin,
    forgetful: Forgetful,
    /// The event channel said that the peer has ended.
    ended: AtomicBool,
    /// This side has told the peer that it left.
    left: AtomicBool,
    persistent: AtomicBool,
    meeting: Meeting,
    path: String,
    /// Behind `ring`, whose pointers lead here.
    _mappings: Vec<Box<dyn Mapping>>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("path", &self.path).field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Channel {
    pub(super) fn new(parts: Parts, closer: &Closer, habits: Habits) -> Result<Arc<Channel>> {
        let sleepers = Sleepers::new(&*parts.events, closer)?;
        let spin = || Spin::new(habits.spin, parts.events.same_scheduler());
        let (spin_for_data, spin_for_space) = (spin(), spin());
        let channel = Arc::new(Channel {
            outside: Outside::new()?,
            sleepers,
            publication: Mutex::new(parts.publication),
            ring: parts.ring,
            events: parts.events,
            closer: closer.clone(),
            spin_for_data,
            spin_for_space,
            forgetful: Forgetful::new(habits.nudges),
            ended: AtomicBool::new(false),
            left: AtomicBool::new(false),
            persistent: AtomicBool::new(false),
            meeting: parts.meeting,
            path: parts.path,
            _mappings: parts.mappings,
        });
        closer.bind(&channel)?;
        if habits.persistent {
            channel.set_persistent(true)?;
        }
        Ok(channel)
    }

    /// The shared memory of this end.
    pub fn ring(&self) -> &Endpoint {
        &self.ring
    }

    /// What the server published.
    pub fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// The configuration path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The handle that closes this channel.
    pub fn closer(&self) -> &Closer {
        &self.closer
    }

    /// The descriptor to poll, see [`Vchan`](super::Vchan).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.outside.fd(self.sleepers.fd())
    }

    /// A descriptor that is readable when an event has come that nobody has taken. Unlike [`fd`](Self::fd) it doesn't
    /// tell of what another thread's call has taken, and costs nothing where nobody polls it.
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.sleepers.fd()
    }

    /// The descriptor to poll for one direction only.
    pub fn fd_for(&self, want: Want) -> BorrowedFd<'_> {
        self.outside.fd_for(want, self.sleepers.fd())
    }

    /// The local event port, never 0.
    pub fn event_port(&self) -> u32 {
        self.events.local_port()
    }

    /// See [`EventChannel::evtchn_fd`].
    pub fn evtchn_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.evtchn_fd()
    }

    /// See [`ServerBuilder::persistent`](super::ServerBuilder::persistent). Nothing for a client.
    pub fn set_persistent(&self, persistent: bool) -> Result<()> {
        let persistent = persistent && self.ring.role() == Role::Server;
        self.persistent.store(persistent, Ordering::Relaxed);
        self.events.serve_many(persistent)
    }

    /// Where the peer is. What the live byte says counts more than the end of the event channel: a peer that left
    /// in order ends it too.
    pub(super) fn state(&self) -> Result<State> {
        let ended = self.ended.load(Ordering::Acquire);
        Ok(match self.ring.peer_live()? {
            PeerLive::Exited => State::PeerClosed,
            PeerLive::Connected | PeerLive::Waiting if ended => State::PeerDied,
            PeerLive::Connected => State::Connected,
            PeerLive::Waiting => State::Waiting,
        })
    }

    /// Where the peer is. Also asks the event channel, for those who never wait and so take no event.
    pub fn state_now(&self) -> Result<State> {
        let state = self.state()?;
        if state == State::Connected && self.events.ended() {
            return if self.ring.peer_live()? == PeerLive::Exited {
                Ok(State::PeerClosed)
            } else {
                Ok(State::PeerDied)
            };
        }
        Ok(state)
    }

    /// The error for an absent peer, where `state` says that it is absent. A persistent server waits for the next
    /// one instead.
    pub(super) fn absent(&self, state: State) -> Option<Error> {
        match state {
            _ if self.persistent.load(Ordering::Relaxed) && self.ring.role() == Role::Server => None,
            State::PeerClosed => Some(Error::PeerClosed),
            State::PeerDied => Some(Error::PeerDied),
            State::Connected | State::Waiting => None,
        }
    }

    /// Fails where the peer has left. A persistent server waits for the next one instead.
    pub fn check_peer(&self) -> Result<()> {
        self.absent(self.state_now()?).map_or(Ok(()), Err)
    }

    /// Fails where this side was closed.
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        self.closer.check()
    }

    /// Whether this side has left, and so must not write any more.
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Sends an event, because the peer may have missed one.
    pub fn notify(&self) -> Result<()> {
        self.events.notify()
    }

    /// Sends the event that the peer asked for, after this side has moved something: taken data, or filled space.
    pub fn tell(&self, moved: Want) -> Result<()> {
        if moved == Want::Data {
            self.spin_for_data.peer_sleeps();
        }
        self.notify()
    }

    /// Tells the peer that this side has left. What is in the rings stays readable for both.
    pub fn leave(&self) {
        if !self.left.swap(true, Ordering::AcqRel) {
            self.ring.leave();
            if fault(Fault::SilentLeave) {
                return;
            }
            // The peer that can't be told has gone itself.
            let _ = self.events.notify();
        }
    }

    /// Withdraws the publication, so that no client comes any more.
    pub fn withdraw(&self) {
        self.publication.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Takes the pending events; says whether there were any.
    fn take_pending(&self) -> Result<bool> {
        let received = self.events.receive().inspect_err(|_| {
            // Nothing will make the descriptor readable any more.
            if self.events.ended() {
                self.ended.store(true, Ordering::Release);
            }
        })?;
        if received.ended {
            // Who ended before it had connected was no client yet: the next one may be.
            let awaited =
                self.persistent.load(Ordering::Relaxed) || self.ring.peer_live()? == PeerLive::Waiting;
            let goes_on = awaited && self.events.rearm()?;
            self.ended.store(!goes_on, Ordering::Release);
        }
        Ok(received.event || received.ended)
    }

    /// What is known of the waits for `want`.
    pub(super) fn spin_for(&self, want: Want) -> &Spin {
        match want {
            Want::Data => &self.spin_for_data,
            Want::Space => &self.spin_for_space,
        }
    }

    /// Waits until there are `need` bytes of what is wanted, or fails with the reason why there never will be.
    pub fn wait_for(&self, want: Want, need: u32, timeout: Option<Duration>) -> Result<()> {
        let spin = self.spin_for(want);
        let done = || !matches!(self.look(want, need), Ok(false));
        // Who gives the processor away in turn may take its time. Others are woken by a writer's first byte, and the scheduler
        // then lets them run for each.
        let kin = self.events.is_kin();
        let moved = || if kin { self.ring.available(want).unwrap_or(0) } else { 0 };
        let yields = kin || want == Want::Data;
        let Some(begun) = spin.until(timeout, yields, done, moved) else {
            return self.look(want, need).map(drop);
        };
        self.settle(want);
        let stay = self.sleepers.stay();
        let deadline = super::deadline(timeout);
        let mut nudges = self.forgetful.nudges();
        let mut due = nudges.due();
        if nudges.at_once() {
            self.notify()?;
        }
        loop {
            let ticket = self.sleepers.ticket();
            self.ring.request(want);
            if !fault(Fault::Recheck) && self.look(want, need)? {
                nudges.moved();
                spin.slept(begun);
                return Ok(());
            }
            let until = [deadline, due].into_iter().flatten().min();
            let woken = self.sleep(&stay, ticket, Until::Bytes(want, need), until)?;
            if woken == Woken::Event && self.look(want, need)? {
                // Not asked for again, so the peer need not tell.
                nudges.moved();
                spin.slept(begun);
                return Ok(());
            }
            // After an event, too: events that bring nothing must not stop the clock.
            if super::is_over(deadline) {
                return Err(Error::TimedOut(timeout.unwrap_or_default()));
            }
            if woken == Woken::Late {
                self.notify()?;
                nudges.sent();
                due = nudges.due();
            }
        }
    }

    /// Whether there are `need` bytes of what is wanted. Fails where there never will be.
    fn look(&self, want: Want, need: u32) -> Result<bool> {
        self.check_open()?;
        if want == Want::Space && self.has_left() {
            return Err(Error::Closed);
        }
        if self.ring.available(want)? >= need && want == Want::Data {
            return Ok(true);
        }
        match self.absent(self.state()?) {
            // The peer may have written between the look above and its leaving.
            Some(_)
                if want == Want::Data && !fault(Fault::FinalLook) && self.ring.available(want)? >= need =>
            {
                Ok(true)
            }
            Some(error) => Err(error),
            None => Ok(self.ring.available(want)? >= need),
        }
    }

    fn sleep(
        &self,
        stay: &Stay<'_>,
        ticket: Ticket,
        until: Until,
        deadline: Option<Instant>,
    ) -> Result<Woken> {
        let woken = self.sleepers.sleep(stay, ticket, until, deadline, self)?;
        if woken == Woken::Event {
            self.pass_on(Want::Data);
            self.pass_on(Want::Space);
        }
        Ok(woken)
    }

    /// An event was taken: wakes whoever polls the descriptor for `want`, if that has come or never will.
    pub(super) fn pass_on(&self, want: Want) {
        let Some(need) = self.outside.expected(want) else { return };
        // The event may have been the answer to their request, though it told of bytes that they have taken.
        if !fault(Fault::Unasked) {
            self.ring.request(want);
        }
        let waits_on = self.ring.available(want).is_ok_and(|count| count < need)
            && self.state().is_ok_and(|state| self.absent(state).is_none());
        if !waits_on && !fault(Fault::PassOn) {
            self.outside.kick(want);
        }
    }

    /// To be called when a direction is tried, or waited for in a call: whoever polled for it does not any more.
    pub(super) fn settle(&self, want: Want) {
        self.outside.settle(want);
    }

    /// Prepares for somebody who is going to poll the descriptor, or to call `wait`, until there is more of what is
    /// wanted: asks the peer to tell. The caller looks at the ring once more after this.
    pub fn expect(&self, want: Want) {
        // Whoever takes an event meanwhile is to think that anything is enough.
        self.expect_at_least(want, 1);
        // Something corrupt is found by the caller's own look.
        self.outside.expect(want, self.ring.available(want).unwrap_or(0) + 1);
    }

    /// As [`expect`](Self::expect), until there are `need` bytes.
    pub(super) fn expect_at_least(&self, want: Want, need: u32) {
        self.outside.expect(want, need);
        self.sleepers.remember();
        self.ring.request(want);
    }

    /// Takes the events that made the descriptor readable, since they are being acted on by somebody who tries
    /// `want`. Those that were meant for the other direction are passed on. What is wanted is to be looked at after
    /// this.
    pub(super) fn take_events(&self, want: Want) -> Result<()> {
        self.sleepers.drain(self)?;
        self.pass_on(match want {
            Want::Data => Want::Space,
            Want::Space => Want::Data,
        });
        Ok(())
    }

    /// How much there is of what is wanted, for somebody who is going to poll until there is more.
    pub(super) fn ask(&self, want: Want) -> Result<usize> {
        self.check_open()?;
        self.settle(want);
        self.take_events(want)?;
        self.expect(want);
        let count = self.ring.available(want)? as usize;
        // The events just taken may have been the peer's last.
        self.pass_on(want);
        Ok(count)
    }

    /// Waits until an event comes that this thread has not seen.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.check_open()?;
        self.ring.check()?;
        let ticket = self.sleepers.remembered();
        if self.outside.settle_both() {
            return Ok(());
        }
        if let Some(error) = self.absent(self.state()?) {
            // No event will come any more. What has come, or can still be read, is worth waking for once.
            self.sleepers.drain(self)?;
            let news = self.sleepers.is_past(ticket) || self.ring.available(Want::Data)? > 0;
            return if news { Ok(()) } else { Err(error) };
        }
        let deadline = super::deadline(timeout);
        match self.sleep(&self.sleepers.stay(), ticket, Until::AnyEvent, deadline)? {
            Woken::Event => Ok(()),
            Woken::Late => Err(Error::TimedOut(timeout.unwrap_or_default())),
        }
    }

    /// Waits until a client has come (server).
    pub fn wait_for_peer(&self, timeout: Option<Duration>) -> Result<()> {
        let stay = self.sleepers.stay();
        let deadline = super::deadline(timeout);
        loop {
            self.check_open()?;
            let ticket = self.sleepers.ticket();
            match self.state()? {
                State::Waiting => {}
                State::PeerDied => return Err(Error::PeerDied),
                State::Connected | State::PeerClosed => return Ok(()),
            }
            let late = match self.sleep(&stay, ticket, Until::AnyEvent, deadline) {
                Ok(woken) => woken == Woken::Late,
                // Who is interrupted here would lose the channel; a `Closer` ends the wait.
                Err(Error::Interrupted) => false,
                Err(error) => return Err(error),
            };
            if late || (super::is_over(deadline) && self.state()? == State::Waiting) {
                return Err(Error::TimedOut(timeout.unwrap_or_default()));
            }
        }
    }
}

impl Host for Channel {
    fn drain(&self) -> Result<bool> {
        self.take_pending()
    }

    fn sleeps_on(&self, want: Want, need: u32) -> bool {
        self.ring.request(want);
        matches!(self.look(want, need), Ok(false))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.withdraw();
        self.leave();
    }
}
