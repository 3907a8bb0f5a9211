//! Sleeping until the peer's event comes, for any number of threads on one event channel.
//!
//! An event wakes whoever reads it, and it may have been meant for somebody else. So one sleeper at a time polls
//! the event channel, and every event that it takes starts a new *round*. It looks on behalf of the others, and wakes
//! those who have something to do now; the rest sleep on. When it leaves, it wakes another to poll in its stead.
//! A sleeper takes a ticket (the number of the round) before it looks at its condition for the last time, and does
//! not sleep if the round has changed since.

use nix::errno::Errno;
use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bells::{Bells, Heard};
use super::interrupt::Sleep;
use super::limit::Limit;
use super::sync::{lock, thread_local, AtomicU64, Condvar, Mutex, MutexGuard};
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::transport::EventChannel;
use crate::{thread, Error, Result};

/// The round that a sleeper saw before its last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// An event came; it may mean anything.
    Event,
    /// The deadline passed.
    Late,
}

thread_local! {
    /// The channel and the round that this thread saw when it last asked for an event without waiting for it.
    // The model checkers' macros know no `const`.
    #[allow(clippy::missing_const_for_thread_local)]
    static SEEN: Cell<(u64, u64)> = Cell::new((0, 0));
}

static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// What a sleeper waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Any event at all.
    AnyEvent,
    /// So many bytes of data or space.
    Bytes(Interest, u32),
}

impl Until {
    fn place(self) -> usize {
        match self {
            Until::AnyEvent => 0,
            Until::Bytes(Interest::Readable, _) => 1,
            Until::Bytes(Interest::Writable, _) => 2,
        }
    }
}

/// What the sleepers need to know of their channel.
pub(super) trait Host {
    /// Takes the events from the event channel that the wait hasn't taken; says whether there were any.
    fn drain(&self) -> Result<bool>;
    /// Asks for the next event on behalf of somebody who sleeps, and says whether they may sleep on.
    fn sleeps_on(&self, interest: Interest, need: u32) -> bool;
}

#[derive(Debug)]
pub(super) struct Sleepers {
    id: u64,
    bells: Bells,
    round: AtomicU64,
    beds: Mutex<Beds>,
    /// One for each [`Until::place`].
    woken: [Condvar; 3],
    /// Whether callers look for a cancellation of their threads when they are asked to.
    looks: AtomicBool,
}

/// The error for a system call that waits.
fn interrupted(errno: Errno) -> Error {
    match errno {
        Errno::EINTR => Error::Interrupted,
        errno => Error::os("wait for an event", errno),
    }
}

impl Heard {
    /// Takes what there is to be taken; says whether there was an event.
    fn take(self, host: &dyn Host) -> Result<bool> {
        let drained = if self.readable { host.drain() } else { Ok(false) };
        // An error comes back with the next look, what was rung doesn't.
        if self.rung {
            return Ok(true);
        }
        drained
    }
}

/// Who sleeps.
#[derive(Debug, Default)]
struct Beds {
    /// Whether somebody polls.
    polling: Option<u32>,
    /// How many others sleep, in each place.
    asleep: [usize; 3],
    /// The least that one of them needs, in the places that wait for bytes.
    need: [u32; 3],
}

/// A stay of one thread among the sleepers. Leaving makes sure that somebody polls for those who stay.
pub(super) struct Stay<'a> {
    sleepers: &'a Sleepers,
    /// Whether others may be waiting for this thread to poll for them. Who comes later polls for themselves.
    awaited: Cell<bool>,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if !self.awaited.get() {
            return;
        }
        let beds = self.sleepers.lock();
        if !beds.is_polled() && !fault(Fault::Handover) {
            if let Some(place) = beds.asleep.iter().position(|&asleep| asleep > 0) {
                self.sleepers.woken[place].notify_one();
            }
        }
    }
}

impl Sleepers {
    pub(super) fn new(events: &dyn EventChannel) -> Result<Sleepers> {
        Ok(Sleepers {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            bells: Bells::new(events)?,
            round: AtomicU64::new(0),
            beds: Mutex::default(),
            woken: Default::default(),
            looks: AtomicBool::new(false),
        })
    }

    /// See [`Channel::look_for_cancellation`](super::Channel::look_for_cancellation).
    pub(super) fn look_for_cancellation(&self) {
        self.looks.store(true, Ordering::Relaxed);
    }

    /// Ends every sleep from now on, since this side has closed.
    pub(super) fn close(&self, events: &dyn EventChannel) {
        self.bells.close(events);
    }

    /// Readable when an event has come, or the peer or this side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.bells.fd()
    }

    /// Keeps a ticket for a wait that is made again.
    pub(super) fn remember_again(&self, ticket: Ticket) {
        SEEN.with(|seen| seen.set((self.id, ticket.0)));
    }

    /// A ticket that this thread keeps for a [`remembered`](Self::remembered) wait in a later call. An older one stays: the
    /// other direction may wait for an event that has been taken since.
    pub(super) fn remember(&self) {
        SEEN.with(|seen| {
            if seen.get().0 != self.id {
                seen.set((self.id, self.round.load(Ordering::Acquire)));
            }
        });
    }

    /// This thread's next [`remembered`](Self::remembered) wait is over at once.
    pub(super) fn remember_event(&self) {
        SEEN.with(|seen| seen.set((self.id, self.round.load(Ordering::Acquire).wrapping_sub(1))));
    }

    /// The ticket that this thread kept, or a fresh one. So an event that another thread took in between counts.
    pub(super) fn remembered(&self) -> Ticket {
        match SEEN.with(|seen| seen.replace((0, 0))) {
            (id, round) if id == self.id => Ticket(round),
            _ => self.ticket(),
        }
    }

    /// To be taken before the last look at what is waited for.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.round.load(Ordering::Acquire))
    }

    /// Whether an event has come since the ticket was taken.
    pub(super) fn is_past(&self, ticket: Ticket) -> bool {
        self.round.load(Ordering::Acquire) != ticket.0
    }

    /// To be held from before the first sleep of a wait until after the last.
    pub(super) fn stay(&self) -> Stay<'_> {
        Stay { sleepers: self, awaited: Cell::new(false) }
    }

    /// Sleeps until an event comes that was not there at `ticket`, or until `limit`.
    pub(super) fn sleep(
        &self,
        stay: &Stay<'_>,
        ticket: Ticket,
        until: Until,
        limit: Limit,
        host: &dyn Host,
    ) -> Result<Woken> {
        let mut sleep = Sleep::begin(limit, self.looks.load(Ordering::Relaxed)).map_err(interrupted)?;
        let mut beds = self.lock();
        loop {
            if self.is_past(ticket) {
                return Ok(Woken::Event);
            }
            if !beds.is_polled() {
                beds.polling = Some(thread::number());
                drop(beds);
                let woken = self.poll(&mut sleep, host);
                beds = self.lock();
                beds.polling = None;
                stay.awaited.set(beds.asleep != [0; 3]);
                self.wake_others(&beds, &woken, host);
                return woken;
            }
            stay.awaited.set(true);
            beds.lie_down(until);
            let wake = &self.woken[until.place()];
            let result;
            (beds, result) = wake.wait(&self.beds, beds, &mut sleep);
            beds.get_up(until);
            if self.is_past(ticket) {
                return Ok(Woken::Event);
            }
            result.map_err(interrupted)?;
            if sleep.is_over() {
                return Ok(Woken::Late);
            }
        }
    }

    /// After an event: wakes those who have something to do. After an error, all: it may concern them, too; but not after an interruption.
    fn wake_others(&self, beds: &Beds, woken: &Result<Woken>, host: &dyn Host) {
        let all = match woken {
            Ok(Woken::Late) | Err(Error::Interrupted) => return,
            Ok(Woken::Event) => false,
            Err(_) => true,
        };
        self.round.fetch_add(1, Ordering::Release);
        if fault(Fault::OnBehalf) {
            return;
        }
        for interest in [Interest::Readable, Interest::Writable] {
            let place = Until::Bytes(interest, 0).place();
            if beds.asleep[place] > 0 && (all || !host.sleeps_on(interest, beds.need[place])) {
                self.woken[place].notify_all();
            }
        }
        if beds.asleep[Until::AnyEvent.place()] > 0 {
            self.woken[Until::AnyEvent.place()].notify_all();
        }
    }

    /// Waits on the event channel itself.
    fn poll(&self, sleep: &mut Sleep, host: &dyn Host) -> Result<Woken> {
        loop {
            let heard = self.bells.listen(sleep)?;
            if heard == Heard::default() {
                return Ok(Woken::Late);
            }
            if heard.closed {
                return Err(Error::Closed);
            }
            if heard.take(host)? {
                return Ok(Woken::Event);
            }
            // What is readable without an event may stay so.
            if sleep.is_over() {
                return Ok(Woken::Late);
            }
        }
    }

    /// Takes pending events without sleeping, unless another thread is about to take them.
    pub(super) fn drain(&self, host: &dyn Host) -> Result<()> {
        let beds = self.lock();
        if !beds.is_polled() && self.bells.listen_now()?.take(host)? {
            self.wake_others(&beds, &Ok(Woken::Event), host);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Beds> {
        lock(&self.beds)
    }
}

impl Beds {
    /// Whether another thread polls. One that this thread has begun is over, left by `longjmp`, or waits for this call to end, which a
    /// signal handler makes; and a thread that a fork left behind polls no more.
    fn is_polled(&self) -> bool {
        // The threads of a model are one to the system.
        self.polling.is_some_and(|other| cfg!(model) || other != thread::number() && thread::can_exist(other))
    }

    fn lie_down(&mut self, until: Until) {
        let place = until.place();
        if let Until::Bytes(_, need) = until {
            self.need[place] = if self.asleep[place] == 0 { need } else { need.min(self.need[place]) };
        }
        self.asleep[place] += 1;
    }

    fn get_up(&mut self, until: Until) {
        self.asleep[until.place()] -= 1;
    }
}
