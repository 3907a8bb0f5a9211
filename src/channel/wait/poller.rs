//! What a leader polls: the event channel, and whether this side was closed.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use super::poll_fd::new_set;
use super::signals::Sleep;
use crate::transport::{EventChannel, EventSet, Tokens};
use crate::{Error, Result};

const EVENTS: Tokens = Tokens { readable: 0, rung: 1 };
const CLOSED: u64 = 2;

/// What a poll found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// An event was taken.
    pub rung: bool,
    /// There may be an event to take, or the end of the peer.
    pub readable: bool,
    /// This side was closed.
    pub closed: bool,
}

#[derive(Debug)]
pub(super) struct Poller {
    set: Arc<EventSet>,
    #[cfg(model)]
    model: Arc<crate::channel::model::Doorbell>,
}

impl Poller {
    pub(super) fn new(events: &dyn EventChannel) -> Result<Poller> {
        let set = Arc::new(new_set()?);
        events.attach(set.clone(), EVENTS)?;
        Ok(Poller {
            set,
            #[cfg(model)]
            model: crate::channel::model::Doorbell::of_port(events.local_port()),
        })
    }

    /// Keeps the set readable from now on, since this side was closed. Reuses the event channel's always-ready
    /// descriptor, whose events no longer matter.
    pub(super) fn close(&self, events: &dyn EventChannel) {
        let (fd, ready) = events.always_ready();
        // The event channel may not have put this descriptor into the set: add it then.
        let _ = self.set.modify(fd, ready, CLOSED).or_else(|_| self.set.add(fd, ready, CLOSED));
    }

    /// Readable when an event has come, or the peer or this side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    /// Waits until something is ready or the sleep ends. This also takes the events of the doorbell.
    pub(super) fn poll(&self, sleep: &mut Sleep) -> Result<Ready> {
        let mut found = [EpollEvent::empty(); 4];
        Self::ready(self.wait(&mut found, sleep), &found)
    }

    /// As [`poll`](Self::poll), without waiting.
    pub(super) fn poll_now(&self) -> Result<Ready> {
        let mut found = [EpollEvent::empty(); 4];
        Self::ready(self.set.epoll().wait(&mut found, EpollTimeout::ZERO), &found)
    }

    fn ready(result: nix::Result<usize>, found: &[EpollEvent]) -> Result<Ready> {
        let count = match result {
            Ok(count) => count,
            Err(Errno::EINTR) => return Err(Error::Interrupted),
            Err(errno) => return Err(Error::os("wait for an event", errno)),
        };
        let mut ready = Ready::default();
        for event in &found[..count] {
            match event.data() {
                CLOSED => ready.closed = true,
                token if token == EVENTS.rung => ready.rung = true,
                _ => ready.readable = true,
            }
        }
        Ok(ready)
    }

    #[cfg(not(model))]
    fn wait(&self, found: &mut [EpollEvent], sleep: &mut Sleep) -> nix::Result<usize> {
        sleep.wait(self.set.epoll(), found)
    }

    /// In a model only the checker may block a thread.
    #[cfg(model)]
    fn wait(&self, found: &mut [EpollEvent], _sleep: &mut Sleep) -> nix::Result<usize> {
        self.model.wait_until(|| match self.set.epoll().wait(found, EpollTimeout::ZERO) {
            Ok(0) => None,
            other => Some(other),
        })
    }
}
