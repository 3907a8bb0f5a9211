//! This library through its Rust API.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use vchan::transport::unix::UnixTransport;
use vchan::transport::{Role, Transport};
use vchan::{Listener, Vchan};

use super::{gone, Link, PEER_TIMEOUT};
use crate::shim_transport::ShimTransport;
use crate::Result;

/// Messages in one vectored call.
const BATCH: usize = 64;

/// An end.
pub struct RustLink {
    vchan: Vchan,
    batches: bool,
    /// The buffers for messages that are read together.
    messages: Vec<u8>,
}

impl RustLink {
    /// Creates an end: on the shim's machine, or on the Unix transport of the environment.
    pub fn open(role: Role, name: &str, ring: usize, on_shim: bool, batches: bool) -> Result<RustLink> {
        let transport: Box<dyn Transport> =
            if on_shim { Box::new(ShimTransport::new()?) } else { Box::new(UnixTransport::from_env()?) };
        let vchan = match role {
            Role::Server => Listener::builder_at(1, name).transport(transport).buffer_size(ring).open()?,
            Role::Client => Vchan::builder_at(0, name).transport(transport).connect()?,
        };
        Ok(RustLink { vchan, batches, messages: Vec::new() })
    }

    /// Waits for the client, on a server.
    pub fn accept(self) -> Result<RustLink> {
        Ok(match self.vchan.role() {
            Role::Client => self,
            Role::Server => {
                self.vchan.wait_for_client(Some(PEER_TIMEOUT))?;
                self
            }
        })
    }

    /// Writes `left` bytes of the repeated message, many messages at once.
    fn write_batches(&mut self, data: &[u8], mut left: usize) -> Result<()> {
        let messages = [IoSlice::new(data); BATCH];
        while left > 0 {
            let rest = left % data.len();
            left -= if rest > 0 {
                self.vchan.write(&data[data.len() - rest..])?
            } else {
                self.vchan.write_vectored(&messages[..BATCH.min(left / data.len())])?
            };
        }
        Ok(())
    }
}

fn unless_blocked(result: io::Result<usize>) -> Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => Ok(other?),
    }
}

impl Link for RustLink {
    #[inline]
    fn write_all(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.vchan.write_all(data)?)
    }

    fn write_times(&mut self, data: &[u8], count: usize) -> Result<()> {
        if self.batches {
            return self.write_batches(data, data.len() * count);
        }
        for _ in 0..count {
            self.vchan.write_all(data)?;
        }
        Ok(())
    }

    fn read_times(&mut self, into: &mut [u8], count: usize) -> Result<usize> {
        if !self.batches {
            return self.read(into);
        }
        self.messages.resize(BATCH * into.len(), 0);
        let mut messages: [IoSliceMut<'_>; BATCH] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        for (slice, message) in messages.iter_mut().zip(self.messages.chunks_mut(into.len())) {
            *slice = IoSliceMut::new(message);
        }
        match self.vchan.read_vectored(&mut messages[..count.min(BATCH)])? {
            0 => Err(gone()),
            count => Ok(count),
        }
    }

    #[inline]
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self.vchan.read(into)? {
            0 => Err(gone()),
            count => Ok(count),
        }
    }

    fn set_nonblocking(&mut self) -> Result<()> {
        self.vchan.set_nonblocking(true);
        Ok(())
    }

    fn try_write(&mut self, data: &[u8]) -> Result<usize> {
        unless_blocked(self.vchan.write(data))
    }

    fn try_read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self.vchan.read(into) {
            Ok(0) => Err(gone()),
            other => unless_blocked(other),
        }
    }

    fn wait(&mut self, _to_read: bool, _to_write: bool) -> Result<()> {
        Ok(self.vchan.wait(None)?)
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.vchan.as_fd())
    }
}
