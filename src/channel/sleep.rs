//! Sleeping until the peer's event comes, for any number of threads on one event channel.
//!
//! An event wakes whoever reads it, and it may have been meant for somebody else. So one sleeper at a time polls
//! the event channel, and every event that it takes starts a new *round*, which wakes all others; each then looks
//! at its own condition. A sleeper takes a ticket (the number of the round) before it looks at its condition for the
//! last time, and does not sleep if the round has changed since.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};

use super::closer::Closer;
use super::outside::epoll_of;
use crate::transport::EventChannel;
use crate::{Error, Result};

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
    static SEEN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

const EVENTS: u64 = 0;
const CLOSER: u64 = 1;

#[derive(Debug)]
pub(super) struct Sleepers {
    id: u64,
    /// The event channel and the closer.
    inner: Arc<Epoll>,
    round: AtomicU64,
    /// Whether somebody polls.
    polling: Mutex<bool>,
    changed: Condvar,
}

impl Sleepers {
    pub(super) fn new(events: &dyn EventChannel, closer: &Closer) -> Result<Sleepers> {
        let inner = Arc::new(epoll_of(&[(closer.fd(), CLOSER)])?);
        events.attach(inner.clone(), EVENTS)?;
        Ok(Sleepers {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            inner,
            round: AtomicU64::new(0),
            polling: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    /// Readable when an event has come, or the peer or this side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inner.0.as_fd()
    }

    /// A ticket that this thread keeps for a [`remembered`](Self::remembered) wait in a later call.
    pub(super) fn remember(&self) {
        SEEN.set((self.id, self.round.load(Ordering::Acquire)));
    }

    /// The ticket that this thread kept, or a fresh one. So an event that another thread took in between counts.
    pub(super) fn remembered(&self) -> Ticket {
        match SEEN.replace((0, 0)) {
            (id, round) if id == self.id => Ticket(round),
            _ => self.ticket(),
        }
    }

    /// To be taken before the last look at what is waited for.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.round.load(Ordering::Acquire))
    }

    /// Sleeps until an event comes that was not there at `ticket`, or until the deadline. `drain` takes the events
    /// from the channel and says whether there were any.
    pub(super) fn sleep(
        &self,
        ticket: Ticket,
        deadline: Option<Instant>,
        drain: &dyn Fn() -> Result<bool>,
    ) -> Result<Woken> {
        let mut polling = self.lock();
        loop {
            if self.round.load(Ordering::Acquire) != ticket.0 {
                return Ok(Woken::Event);
            }
            if !*polling {
                *polling = true;
                drop(polling);
                let woken = self.poll(deadline, drain);
                polling = self.lock();
                *polling = false;
                if matches!(woken, Ok(Woken::Event)) {
                    self.round.fetch_add(1, Ordering::Release);
                }
                // Somebody has to poll on, and everybody has to look.
                self.changed.notify_all();
                return woken;
            }
            polling = match deadline {
                None => self.changed.wait(polling).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Woken::Late);
                    }
                    self.changed.wait_timeout(polling, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits on the event channel itself.
    fn poll(&self, deadline: Option<Instant>, drain: &dyn Fn() -> Result<bool>) -> Result<Woken> {
        let mut found = [EpollEvent::empty(); 2];
        loop {
            let timeout = match deadline {
                None => EpollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // Rounded up, so that a wait is never shorter than asked for.
                    let millis = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
                    EpollTimeout::try_from(millis as i32).unwrap_or(EpollTimeout::MAX)
                }
            };
            let count = match self.inner.wait(&mut found, timeout) {
                Ok(0) => return Ok(Woken::Late),
                Ok(count) => count,
                Err(Errno::EINTR) => return Err(Error::Interrupted),
                Err(errno) => return Err(Error::os("wait for an event", errno)),
            };
            if found[..count].iter().any(|event| event.data() == CLOSER) {
                return Err(Error::Closed);
            }
            if drain()? {
                return Ok(Woken::Event);
            }
        }
    }

    /// Takes pending events without sleeping, unless another thread is about to take them.
    pub(super) fn drain(&self, drain: &dyn Fn() -> Result<bool>) -> Result<()> {
        let polling = self.lock();
        if !*polling && drain()? {
            self.round.fetch_add(1, Ordering::Release);
            self.changed.notify_all();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.polling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
