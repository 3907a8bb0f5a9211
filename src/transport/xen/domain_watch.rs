//! Noticing that the peer's whole domain has gone: its kernel can't tell any more, so nobody would be woken.
//!
//! `@releaseDomain` fires whenever some domain ends. Only dom0 (and who was given the permission) hears it, so
//! elsewhere a timer looks, too; that is one small request to xenstored each time.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};

use super::xenstore::XsClient;
use crate::{DomId, Error, Result};

/// How often an unprivileged domain looks.
const EVERY: Duration = Duration::from_millis(500);

/// Watches one domain's life.
#[derive(Debug)]
pub(super) struct DomainWatch {
    peer: DomId,
    xs: XsClient,
    timer: Option<TimerFd>,
    gone: AtomicBool,
}

impl DomainWatch {
    pub(super) fn new(own: DomId, peer: DomId) -> Result<DomainWatch> {
        let xs = XsClient::open().map_err(Error::Xenstore)?;
        xs.watch("@releaseDomain", "domain").map_err(Error::Xenstore)?;
        let timer =
            if own == 0 { None } else { Some(timer().map_err(|errno| Error::os("make a timer", errno))?) };
        Ok(DomainWatch { peer, xs, timer, gone: AtomicBool::new(false) })
    }

    /// What becomes readable when there may be news.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(self.xs.as_fd()), self.timer.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    }

    /// Takes the news; says whether the domain has gone.
    pub(super) fn take(&self) -> Result<bool> {
        let mut news = false;
        while self.xs.next_event(Some(Duration::ZERO)).map_err(Error::Xenstore)?.is_some() {
            news = true;
        }
        if let Some(timer) = &self.timer {
            let mut count = [0; 8];
            news |= nix::unistd::read(timer, &mut count).is_ok();
        }
        if news && !self.xs.is_domain_introduced(self.peer).map_err(Error::Xenstore)? {
            self.gone.store(true, Ordering::Release);
        }
        Ok(self.is_gone())
    }

    /// Whether the domain was seen to have gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

fn timer() -> std::result::Result<TimerFd, Errno> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    timer.set(Expiration::Interval(TimeSpec::from_duration(EVERY)), TimerSetTimeFlags::empty())?;
    Ok(timer)
}
