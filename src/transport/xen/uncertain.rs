//! The time during which it is unknown whether the peer's domain is gone, or a program has removed the node
//! that stands for it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::transport::{EventSet, Readiness, Tokens};

/// A one-shot timer that makes the channel readable when it ends.
#[derive(Debug)]
pub(super) struct Doubt {
    set: Arc<EventSet>,
    timer: TimerFd,
}

impl Doubt {
    /// `None` if no timer can be created.
    pub(super) fn new(set: Arc<EventSet>, tokens: Tokens, limit: Duration) -> Option<Doubt> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok()?;
        timer.set(Expiration::OneShot(TimeSpec::from_duration(limit)), TimerSetTimeFlags::empty()).ok()?;
        set.add(&timer, Readiness::READABLE, tokens.readable).ok()?;
        Some(Doubt { set, timer })
    }

    /// Whether it has ended. Returns `true` once.
    pub(super) fn is_over(&self) -> bool {
        nix::unistd::read(self.timer.as_fd(), &mut [0; 8]).is_ok()
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        // A forked child can hold the timer open: then closing would not remove it.
        let _ = self.set.remove(&self.timer);
    }
}
