//! Moving bytes between several buffers and the rings: one publication for many small messages.

use std::io::{IoSlice, IoSliceMut};
use std::iter::Peekable;

use super::channel::Channel;
use super::io::Progress;
use super::wait::CHUNK;
use crate::ring::Interest;
use crate::Result;

impl Channel {
    /// Writes several buffers: those that fit now together, the first that does not by `one`.
    pub(super) fn write_vectored(
        &self,
        bufs: &[IoSlice<'_>],
        one: impl Fn(&[u8]) -> Progress,
    ) -> Result<usize> {
        self.check_writable()?;
        self.waiter.disarm(self, Interest::Writable);
        let mut bufs = bufs.iter().map(|buf| &buf[..]).filter(|buf| !buf.is_empty()).peekable();
        let mut done = 0;
        loop {
            loop {
                match self.put_together(&mut bufs) {
                    Ok(0) => break,
                    Ok(part) => done += part,
                    Err(error) if done == 0 => return Err(error),
                    Err(_) => return Ok(done),
                }
            }
            let Some(buf) = bufs.next() else { return Ok(done) };
            let progress = one(buf);
            done += progress.done;
            match progress.stopped {
                Some(error) if done == 0 => return Err(error),
                None if progress.done == buf.len() => {}
                _ => return Ok(done),
            }
        }
    }

    /// Copies the next of `bufs` into the ring, as many as fit now, up to a chunk, and publishes them together.
    fn put_together<'a>(&self, bufs: &mut Peekable<impl Iterator<Item = &'a [u8]>>) -> Result<usize> {
        let producer = &self.ring.producer;
        let space = producer.space_for(CHUNK)? as usize;
        let mut part = 0;
        while let Some(buf) = bufs.next_if(|buf| part < CHUNK && buf.len() <= space - part) {
            producer.fill_behind(part as u32, buf);
            part += buf.len();
        }
        if part > 0 && producer.commit(part as u32) {
            self.notify_after_move();
        }
        Ok(part)
    }

    /// Reads into several buffers: those that can be filled now together, the next by `first` if it is the first of
    /// all, else by `more`.
    pub(super) fn read_vectored(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        first: impl Fn(&mut [u8]) -> Result<usize>,
        more: impl Fn(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        self.check_open()?;
        self.waiter.disarm(self, Interest::Readable);
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut bufs = bufs.iter_mut().map(|buf| &mut buf[..]).filter(|buf| !buf.is_empty()).peekable();
        let mut done = 0;
        loop {
            match self.take_together(&mut bufs, wanted - done) {
                Ok(0) => {}
                Ok(part) => {
                    done += part;
                    continue;
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
            let Some(buf) = bufs.next() else { return Ok(done) };
            // The next call meets the error again.
            let moved = if done == 0 { first(buf)? } else { more(buf).unwrap_or_default() };
            done += moved;
            if moved < buf.len() {
                return Ok(done);
            }
        }
    }

    /// Fills the next of `bufs`, which have room for `wanted` bytes: as many as can be filled now, up to a chunk. All
    /// are consumed together.
    fn take_together<'a>(
        &self,
        bufs: &mut Peekable<impl Iterator<Item = &'a mut [u8]>>,
        wanted: usize,
    ) -> Result<usize> {
        let consumer = &self.ring.consumer;
        let ready = consumer.ready_for(wanted.min(CHUNK))? as usize;
        let mut part = 0;
        while let Some(buf) = bufs.next_if(|buf| part < CHUNK && buf.len() <= ready - part) {
            consumer.peek_behind(part as u32, buf);
            part += buf.len();
        }
        if part > 0 && consumer.consume(part as u32) {
            self.notify_after_move();
        }
        Ok(part)
    }
}
