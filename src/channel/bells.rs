//! What a sleeper listens to: the event channel and the closer.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};

use super::closer::Closer;
use super::outside::epoll_of;
use crate::transport::EventChannel;
use crate::{Error, Result};

const EVENTS: u64 = 0;
const CLOSER: u64 = 1;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// There may be an event to be taken.
    Event,
    /// This side has closed the channel.
    Closer,
    /// Nothing until the deadline.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Bells {
    set: Arc<Epoll>,
    #[cfg(model)]
    model: Arc<super::model::Bell>,
}

impl Bells {
    pub(super) fn new(events: &dyn EventChannel, closer: &Closer) -> Result<Bells> {
        let set = Arc::new(epoll_of(&[(closer.fd(), CLOSER)])?);
        events.attach(set.clone(), EVENTS)?;
        Ok(Bells {
            set,
            #[cfg(model)]
            model: super::model::Bell::of_port(events.local_port()),
        })
    }

    /// Readable when an event has come, or the peer or this side has ended.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.set.0.as_fd()
    }

    /// Waits for something to be heard.
    pub(super) fn listen(&self, deadline: Option<Instant>) -> Result<Heard> {
        let timeout = match deadline {
            None => EpollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up, so that a wait is never shorter than asked for.
                let millis = left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128);
                EpollTimeout::try_from(millis as i32).unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut found = [EpollEvent::empty(); 2];
        match self.wait(&mut found, timeout) {
            Ok(0) => Ok(Heard::Nothing),
            Ok(count) if found[..count].iter().any(|event| event.data() == CLOSER) => Ok(Heard::Closer),
            Ok(_) => Ok(Heard::Event),
            Err(Errno::EINTR) => Err(Error::Interrupted),
            Err(errno) => Err(Error::os("wait for an event", errno)),
        }
    }

    #[cfg(not(model))]
    fn wait(&self, found: &mut [EpollEvent], timeout: EpollTimeout) -> nix::Result<usize> {
        self.set.wait(found, timeout)
    }

    /// In a model only the checker may make a thread wait.
    #[cfg(model)]
    fn wait(&self, found: &mut [EpollEvent], _timeout: EpollTimeout) -> nix::Result<usize> {
        self.model.wait_until(|| match self.set.wait(found, EpollTimeout::ZERO) {
            Ok(0) => None,
            other => Some(other),
        })
    }
}
