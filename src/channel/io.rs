//! Moving bytes between a program's buffers and the rings.

use std::time::Duration;

use super::channel::Channel;
use crate::error::fail;
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::{Error, Result};

/// How far a call came. Bytes that were moved stay moved, whatever stopped the rest.
#[derive(Debug)]
pub struct Progress {
    /// Bytes moved.
    pub done: usize,
    /// The error that stopped the rest, if any.
    pub stopped: Option<Error>,
}

impl Progress {
    /// Everything was moved, or no more was possible.
    #[inline(always)]
    fn of(done: usize) -> Progress {
        Progress { done, stopped: None }
    }

    /// An error stopped the rest.
    #[cold]
    #[inline(never)]
    fn stopped(done: usize, error: Error) -> Progress {
        Progress { done, stopped: Some(error) }
    }

    /// The rule of `send` and `recv`: everything or an error.
    fn into_whole(self, len: usize) -> Result<()> {
        match self.stopped {
            Some(error) if self.done < len => fail(error),
            _ => Ok(()),
        }
    }

    /// Adds the moved bytes to `done`, and returns the error.
    fn add_to(self, done: &mut usize) -> Result<()> {
        *done += self.done;
        match self.stopped {
            Some(error) => fail(error),
            None => Ok(()),
        }
    }

    /// The rule of `read` and `write`: an error counts only if nothing was moved. The next call meets it again.
    pub fn into_result(self) -> Result<usize> {
        match self.stopped {
            Some(error) if self.done == 0 => fail(error),
            _ => Ok(self.done),
        }
    }
}

impl Channel {
    /// Copies as much of `data` into the ring as fits now.
    fn put(&self, data: &[u8]) -> Progress {
        let producer = &self.ring.producer;
        self.in_parts(Interest::Writable, data.len(), |done, len| {
            let part = len.min(producer.space_for(len)? as usize);
            if part > 0 {
                producer.fill(&data[done..done + part]);
            }
            Ok((part, part > 0 && producer.commit(part as u32)))
        })
    }

    /// Copies what the ring holds now.
    pub(super) fn take(&self, into: &mut [u8]) -> Progress {
        let consumer = &self.ring.consumer;
        self.in_parts(Interest::Readable, into.len(), |done, len| {
            let part = len.min(consumer.ready_for(len)? as usize);
            if part > 0 {
                consumer.peek(&mut into[done..done + part]);
            }
            Ok((part, part > 0 && consumer.consume(part as u32)))
        })
    }

    /// Moves up to `len` bytes. `step(done, len)` moves up to `len` more, and returns how many (0 ends it) and whether
    /// the peer asked for an event.
    #[inline]
    fn in_parts(
        &self,
        interest: Interest,
        len: usize,
        mut step: impl FnMut(usize, usize) -> Result<(usize, bool)>,
    ) -> Progress {
        self.waiter.update_fence_offer(self);
        let most = self.waiter.chunk_hint(len, self.ring.size(interest));
        let mut done = 0;
        while done < len {
            match step(done, (len - done).min(most)) {
                Ok((0, _)) => break,
                Ok((part, false)) => done += part,
                Ok((part, true)) => {
                    done += part;
                    if let Err(error) = self.notify() {
                        return Progress::stopped(done, error);
                    }
                }
                Err(error) => return Progress::stopped(done, error),
            }
        }
        Progress::of(done)
    }

    /// Fails if writing is not possible any more.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.has_finished() {
            return Err(Error::Closed);
        }
        self.peer_gone(self.state()?).map_or(Ok(()), Err)
    }

    /// Writes all of `data`. Each wait for space takes at most `timeout`.
    pub fn write(&self, data: &[u8], timeout: Option<Duration>) -> Progress {
        let mut done = 0;
        loop {
            if let Err(error) = self.check_writable() {
                return Progress::stopped(done, error);
            }
            if let Err(error) = self.put(&data[done..]).add_to(&mut done) {
                return Progress::stopped(done, error);
            }
            if done == data.len() {
                return Progress::of(done);
            }
            if let Err(error) = self.wait_for(Interest::Writable, 1, timeout) {
                return Progress::stopped(done, error);
            }
        }
    }

    /// Writes what fits, `WouldBlock` for nothing. The caller asked for `asked` bytes; `data` may be only the first
    /// part. After a short count the caller may poll the descriptor or wait for an event, which comes when there is
    /// more space.
    pub fn write_now(&self, data: &[u8], asked: usize, drain: bool) -> Progress {
        let mut done = 0;
        self.waiter.disarm(self, Interest::Writable);
        let stopped = self.check_writable().and_then(|()| {
            self.put(data).add_to(&mut done)?;
            if done == 0 && !data.is_empty() && self.waiter.try_ready(self, Interest::Writable, 1) {
                self.put(data).add_to(&mut done)?;
            }
            if done < asked {
                self.prepare_to_poll(Interest::Writable, 1, drain)?;
                self.put(&data[done..]).add_to(&mut done)?;
                self.leave_to_poll(Interest::Writable, done, data.len(), asked)?;
            }
            if done == 0 && !data.is_empty() {
                return Err(self.terminal_error_now(Interest::Writable)?.unwrap_or(Error::WouldBlock));
            }
            Ok(())
        });
        match stopped {
            Ok(()) => Progress::of(done),
            Err(error) => Progress::stopped(done, error),
        }
    }

    /// Reads at least one byte, waiting at most `timeout`. `into` is the beginning of the caller's `asked` bytes.
    /// After fewer than these the caller may poll the descriptor, if it has one.
    pub fn read(&self, into: &mut [u8], asked: usize, timeout: Option<Duration>) -> Result<usize> {
        self.check_open()?;
        loop {
            let done = self.take(into).into_result()?;
            if done > 0 || into.is_empty() {
                return Ok(self.leave_read(done, asked));
            }
            self.wait_for(Interest::Readable, 1, timeout)?;
        }
    }

    /// Reads what is ready, for the rest of a [`read`](Self::read).
    pub(super) fn read_on(&self, into: &mut [u8]) -> Result<usize> {
        let done = self.take(into).into_result()?;
        Ok(self.leave_read(done, into.len()))
    }

    /// The end of a blocking read of `done` out of `asked` bytes.
    #[inline]
    fn leave_read(&self, done: usize, asked: usize) -> usize {
        if done < asked {
            self.waiter.arm_if_polled(self, Interest::Readable, 1);
        }
        done
    }

    /// Reads what is ready, `WouldBlock` for nothing. `into` is the beginning of the caller's `asked` bytes. After
    /// fewer than these the caller may poll the descriptor or wait for an event, which comes when there is more.
    pub fn read_now(&self, into: &mut [u8], asked: usize, drain: bool) -> Result<usize> {
        let mut done = 0;
        let stopped = self.check_open().and_then(|()| {
            self.waiter.disarm(self, Interest::Readable);
            self.take(into).add_to(&mut done)?;
            if done == 0 && !into.is_empty() && self.waiter.try_ready(self, Interest::Readable, 1) {
                self.take(into).add_to(&mut done)?;
            }
            if done < asked {
                self.prepare_to_poll(Interest::Readable, 1, drain)?;
                self.take(&mut into[done..]).add_to(&mut done)?;
                self.leave_to_poll(Interest::Readable, done, into.len(), asked)?;
            }
            if done == 0 && !into.is_empty() {
                let absent = self.terminal_error_now(Interest::Readable)?;
                // The peer may have written between the check above and its leaving.
                if absent.is_some() && !fault(Fault::FinalCheckNow) {
                    self.take(into).add_to(&mut done)?;
                }
                return Err(absent.unwrap_or(Error::WouldBlock));
            }
            Ok(())
        });
        match stopped {
            Err(error) if done == 0 => fail(error),
            _ => Ok(done),
        }
    }

    /// `done` of `asked` bytes were moved through a buffer of `len`. After a short count the caller may poll. The
    /// event of the peer's end may already have been taken, or, if the buffer was the limit, the ring may hold more.
    /// No event follows in either case, so the direction is set ready.
    fn leave_to_poll(&self, interest: Interest, done: usize, len: usize, asked: usize) -> Result<()> {
        if done == asked {
            return Ok(());
        }
        let absent = || self.state().map_or(true, |state| self.terminal_error(interest, state).is_some());
        let more = done == len && !fault(Fault::CutShort) && self.ring.available(interest)? > 0;
        if more || absent() && !fault(Fault::SwallowedEnd) {
            self.waiter.set_ready(self, interest);
        }
        Ok(())
    }

    /// For a caller that is going to poll until there are `need` bytes.
    pub(super) fn prepare_to_poll(&self, interest: Interest, need: u32, drain: bool) -> Result<()> {
        if drain {
            self.waiter.take_events(self, interest)?;
        }
        self.waiter.arm(self, interest, need);
        Ok(())
    }

    /// Waits until there are `need` bytes, or fails with the reason. Data left by a peer that is gone can still be
    /// read; its ring cannot be written. `need` must not exceed the ring.
    pub fn at_least(&self, interest: Interest, need: usize, wait: Wait) -> Result<()> {
        match interest {
            Interest::Readable => self.check_open(),
            Interest::Writable => self.check_writable(),
        }?;
        self.waiter.disarm(self, interest);
        if self.ring.known(interest, need)? as usize >= need {
            return Ok(());
        }
        let (size, ring) = (need, self.ring.size(interest) as usize);
        let need = u32::try_from(need).unwrap_or(u32::MAX);
        let drain = match wait {
            Wait::AtMost(_) if size > ring => return Err(Error::PacketTooLarge { size, ring }),
            Wait::AtMost(timeout) => return self.wait_for(interest, need, timeout),
            Wait::No { .. } if self.waiter.try_ready(self, interest, need) => return Ok(()),
            Wait::No { drain } => drain,
        };
        self.prepare_to_poll(interest, need, drain)?;
        if self.ring.available(interest)? >= need {
            if drain {
                // The events just taken may have been for fewer bytes.
                self.waiter.forward_event(self, interest);
            }
            return Ok(());
        }
        let absent = self.terminal_error_now(interest)?;
        // The peer may have written between the check above and its leaving.
        if interest == Interest::Readable && self.ring.available(interest)? >= need {
            return Ok(());
        }
        Err(absent.unwrap_or(Error::WouldBlock))
    }

    /// Writes all of `packet`, after waiting for space for all of it.
    pub fn send(&self, packet: &[u8], wait: Wait) -> Result<()> {
        self.at_least(Interest::Writable, packet.len(), wait)?;
        self.put(packet).into_whole(packet.len())
    }

    /// Reads exactly `into`.
    pub fn recv(&self, into: &mut [u8], wait: Wait) -> Result<()> {
        self.at_least(Interest::Readable, into.len(), wait)?;
        self.take(into).into_whole(into.len())
    }

    /// Waits until the peer has consumed everything that was written.
    pub fn wait_drained(&self, timeout: Option<Duration>) -> Result<()> {
        self.check_open()?;
        if self.ring.producer.pending()? == 0 {
            return Ok(());
        }
        match self.wait_for(Interest::Writable, self.ring.producer.size(), timeout) {
            // The peer may have taken the last byte and left after that.
            Err(Error::PeerClosed | Error::PeerDied) if self.ring.producer.pending()? == 0 => Ok(()),
            other => other,
        }
    }
}

/// Whether and how long to wait.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// Not at all.
    No {
        /// Takes pending events, as in [`Channel::read_now`].
        drain: bool,
    },
    /// At most this long. `None` is for ever.
    AtMost(Option<Duration>),
}
