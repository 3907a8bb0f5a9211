//! Parking until the peer's event comes, for any number of threads on one event channel: an event count with a leader.
//!
//! An event wakes only one of the threads that poll the channel, and it may be meant for a different one. So one
//! parked thread at a time, the leader, polls. Each event that it takes begins a new epoch. The leader checks on
//! behalf of the others and wakes those that have something to do. When it leaves, it wakes another to lead. A thread
//! reads the epoch before the last check of its condition, and does not park if the epoch has advanced since.

use nix::errno::Errno;
use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::deadline::Deadline;
use super::poller::{Poller, Ready};
use super::signals::Sleep;
use super::source::Source;
use super::sync::{lock, thread_local, AtomicU64, Condvar, Mutex, MutexGuard};
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::transport::EventChannel;
use crate::{thread, Error, Result};

/// The number of events taken before a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(u64);

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// An event came. It may mean anything.
    Event,
    /// The deadline passed.
    TimedOut,
}

thread_local! {
    /// The channel and the epoch at which this thread first armed a notification since its last wait for any event.
    /// One slot: a thread that arms several channels keeps the last one's.
    // The model checkers' macros know no `const`.
    #[allow(clippy::missing_const_for_thread_local)]
    static SEEN: Cell<(u64, u64)> = Cell::new((0, 0));
}

static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// What a parked thread waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Any event at all.
    AnyEvent,
    /// This many bytes of data or space.
    Bytes(Interest, u32),
}

impl Until {
    fn class(self) -> usize {
        match self {
            Until::AnyEvent => 0,
            Until::Bytes(Interest::Readable, _) => 1,
            Until::Bytes(Interest::Writable, _) => 2,
        }
    }
}

#[derive(Debug)]
pub(super) struct EventCount {
    id: u64,
    poller: Poller,
    epoch: AtomicU64,
    list: Mutex<WaitList>,
    /// One for each [`Until::class`].
    woken: [Condvar; 3],
    /// Whether callers check for a cancellation when asked to.
    looks: AtomicBool,
}

/// Converts the errno of a failed sleep.
fn interrupted(errno: Errno) -> Error {
    match errno {
        Errno::EINTR => Error::Interrupted,
        errno => Error::os("wait for an event", errno),
    }
}

impl Ready {
    /// Takes what is pending. Returns whether there was an event.
    fn take(self, source: &impl Source) -> Result<bool> {
        let drained = if self.readable { source.drain() } else { Ok(false) };
        // The poll has consumed the doorbell's event, so that comes first. An error of `drain` comes again with the
        // next poll.
        if self.rung {
            return Ok(true);
        }
        drained
    }
}

/// The parked threads.
#[derive(Debug, Default)]
struct WaitList {
    /// The number of the thread that polls.
    leader: Option<u32>,
    /// How many others are parked, per class.
    parked: [usize; 3],
    /// The least that one of them needs, in the classes that wait for bytes.
    need: [u32; 3],
}

/// Held from before the first park of a wait until after the last. Dropping it makes sure that the threads that stay have a
/// leader.
pub(super) struct HandOffGuard<'a> {
    event_count: &'a EventCount,
    /// Other threads may rely on this one as leader. Threads that park later find no leader and lead themselves.
    must_hand_off: Cell<bool>,
}

impl Drop for HandOffGuard<'_> {
    fn drop(&mut self) {
        if !self.must_hand_off.get() {
            return;
        }
        let list = self.event_count.lock();
        if !list.has_leader() && !fault(Fault::Handover) {
            if let Some(class) = list.parked.iter().position(|&parked| parked > 0) {
                self.event_count.woken[class].notify_one();
            }
        }
    }
}

impl EventCount {
    pub(super) fn new(events: &dyn EventChannel) -> Result<EventCount> {
        Ok(EventCount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            poller: Poller::new(events)?,
            epoch: AtomicU64::new(0),
            list: Mutex::default(),
            woken: Default::default(),
            looks: AtomicBool::new(false),
        })
    }

    /// See [`Waiter::look_for_cancellation`](super::Waiter::look_for_cancellation).
    pub(super) fn look_for_cancellation(&self) {
        self.looks.store(true, Ordering::Relaxed);
    }

    /// Ends every park from now on, since this side has closed.
    pub(super) fn close(&self, events: &dyn EventChannel) {
        self.poller.close(events);
    }

    /// Readable when an event has come, or the peer or this side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.poller.fd()
    }

    /// Keeps the epoch for a wait that is restarted.
    pub(super) fn restore_epoch(&self, epoch: Epoch) {
        SEEN.with(|seen| seen.set((self.id, epoch.0)));
    }

    /// Keeps the epoch for a [`take_noted_epoch`](Self::take_noted_epoch) wait of this thread in a later call. An older one stays:
    /// the other direction may still be owed an event that was taken since.
    pub(super) fn note_epoch(&self) {
        SEEN.with(|seen| {
            if seen.get().0 != self.id {
                seen.set((self.id, self.epoch.load(Ordering::Acquire)));
            }
        });
    }

    /// This thread's next [`take_noted_epoch`](Self::take_noted_epoch) wait ends at once.
    pub(super) fn note_stale_epoch(&self) {
        SEEN.with(|seen| seen.set((self.id, self.epoch.load(Ordering::Acquire).wrapping_sub(1))));
    }

    /// The epoch that this thread kept, or the present one. So an event that another thread took in between counts.
    pub(super) fn take_noted_epoch(&self) -> Epoch {
        match SEEN.with(|seen| seen.replace((0, 0))) {
            (id, epoch) if id == self.id => Epoch(epoch),
            _ => self.epoch(),
        }
    }

    /// The present epoch. Read before the last check of a condition.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Whether an event has come since then.
    pub(super) fn has_advanced(&self, since: Epoch) -> bool {
        self.epoch.load(Ordering::Acquire) != since.0
    }

    pub(super) fn guard(&self) -> HandOffGuard<'_> {
        HandOffGuard { event_count: self, must_hand_off: Cell::new(false) }
    }

    /// Parks until an event comes that was not there at `epoch`, or until `deadline`.
    pub(super) fn park(
        &self,
        guard: &HandOffGuard<'_>,
        epoch: Epoch,
        until: Until,
        deadline: Deadline,
        source: &impl Source,
    ) -> Result<Woken> {
        let mut sleep = Sleep::begin(deadline, self.looks.load(Ordering::Relaxed)).map_err(interrupted)?;
        let mut list = self.lock();
        loop {
            if self.has_advanced(epoch) {
                return Ok(Woken::Event);
            }
            if !list.has_leader() {
                list.leader = Some(thread::number());
                drop(list);
                let woken = self.lead(&mut sleep, source);
                list = self.lock();
                list.leader = None;
                guard.must_hand_off.set(list.parked != [0; 3]);
                self.wake_others(&list, &woken, source);
                return woken;
            }
            guard.must_hand_off.set(true);
            list.register(until);
            let wake = &self.woken[until.class()];
            let result;
            (list, result) = wake.wait(&self.list, list, &mut sleep);
            list.unregister(until);
            if self.has_advanced(epoch) {
                return Ok(Woken::Event);
            }
            result.map_err(interrupted)?;
            if sleep.is_over() {
                return Ok(Woken::TimedOut);
            }
        }
    }

    /// After an event: wakes the threads that have something to do. After an error, which may concern them too: all. An
    /// interruption concerns only its own thread.
    fn wake_others(&self, list: &WaitList, woken: &Result<Woken>, source: &impl Source) {
        let all = match woken {
            Ok(Woken::TimedOut) | Err(Error::Interrupted) => return,
            Ok(Woken::Event) => false,
            Err(_) => true,
        };
        self.epoch.fetch_add(1, Ordering::Release);
        if fault(Fault::OnBehalf) {
            return;
        }
        for interest in [Interest::Readable, Interest::Writable] {
            let class = Until::Bytes(interest, 0).class();
            if list.parked[class] == 0 {
                continue;
            }
            let stays = || {
                source.rearm(interest);
                matches!(source.check(interest, list.need[class]), Ok(false))
            };
            if all || !stays() {
                self.woken[class].notify_all();
            }
        }
        if list.parked[Until::AnyEvent.class()] > 0 {
            self.woken[Until::AnyEvent.class()].notify_all();
        }
    }

    /// Polls the event channel.
    fn lead(&self, sleep: &mut Sleep, source: &impl Source) -> Result<Woken> {
        loop {
            let ready = self.poller.poll(sleep)?;
            if ready == Ready::default() {
                return Ok(Woken::TimedOut);
            }
            if ready.closed {
                return Err(Error::Closed);
            }
            if ready.take(source)? {
                return Ok(Woken::Event);
            }
            // A descriptor may stay readable without an event: the deadline counts all the same.
            if sleep.is_over() {
                return Ok(Woken::TimedOut);
            }
        }
    }

    /// Takes pending events without sleeping, unless a leader is about to take them.
    pub(super) fn drain(&self, source: &impl Source) -> Result<()> {
        let list = self.lock();
        if !list.has_leader() && self.poller.poll_now()?.take(source)? {
            self.wake_others(&list, &Ok(Woken::Event), source);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, WaitList> {
        lock(&self.list)
    }
}

impl WaitList {
    /// Whether another thread polls. A leader with this thread's own number does not count: `longjmp` abandoned its
    /// poll, or a signal handler interrupted it and makes this call. Nor does a thread left behind by a fork.
    fn has_leader(&self) -> bool {
        // All threads of a model run on one thread of the system.
        self.leader.is_some_and(|other| cfg!(model) || other != thread::number() && thread::can_exist(other))
    }

    fn register(&mut self, until: Until) {
        let class = until.class();
        if let Until::Bytes(_, need) = until {
            self.need[class] = if self.parked[class] == 0 { need } else { need.min(self.need[class]) };
        }
        self.parked[class] += 1;
    }

    fn unregister(&mut self, until: Until) {
        self.parked[until.class()] -= 1;
    }
}
