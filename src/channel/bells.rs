//! What a sleeper listens to: the event channel, and whether this side has closed.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};

#[cfg(not(model))]
use super::interrupt::{self, How};
use super::limit::Limit;
use super::outside::new_epoll;
use crate::transport::{EventChannel, Tokens};
use crate::{Error, Result};

const EVENTS: Tokens = Tokens { readable: 0, rung: 1 };
const CLOSED: u64 = 2;

/// What was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// An event was taken.
    pub rung: bool,
    /// There may be an event to be taken, or the end of the peer.
    pub readable: bool,
    /// This side has closed the channel.
    pub closed: bool,
}

#[derive(Debug)]
pub(super) struct Bells {
    set: Arc<Epoll>,
    #[cfg(model)]
    model: Arc<super::model::Bell>,
}

impl Bells {
    pub(super) fn new(events: &dyn EventChannel) -> Result<Bells> {
        let set = Arc::new(new_epoll()?);
        events.attach(set.clone(), EVENTS)?;
        Ok(Bells {
            set,
            #[cfg(model)]
            model: super::model::Bell::of_port(events.local_port()),
        })
    }

    /// Keeps the set readable from now on, since this side has closed. The event channel's descriptor that is always ready
    /// is watched for that: it tells of no events any more, and nobody listens for them.
    pub(super) fn close(&self, events: &dyn EventChannel) {
        let (fd, ready) = events.always_ready();
        let mut closed = EpollEvent::new(ready, CLOSED);
        // An event channel may have attached another one.
        let _ = self.set.modify(fd, &mut closed).or_else(|_| self.set.add(fd, closed));
    }

    /// Readable when an event has come, or the peer or this side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.set.0.as_fd()
    }

    /// Waits for something to be heard, or for `limit`. That alone takes what was rung.
    pub(super) fn listen(&self, limit: Limit) -> Result<Heard> {
        let mut found = [EpollEvent::empty(); 4];
        Self::heard(self.wait(&mut found, limit), &found)
    }

    /// As [`listen`](Self::listen), without waiting.
    pub(super) fn listen_now(&self) -> Result<Heard> {
        let mut found = [EpollEvent::empty(); 4];
        Self::heard(self.set.wait(&mut found, EpollTimeout::ZERO), &found)
    }

    fn heard(result: nix::Result<usize>, found: &[EpollEvent]) -> Result<Heard> {
        let count = match result {
            Ok(count) => count,
            Err(Errno::EINTR) => return Err(Error::Interrupted),
            Err(errno) => return Err(Error::os("wait for an event", errno)),
        };
        let mut heard = Heard::default();
        for event in &found[..count] {
            match event.data() {
                CLOSED => heard.closed = true,
                token if token == EVENTS.rung => heard.rung = true,
                _ => heard.readable = true,
            }
        }
        Ok(heard)
    }

    /// Signals end it only as [`interrupt`] says.
    #[cfg(not(model))]
    fn wait(&self, found: &mut [EpollEvent], limit: Limit) -> nix::Result<usize> {
        let limit = limit.fixed();
        loop {
            let heard = match interrupt::how_to_sleep(limit) {
                How::Freely(step) => self.set.wait(found, timeout(step)),
                How::Precisely if !interrupt::poll([self.fd()], limit)? => return Ok(0),
                How::Precisely => self.set.wait(found, EpollTimeout::ZERO),
            };
            match heard {
                Ok(0) if !limit.is_over() => {}
                Err(Errno::EINTR) if !interrupt::ends_the_wait() => {}
                other => return other,
            }
        }
    }

    /// In a model only the checker may make a thread wait.
    #[cfg(model)]
    fn wait(&self, found: &mut [EpollEvent], _limit: Limit) -> nix::Result<usize> {
        self.model.wait_until(|| match self.set.wait(found, EpollTimeout::ZERO) {
            Ok(0) => None,
            other => Some(other),
        })
    }
}

#[cfg(not(model))]
fn timeout(limit: Limit) -> EpollTimeout {
    limit.left().map_or(EpollTimeout::NONE, |left| {
        // Rounded up, so that a wait is never shorter than asked for.
        let millis = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
        EpollTimeout::try_from(millis as i32).unwrap_or(EpollTimeout::MAX)
    })
}
