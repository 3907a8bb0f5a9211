//! The two directions of a channel, for one thread each.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::io::{Progress, Wait};
use super::{Closer, State};
use crate::ring::Interest;
use crate::{Error, Result};

/// How a half waits.
#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    nonblocking: bool,
    timeout: Option<Duration>,
}

impl Mode {
    fn wait(self) -> Wait {
        if self.nonblocking {
            Wait::No { drain: true }
        } else {
            Wait::AtMost(self.timeout)
        }
    }
}

/// The reading half of a [`Vchan`](super::Vchan).
///
/// [`Read::read`] gives at least one byte, or 0 at the end of the stream: the peer closed the channel or
/// [ended its stream](Writer::shutdown), and everything it wrote has been read. A peer that died gives
/// [`io::ErrorKind::ConnectionReset`] there instead, one that [aborted](super::Vchan::abort)
/// [`io::ErrorKind::ConnectionAborted`].
///
/// ```
/// use std::io::{Read, Write};
/// use vchan::{transport::in_process::InProcess, Listener, Vchan};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
/// let client = Vchan::builder(0, "x").transport(machine.domain(1)).connect()?;
/// let (mut reader, writer) = client.split();
/// listener.accept()?.write_all(b"hello")?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    pub(super) channel: Arc<Channel>,
    mode: Mode,
}

/// The writing half of a [`Vchan`](super::Vchan).
///
/// [`Write::write`] waits until everything is in the ring. If the peer leaves, a signal comes or the time runs out
/// before that, it returns how much was written, and the next call returns the reason. Flushing does nothing.
///
/// ```
/// use std::io::Write;
/// use vchan::{transport::in_process::InProcess, Listener, Vchan};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
/// let client = Vchan::builder(0, "x").transport(machine.domain(1)).connect()?;
/// let (reader, mut writer) = client.split();
/// writer.write_all(b"hello")?;
/// assert_eq!(writer.pending()?, 5);
/// let mut server = listener.accept()?;
/// server.recv(&mut [0; 5])?;
/// assert_eq!(writer.pending()?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Writer {
    pub(super) channel: Arc<Channel>,
    mode: Mode,
}

pub(super) fn halves(channel: Arc<Channel>) -> (Reader, Writer) {
    let mode = Mode::default();
    (Reader { channel: channel.clone(), mode }, Writer { channel, mode })
}

impl Reader {
    /// Whether reads fail with [`io::ErrorKind::WouldBlock`] instead of waiting. After such a failure, or a short
    /// read, the descriptor becomes readable when there is more.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.mode.nonblocking = nonblocking;
    }

    /// How long a blocking call waits for the peer before it fails with [`Error::TimedOut`]; `None`, the default,
    /// for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.mode.timeout = timeout;
    }

    /// Reads exactly `packet.len()` bytes or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::PacketTooLarge`] if the ring cannot hold that many (in non-blocking mode: [`Error::WouldBlock`]),
    /// [`Error::PeerClosed`], [`Error::PeerFinished`], [`Error::PeerAborted`] and [`Error::PeerDied`] if the peer's
    /// stream ended before that; its data can still be read. [`Error::WouldBlock`], [`Error::TimedOut`],
    /// [`Error::Interrupted`], [`Error::Closed`], [`Error::Corrupt`].
    pub fn recv(&mut self, packet: &mut [u8]) -> Result<()> {
        self.channel.recv(packet, self.mode.wait())
    }

    /// How many bytes can be read now. The descriptor becomes readable when that changes.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Corrupt`], and errors of the event channel.
    pub fn data_ready(&self) -> Result<usize> {
        self.channel.arm_and_count(Interest::Readable)
    }

    /// The size of the ring in bytes.
    pub fn ring_size(&self) -> usize {
        self.channel.ring.consumer.size() as usize
    }

    /// Waits for data, then writes at most `max` bytes (at least 1) of it to `fd` with one system call, straight out of the
    /// ring. Returns how many; 0 is the end of the stream. If `fd` fails, nothing is lost from the ring.
    ///
    /// After fewer bytes than `max`, this half's descriptor becomes readable when there is more, at once if `fd` was
    /// the limit. A non-blocking `fd` can cause [`Error::WouldBlock`], too: if [`data_ready`](Self::data_ready) is not
    /// 0, poll `fd`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if `fd` cannot be written, [`Error::PeerDied`], [`Error::PeerAborted`], [`Error::WouldBlock`],
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Closed`], [`Error::Corrupt`].
    pub fn copy_to_fd(&mut self, fd: BorrowedFd<'_>, max: usize) -> Result<usize> {
        end_of_stream(self.channel.copy_to_fd(fd, max, self.mode.wait()))
    }

    /// Waits until an event comes, at most `timeout`, as [`Vchan::wait`](super::Vchan::wait) does: at the end of the peer's
    /// stream, until it leaves, say.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use vchan::{transport::in_process::InProcess, Listener, State, Vchan};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let machine = InProcess::new();
    /// let listener = Listener::builder(1, "end").transport(machine.domain(0)).bind()?;
    /// let mut client = Vchan::builder(0, "end").transport(machine.domain(1)).connect()?;
    /// let (mut reader, _writer) = listener.accept()?.split();
    /// client.write_all(b"last words")?;
    /// client.shutdown()?;
    /// reader.read_to_end(&mut Vec::new())?;
    /// let leaving = std::thread::spawn(move || client.close());
    /// while reader.state()? == State::Connected {
    ///     // It fails where the peer has left already.
    ///     let _ = reader.wait(None);
    /// }
    /// leaving.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Closed`]; [`Error::PeerClosed`], [`Error::PeerDied`] and
    /// [`Error::PeerAborted`] if no event will come any more.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        self.channel.wait(timeout)
    }

    /// See [`Vchan::state`](super::Vchan::state).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn state(&self) -> Result<State> {
        self.channel.state_now()
    }

    /// See [`Vchan::leave`](super::Vchan::leave).
    pub fn leave(&self) {
        self.channel.leave();
    }

    /// See [`Vchan::abort`](super::Vchan::abort).
    pub fn abort(&self) {
        self.channel.abort();
    }

    /// See [`Vchan::peer_half_closes`](super::Vchan::peer_half_closes).
    pub fn peer_half_closes(&self) -> bool {
        self.channel.peer_half_closes()
    }

    /// See [`Vchan::closer`](super::Vchan::closer).
    pub fn closer(&self) -> Closer {
        self.channel.closer().clone()
    }

    fn read_some(&self, into: &mut [u8]) -> Result<usize> {
        end_of_stream(if self.mode.nonblocking {
            self.channel.read_now(into, into.len(), true)
        } else {
            self.channel.read(into, into.len(), self.mode.timeout)
        })
    }
}

/// The end of the peer's stream is no error for a reader.
fn end_of_stream(result: Result<usize>) -> Result<usize> {
    match result {
        Err(Error::PeerClosed | Error::PeerFinished) => Ok(0),
        other => other,
    }
}

impl Writer {
    /// Whether writes fail with [`io::ErrorKind::WouldBlock`] instead of waiting. After such a failure, or a short
    /// write, the descriptor becomes readable when there is space.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.mode.nonblocking = nonblocking;
    }

    /// As [`Reader::set_timeout`].
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.mode.timeout = timeout;
    }

    /// Writes `packet` as a whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::PacketTooLarge`] if the ring cannot hold it (in non-blocking mode: [`Error::WouldBlock`]);
    /// [`Error::PeerClosed`], [`Error::PeerAborted`], [`Error::PeerDied`]; [`Error::WouldBlock`], [`Error::TimedOut`],
    /// [`Error::Interrupted`], [`Error::Closed`], [`Error::Corrupt`].
    pub fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.channel.send(packet, self.mode.wait())
    }

    /// How many bytes can be written now. The descriptor becomes readable when that changes.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Corrupt`], and errors of the event channel.
    pub fn buffer_space(&self) -> Result<usize> {
        self.channel.arm_and_count(Interest::Writable)
    }

    /// The size of the ring in bytes.
    pub fn ring_size(&self) -> usize {
        self.channel.ring.producer.size() as usize
    }

    /// How many bytes the peer has not consumed yet.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn pending(&self) -> Result<usize> {
        Ok(self.channel.ring.producer.pending()? as usize)
    }

    /// Waits until the peer has consumed everything.
    ///
    /// # Errors
    ///
    /// [`Error::PeerClosed`], [`Error::PeerAborted`] and [`Error::PeerDied`] if the peer left before that;
    /// [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Closed`], [`Error::Corrupt`].
    pub fn wait_drained(&mut self, timeout: Option<Duration>) -> Result<()> {
        self.channel.wait_drained(timeout)
    }

    /// Waits for space, then reads at most `max` bytes (at least 1) from `fd` with one system call, straight into the ring.
    /// Returns how many; 0 is the end of the file. A descriptor that blocks, blocks this call.
    ///
    /// After fewer bytes than `max`, this half's descriptor becomes readable when there is space, at once if `fd` was
    /// the limit. A non-blocking `fd` can cause [`Error::WouldBlock`], too: if [`buffer_space`](Self::buffer_space) is
    /// not 0, poll `fd`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if `fd` cannot be read, [`Error::PeerClosed`], [`Error::PeerAborted`], [`Error::PeerDied`],
    /// [`Error::WouldBlock`], [`Error::TimedOut`], [`Error::Interrupted`], [`Error::Closed`], [`Error::Corrupt`].
    pub fn copy_from_fd(&mut self, fd: BorrowedFd<'_>, max: usize) -> Result<usize> {
        self.channel.copy_from_fd(fd, max, self.mode.wait())
    }

    /// Ends this side's stream: the peer reads the rest and then the end, while the other direction goes on. Later writes
    /// fail with [`Error::Closed`]. A second call does nothing. Does not block.
    ///
    /// Only a peer of this implementation hears of it, on every transport; for any other the stream stays open until
    /// this side [leaves](Self::leave). See [`peer_half_closes`](super::Vchan::peer_half_closes).
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use vchan::{transport::in_process::InProcess, Listener, Vchan};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let machine = InProcess::new();
    /// let listener = Listener::builder(1, "question").transport(machine.domain(0)).bind()?;
    /// let client = Vchan::builder(0, "question").transport(machine.domain(1)).connect()?;
    /// let mut server = listener.accept()?;
    /// let (mut answers, mut questions) = client.split();
    /// questions.write_all(b"how many?")?;
    /// questions.shutdown()?;
    ///
    /// let mut question = String::new();
    /// server.read_to_string(&mut question)?;
    /// write!(server, "{} bytes", question.len())?;
    /// server.close();
    /// let mut answer = String::new();
    /// answers.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "9 bytes");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if this side has left or was closed, and errors of the event channel.
    pub fn shutdown(&mut self) -> Result<()> {
        self.channel.finish()
    }

    /// Sends one event that the peer did not ask for. A peer that keeps to the protocol ignores it; one that misses
    /// wake-ups goes on.
    ///
    /// # Errors
    ///
    /// Errors of the event channel.
    pub fn nudge(&self) -> Result<()> {
        self.channel.notify()
    }

    /// See [`Vchan::state`](super::Vchan::state).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn state(&self) -> Result<State> {
        self.channel.state_now()
    }

    /// See [`Vchan::leave`](super::Vchan::leave).
    pub fn leave(&self) {
        self.channel.leave();
    }

    /// See [`Vchan::abort`](super::Vchan::abort).
    pub fn abort(&self) {
        self.channel.abort();
    }

    /// See [`Vchan::peer_half_closes`](super::Vchan::peer_half_closes).
    pub fn peer_half_closes(&self) -> bool {
        self.channel.peer_half_closes()
    }

    /// See [`Vchan::closer`](super::Vchan::closer).
    pub fn closer(&self) -> Closer {
        self.channel.closer().clone()
    }

    fn write_some(&self, data: &[u8]) -> Progress {
        if self.mode.nonblocking {
            self.channel.write_now(data, data.len(), true)
        } else {
            self.channel.write(data, self.mode.timeout)
        }
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(into)?)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let more = |buf: &mut [u8]| match self.mode.nonblocking {
            // Not just what there is: after less than everything the descriptor may be polled.
            true => self.read_some(buf),
            false => self.channel.read_on(buf),
        };
        Ok(self.channel.read_vectored(bufs, |first| self.read_some(first), more)?)
    }
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(self.write_some(data).into_result()?)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.channel.write_vectored(bufs, |buf| self.write_some(buf))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For this direction only: it is not kept readable by what the writer waits for.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.fd_in_any_case(Some(Interest::Readable))
    }
}

/// For this direction only: it is not kept readable by what the reader waits for.
impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.fd_in_any_case(Some(Interest::Writable))
    }
}

impl AsRawFd for Reader {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsRawFd for Writer {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
