//! The public face of a channel's end.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::builder::Name;
use super::channel::Channel;
use super::half::{halves, Reader, Writer};
use super::{ClientBuilder, Closer, ServerBuilder, State};
use crate::transport::{Rendezvous, Role};
use crate::{DomId, Result};

/// One end of a channel: a byte stream in both directions.
///
/// Reading and writing are those of [`Reader`] and [`Writer`], which see. Dropping it closes it: the peer is told,
/// and everything that was made for the channel is undone.
///
/// The descriptor ([`AsFd`]) is for `poll`, `select` and `epoll`: it becomes readable when an event comes or the peer
/// ends. Ask only after a non-blocking call that moved less than it was asked for, or after
/// [`data_ready`](Self::data_ready) or [`buffer_space`](Self::buffer_space): only then has the peer been asked for
/// an event. An event says nothing of what it is for, so try both directions: the descriptor stays readable while
/// there is something of what was asked for and not tried since. Each half of a [split](Self::split) channel has a
/// descriptor of its own. Each is made when it is first asked for. Until then an end has at most 5 descriptors (a persistent
/// server over Unix sockets: 6).
///
/// ```
/// use std::io::{Read, Write};
/// use vchan::{transport::in_process::InProcess, State, Vchan};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = InProcess::new();
/// let server = Vchan::server(7, "echo").transport(&machine.domain(0)).buffer_size(1 << 20).listen()?;
/// assert_eq!(server.state()?, State::Waiting);
/// let client = Vchan::client(0, "echo").transport(&machine.domain(7)).connect()?;
/// let server = server.accept(None)?;
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
pub struct Vchan {
    reader: Reader,
    writer: Writer,
}

impl Vchan {
    /// A server for the client domain `peer` under the port name `port`: letters, digits, `_` and `-`. The
    /// configuration path is `/local/domain/<own id>/data/vchan/<peer>/<port>`.
    pub fn server<'a>(peer: DomId, port: &str) -> ServerBuilder<'a> {
        ServerBuilder::new(peer, Name::Port(port.into()))
    }

    /// A server at a configuration path of one's own choice, as with libxenvchan; relative paths begin at
    /// `/local/domain/<own id>/`.
    pub fn server_at<'a>(peer: DomId, path: &str) -> ServerBuilder<'a> {
        ServerBuilder::new(peer, Name::Path(path.into()))
    }

    /// A client of the server in domain `peer` under the port name `port`, at the path
    /// `/local/domain/<peer>/data/vchan/<own id>/<port>`.
    pub fn client<'a>(peer: DomId, port: &str) -> ClientBuilder<'a> {
        ClientBuilder::new(peer, Name::Port(port.into()))
    }

    /// A client of the server at a configuration path.
    pub fn client_at<'a>(peer: DomId, path: &str) -> ClientBuilder<'a> {
        ClientBuilder::new(peer, Name::Path(path.into()))
    }

    pub(super) fn new(channel: Arc<Channel>) -> Vchan {
        let (reader, writer) = halves(channel);
        Vchan { reader, writer }
    }

    /// Waits until the client has come, at most `timeout` (server).
    ///
    /// Fails with [`Error::TimedOut`](crate::Error::TimedOut), with [`Error::PeerDied`](crate::Error::PeerDied)
    /// where the client's whole domain ended meanwhile (Xen), and with [`Error::Closed`](crate::Error::Closed). Over Unix sockets
    /// it fails with `EIDRM` where somebody has removed the files that clients find this server by, such as the whole root. That
    /// is noticed at the latest after a second. [`wait`](Self::wait) does so, too, and the descriptor becomes readable.
    pub fn accept(self, timeout: Option<Duration>) -> Result<Vchan> {
        // A caller that is interrupted would lose the channel; a `Closer` ends the wait.
        self.channel().wait_for_peer_through_signals(timeout)?;
        Ok(self)
    }

    /// The channel itself, without the modes of reader and writer.
    pub fn channel(&self) -> &Arc<Channel> {
        &self.reader.channel
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.channel().ring.role()
    }

    /// The configuration path. A client which was
    /// [told](crate::transport::unix::UnixTransport::exported) of its server has that of the server which it has met.
    pub fn path(&self) -> &str {
        self.channel().path()
    }

    /// What the server published: the ring reference and the event channel.
    pub fn rendezvous(&self) -> &Rendezvous {
        self.channel().rendezvous()
    }

    /// Where the peer is. Does not block.
    pub fn state(&self) -> Result<State> {
        self.channel().state_now()
    }

    /// Waits until an event comes, at most `timeout`. It may mean anything or nothing.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.channel().wait(timeout)
    }

    /// See [`Reader::data_ready`].
    pub fn data_ready(&self) -> Result<usize> {
        self.reader.data_ready()
    }

    /// See [`Writer::buffer_space`].
    pub fn buffer_space(&self) -> Result<usize> {
        self.writer.buffer_space()
    }

    /// See [`Reader::recv`].
    pub fn recv(&mut self, packet: &mut [u8]) -> Result<()> {
        self.reader.recv(packet)
    }

    /// See [`Writer::send`].
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

    /// Tells the peer that this end has left, but keeps the memory: what the peer wrote can still be read, writing
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

    /// Whether the peer is known to understand [`shutdown`](Self::shutdown) and [`abort`](Self::abort): an end of this
    /// implementation. It says so when it connects or, as a server, when it first hears of this side.
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
