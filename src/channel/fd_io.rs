//! Moving bytes between a file descriptor and a ring, with one copy by the kernel.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::channel::Channel;
use super::io::Wait;
use super::wait::cancel;
use crate::ring::{Interest, RawSlice};
use crate::{Error, Result};

impl Channel {
    /// Reads from `fd` straight into the ring once there is space: one `readv` of at most `max` bytes, at least 1. 0
    /// is the end of the file.
    pub fn copy_from_fd(&self, fd: BorrowedFd<'_>, max: usize, wait: Wait) -> Result<usize> {
        self.at_least(Interest::Writable, 1, wait)?;
        let _held = cancel::hold();
        let producer = &self.ring.producer;
        let len = producer.space_for(max)?.min(at_most(max)?);
        let parts = vectors(producer.free_slices(len));
        // SAFETY: the vectors lie in the ring, which stays mapped while `self` lives. Only this call
        // writes there, and the peer, which may write anything anyway.
        let count = unsafe { libc::readv(fd.as_raw_fd(), parts.as_ptr(), 2) };
        let count = moved("read from the descriptor", count)
            .inspect_err(|_| self.leave_short(Interest::Writable, 0, len, max, wait))?;
        if count > 0 && producer.commit(count as u32) {
            self.notify_after_move();
        }
        self.leave_short(Interest::Writable, count, len, max, wait);
        Ok(count)
    }

    /// Writes to `fd` straight from the ring once there is data: one `writev` of at most `max` bytes, at least 1.
    pub fn copy_to_fd(&self, fd: BorrowedFd<'_>, max: usize, wait: Wait) -> Result<usize> {
        self.at_least(Interest::Readable, 1, wait)?;
        let _held = cancel::hold();
        let consumer = &self.ring.consumer;
        let len = consumer.ready_for(max)?.min(at_most(max)?);
        let parts = vectors(consumer.ready_slices(len));
        // SAFETY: the vectors lie in the ring, which stays mapped while `self` lives.
        let count = unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr(), 2) };
        let count = moved("write to the descriptor", count)
            .inspect_err(|_| self.leave_short(Interest::Readable, 0, len, max, wait))?;
        if count > 0 && consumer.consume(count as u32) {
            self.notify_after_move();
        }
        self.leave_short(Interest::Readable, count, len, max, wait);
        Ok(count)
    }

    /// `count` of `max` bytes were moved, of `len` that the ring offered. A caller that got fewer may poll for more.
    /// If the descriptor was the reason, the ring has more already, for which no event comes. If it moved nothing, it
    /// must be polled itself; the events that made the channel's readable are taken all the same.
    fn leave_short(&self, interest: Interest, count: usize, len: u32, max: usize, wait: Wait) {
        let drain = matches!(wait, Wait::No { drain: true });
        let may_poll = matches!(wait, Wait::No { .. }) || self.waiter.has_poll_fd();
        // The bytes were moved. A broken event channel fails again in the next call.
        if count == len as usize {
            if may_poll && count < max {
                let _ = self.prepare_to_poll(interest, 1, drain);
                self.waiter.set_ready_unless_must_wait(self, interest, 1);
            }
            return;
        }
        if drain {
            let _ = self.waiter.take_events(self, interest);
        }
        if may_poll && count > 0 {
            self.waiter.arm_and_set_ready(self, interest);
        }
    }

    /// Sends the event that the peer asked for. The bytes were moved and must be reported. A broken event channel
    /// fails again in the next call.
    pub(super) fn notify_after_move(&self) {
        let _ = self.notify();
    }
}

/// 0 moved bytes would mean the end.
fn at_most(max: usize) -> Result<u32> {
    match max {
        0 => Err(Error::Invalid("at most 0 bytes can't be told from the end of the stream".into())),
        _ => Ok(u32::try_from(max).unwrap_or(u32::MAX)),
    }
}

fn vectors(parts: [RawSlice; 2]) -> [libc::iovec; 2] {
    parts.map(|part| libc::iovec { iov_base: part.start.as_ptr().cast(), iov_len: part.len })
}

fn moved(doing: &'static str, count: isize) -> Result<usize> {
    usize::try_from(count).map_err(|_| {
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => Error::Interrupted,
            Some(libc::EAGAIN) => Error::WouldBlock,
            _ => Error::os(doing, error),
        }
    })
}
