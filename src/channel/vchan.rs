//! The public face of a channel's end.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::half::{halves, Reader, Writer};
use super::{Closer, State};
use crate::transport::{Rendezvous, Role};
use crate::Result;

/// One end of a channel: a byte stream in both directions.
///
/// It reads and writes like [`Reader`] and [`Writer`]. Dropping it closes it: the peer is notified, and everything
/// that was made for the channel is removed.
///
/// The descriptor ([`AsFd`]) is for `poll`, `select` and `epoll`: it becomes readable when an event comes or the peer
/// ends. Poll it only after a non-blocking call that moved less than requested, or after
/// [`data_ready`](Self::data_ready) or [`buffer_space`](Self::buffer_space): only these ask the peer for an event. An
/// event does not name its direction, so try both: the descriptor stays readable while a requested direction is ready
/// and was not tried. Each half of a [split](Self::split) channel has a descriptor of its own. Each is made on first
/// request. Without them an end has at most 5 descriptors.
///
/// ```
/// use std::io::{Read, Write};
/// use vchan::{transport::in_process::InProcess, Listener, State, Vchan};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(7, "echo").transport(machine.domain(0)).buffer_size(1 << 20).bind()?;
/// let client = Vchan::builder(0, "echo").transport(machine.domain(7)).connect()?;
/// let server = listener.accept()?;
/// assert_eq!(server.state()?, State::Connected);
///
/// let (mut from_client, mut to_client) = server.split();
/// let echo = std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_client));
/// let (mut reader, mut writer) = client.split();
/// writer.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// reader.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
/// drop((reader, writer));
/// assert_eq!(echo.join().unwrap()?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it closes the channel"]
pub struct Vchan {
    reader: Reader,
    writer: Writer,
}

impl Vchan {
    pub(super) fn new(channel: Arc<Channel>) -> Vchan {
        let (reader, writer) = halves(channel);
        Vchan { reader, writer }
    }

    /// Waits until the client has come, at most `timeout`, to a channel that
    /// [`ListenerBuilder::open`](super::ListenerBuilder::open) has made. No signal ends it.
    #[doc(hidden)]
    pub fn wait_for_client(&self, timeout: Option<Duration>) -> Result<()> {
        self.channel().wait_for_peer_through_signals(timeout)
    }

    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.reader.channel
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.channel().ring.role()
    }

    /// The configuration path. A client by [`XEN_CONFIGURATION`](crate::transport::unix::UnixTransport::exported) has
    /// the path of the server that it met.
    pub fn path(&self) -> &str {
        self.channel().path()
    }

    /// What the server published: the ring reference and the event channel.
    pub fn rendezvous(&self) -> &Rendezvous {
        self.channel().rendezvous()
    }

    /// The state of the peer. Does not block.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the shared memory holds an impossible value.
    pub fn state(&self) -> Result<State> {
        self.channel().state_now()
    }

    /// Waits until an event comes, at most `timeout`. It may mean anything or nothing.
    ///
    /// # Errors
    ///
    /// As [`Reader::wait`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.channel().wait(timeout)
    }

    /// See [`Reader::data_ready`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn data_ready(&self) -> Result<usize> {
        self.reader.data_ready()
    }

    /// See [`Writer::buffer_space`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn buffer_space(&self) -> Result<usize> {
        self.writer.buffer_space()
    }

    /// See [`Reader::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&mut self, packet: &mut [u8]) -> Result<()> {
        self.reader.recv(packet)
    }

    /// See [`Writer::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.writer.send(packet)
    }

    /// See [`Reader::set_nonblocking`]; for both directions.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.reader.set_nonblocking(nonblocking);
        self.writer.set_nonblocking(nonblocking);
    }

    /// See [`Reader::set_timeout`]; for both directions.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.reader.set_timeout(timeout);
        self.writer.set_timeout(timeout);
    }

    /// The two directions, for one thread each. The channel closes when both are dropped.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// A handle that closes the channel from another thread.
    pub fn closer(&self) -> Closer {
        self.channel().closer().clone()
    }

    /// Announces to the peer that this end has left, but keeps the memory: the peer's data can still be read, writing
    /// fails with [`Error::Closed`](crate::Error::Closed).
    pub fn leave(&self) {
        self.channel().leave();
    }

    /// See [`Writer::shutdown`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn shutdown(&mut self) -> Result<()> {
        self.writer.shutdown()
    }

    /// Leaves because of a failure: as [`leave`](Self::leave), but a peer of this implementation gets
    /// [`Error::PeerAborted`](crate::Error::PeerAborted), after the bytes that are in the ring, instead of the end of the
    /// stream. Any other peer sees an ordinary end.
    pub fn abort(&self) {
        self.channel().abort();
    }

    /// Whether the peer is known to support [`shutdown`](Self::shutdown) and [`abort`](Self::abort), as an end of this
    /// implementation. A client announces it when it connects, a server with its first event after that.
    pub fn peer_half_closes(&self) -> bool {
        self.channel().peer_half_closes()
    }

    /// Closes the channel, as dropping it does.
    pub fn close(self) {
        self.closer().close();
    }
}

impl Read for Vchan {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.reader.read_vectored(bufs)
    }
}

impl Write for Vchan {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writer.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Vchan {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel().fd_in_any_case(None)
    }
}

impl AsRawFd for Vchan {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
