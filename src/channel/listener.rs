//! Many clients under one name, each with a channel of its own.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::sys::eventfd::EventFd;

use super::channel::Channel;
use super::closer::{Closable, Closer};
use super::serve::Plan;
use super::vchan::Vchan;
use super::wait::deadline::Deadline;
use super::wait::new_set;
use super::State;
use crate::ring::{Interest, PeerLive};
use crate::transport::{EventSet, Readiness};
use crate::{Error, Result};

/// The tokens in the set. They are never read.
const CLIENT: u64 = 0;
const CLOSING: u64 = 1;

/// The channel that waits for the next client, if there is one.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Option<Arc<Channel>>>);

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Channel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Closable for Pending {
    /// Ends the waits for the client. Holds the lock, so that no channel is closed that was given to the program.
    fn close(&self) {
        self.lock().iter().for_each(|channel| channel.closer().close());
    }

    fn abort(&self) {
        self.lock().iter().for_each(|channel| channel.abort());
    }
}

/// A server: accepts any number of clients under one name, each with a channel of its own.
///
/// One channel at a time is published. [`accept`](Self::accept) waits until a client has come to it, withdraws it, and
/// publishes the next one. Until then another client fails with [`Error::NoServer`] or [`Error::InUse`], or
/// [waits](super::ClientBuilder::wait).
///
/// * *The client has left* before it was accepted: it is accepted, and its bytes can be read.
/// * *The client has died* before it was accepted: it is accepted if there are bytes to read. Otherwise it is skipped, and the
///   wait goes on.
/// * *The next channel can't be published*: the client is returned. The next call tries again, and returns the error if that
///   fails, too.
/// * *The published channel is lost*: the peer's whole domain has ended (Xen, [`Error::PeerDied`]), the files by which clients
///   find it were removed (Unix sockets, `EIDRM`, noticed at the latest after a second), or a client has
///   [corrupted](Error::Corrupt) the shared memory. One call returns the error, and the next one publishes again.
///
/// No signal ends a call; a [`Closer`] does. Several threads may accept at once.
///
/// The descriptor ([`AsFd`]) is for `poll`, `select` and `epoll`, and stays the same. It is readable when a client may
/// have come, when a channel has to be published again, and when the listener was closed;
/// [`accept_timeout`](Self::accept_timeout) with a zero timeout then returns the reason. A listener uses two
/// descriptors besides those of its one channel.
///
/// ```
/// use std::io::{Read, Write};
/// use vchan::{transport::in_process::InProcess, Listener, Vchan};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "echo").transport(machine.domain(0)).bind()?;
/// let closer = listener.closer();
/// let server = std::thread::spawn(move || {
///     for client in listener.incoming() {
///         let (mut reader, mut writer) = client?.split();
///         std::thread::spawn(move || std::io::copy(&mut reader, &mut writer));
///     }
///     vchan::Result::Ok(())
/// });
///
/// for text in ["first", "second"] {
///     let builder = Vchan::builder(0, "echo").transport(machine.domain(1));
///     let mut client = builder.wait_forever().connect()?;
///     client.write_all(text.as_bytes())?;
///     let mut answer = vec![0; text.len()];
///     client.read_exact(&mut answer)?;
///     assert_eq!(answer, text.as_bytes());
/// }
/// closer.close();
/// server.join().unwrap()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it closes the listener"]
pub struct Listener {
    plan: Plan,
    path: String,
    pending: Arc<Pending>,
    /// Held from before a client is taken until after the next channel is published. Taken before the one in `pending`.
    turn: Mutex<()>,
    closer: Closer,
    /// The descriptor was handed out.
    polled: AtomicBool,
    set: EventSet,
    /// Readable once the listener is closed, and always writable. The set watches the latter while nothing is published.
    closing: Arc<EventFd>,
}

impl Listener {
    pub(super) fn new(plan: Plan, closer: Closer) -> Result<Listener> {
        let closing = closer.event()?;
        let set = new_set()?;
        set.add(&*closing, Readiness::WRITABLE, CLOSING).map_err(not_watched)?;
        let pending = Arc::new(Pending::default());
        closer.bind(Arc::downgrade(&pending) as Weak<dyn Closable>)?;
        let (turn, polled) = (Mutex::new(()), AtomicBool::new(false));
        let mut listener =
            Listener { plan, path: String::new(), pending, turn, closer, polled, set, closing };
        let first = listener.publish(&listener.turn())?;
        listener.path = first.path().into();
        Ok(listener)
    }

    /// Waits for a client.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] after [`Closer::close`]. The errors of channels that can't be published or are lost, see
    /// [`Listener`]; after these the listener goes on.
    pub fn accept(&self) -> Result<Vchan> {
        self.accept_until(None)
    }

    /// Waits for a client, at most as long as `timeout`. Zero does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]. Nothing is lost then: the channel stays published, and the next call returns a client that has
    /// come meanwhile. Otherwise as [`accept`](Self::accept).
    ///
    /// ```
    /// use std::time::Duration;
    /// use vchan::{transport::in_process::InProcess, Error, Listener, Vchan};
    /// # fn main() -> vchan::Result<()> {
    /// let machine = InProcess::new();
    /// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
    /// let nobody = listener.accept_timeout(Duration::from_millis(10));
    /// assert!(matches!(nobody, Err(Error::TimedOut(_))));
    /// let client = Vchan::builder(0, "x").transport(machine.domain(1)).connect()?;
    /// let server = listener.accept_timeout(Duration::ZERO)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Vchan> {
        self.accept_until(Some(timeout))
    }

    /// Accepts one client after the other. The iterator ends once the listener was closed.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The configuration path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A handle that closes the listener from another thread: [`accept`](Self::accept) ends with [`Error::Closed`], and a client
    /// that has come and was not accepted sees the end. Channels that were accepted go on. The name is free once the listener is
    /// dropped.
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    fn accept_until(&self, timeout: Option<Duration>) -> Result<Vchan> {
        let deadline = Deadline::from(timeout).fixed();
        loop {
            let channel = self.published()?;
            let waited = channel.wait_for_peer_through_signals(deadline.left());
            if matches!(waited, Err(Error::TimedOut(_))) {
                return Err(Error::TimedOut(timeout.unwrap_or_default()));
            }
            let turn = self.turn();
            if !self.take(&channel)? {
                continue;
            }
            channel.withdraw();
            if !client_has_come(&channel) {
                waited?;
            }
            if self.publish(&turn).is_err() {
                // The next call tries again. On Xen a client that saw its server's nodes vanish waits for an event.
                let _ = channel.notify();
            }
            if !has_died_in_silence(&channel) {
                return Ok(Vchan::new(channel));
            }
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The published channel. Publishes one if there is none.
    fn published(&self) -> Result<Arc<Channel>> {
        let published = self.pending.lock().clone();
        if let Some(channel) = published {
            return Ok(channel);
        }
        let turn = self.turn();
        let published = self.pending.lock().clone();
        published.map_or_else(|| self.publish(&turn), Ok)
    }

    /// Publishes a channel. There is none now.
    fn publish(&self, _turn: &MutexGuard<'_, ()>) -> Result<Arc<Channel>> {
        self.closer.check()?;
        let channel = self.plan.publish(&Closer::new())?;
        let mut pending = self.pending.lock();
        // The closer sets its flag before it looks into `pending`.
        self.closer.check()?;
        self.set.add(channel.events_fd(), Readiness::READABLE, CLIENT).map_err(not_watched)?;
        self.watch_closing_for(Readiness::READABLE);
        if self.polled.load(Ordering::SeqCst) {
            channel.watch_name();
        }
        *pending = Some(Arc::clone(&channel));
        Ok(channel)
    }

    /// Takes the channel out of the listener. `false` if another thread has done so.
    fn take(&self, channel: &Arc<Channel>) -> Result<bool> {
        let mut pending = self.pending.lock();
        self.closer.check()?;
        if !pending.as_ref().is_some_and(|pending| Arc::ptr_eq(pending, channel)) {
            return Ok(false);
        }
        *pending = None;
        self.watch_closing_for(Readiness::WRITABLE);
        let _ = self.set.remove(channel.events_fd());
        Ok(true)
    }

    fn watch_closing_for(&self, readiness: Readiness) {
        // It is in the set.
        let _ = self.set.modify(&*self.closing, readiness, CLOSING);
    }
}

fn not_watched(error: std::io::Error) -> Error {
    Error::os("add to an epoll set", error)
}

/// Whether there is or was a client, in whatever state.
fn client_has_come(channel: &Channel) -> bool {
    matches!(channel.ring.peer_live(), Ok(PeerLive::Connected | PeerLive::Exited))
}

/// Whether the client has died and left nothing to read.
fn has_died_in_silence(channel: &Channel) -> bool {
    // Over Unix sockets the end of a client is seen once the client's connection was taken. An error comes back with the
    // channel's next call.
    let _ = channel.waiter.drain(channel);
    matches!(channel.state_now(), Ok(State::PeerDied))
        && channel.ring.available(Interest::Readable).is_ok_and(|count| count == 0)
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("path", &self.path).finish_non_exhaustive()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if !self.polled.swap(true, Ordering::SeqCst) {
            // The name may be lost while no call waits.
            self.pending.lock().iter().for_each(|channel| channel.watch_name());
        }
        self.set.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// The clients of a [`Listener`], one after the other; see [`Listener::incoming`].
///
/// ```
/// use vchan::{transport::in_process::InProcess, Listener, Vchan};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
/// let client = Vchan::builder(0, "x").transport(machine.domain(1)).connect()?;
/// let mut incoming = listener.incoming();
/// let server = incoming.next().unwrap()?;
/// listener.closer().close();
/// assert!(incoming.next().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an iterator accepts no client before `next`"]
pub struct Incoming<'a> {
    listener: &'a Listener,
}

impl Iterator for Incoming<'_> {
    type Item = Result<Vchan>;

    fn next(&mut self) -> Option<Result<Vchan>> {
        match self.listener.accept() {
            Err(Error::Closed) => None,
            other => Some(other),
        }
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}
