//! The time in which it isn't known whether the peer's domain has gone, or a program has removed the node that stood for it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::transport::{EventSet, Readiness, Tokens};

/// It ends by itself, and then makes the channel readable.
#[derive(Debug)]
pub(super) struct Doubt {
    set: Arc<EventSet>,
    timer: TimerFd,
}

impl Doubt {
    /// `None` where there is no timer to be had.
    pub(super) fn new(set: Arc<EventSet>, tokens: Tokens, limit: Duration) -> Option<Doubt> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok()?;
        timer.set(Expiration::OneShot(TimeSpec::from_duration(limit)), TimerSetTimeFlags::empty()).ok()?;
        set.add(&timer, Readiness::READABLE, tokens.readable).ok()?;
        Some(Doubt { set, timer })
    }

    /// Whether it has ended. It says so once.
    pub(super) fn is_over(&self) -> bool {
        nix::unistd::read(self.timer.as_fd(), &mut [0; 8]).is_ok()
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        // A forked child may keep the timer open: then closing wouldn't remove it.
        let _ = self.set.remove(&self.timer);
    }
}
