//! Event channels over Unix stream sockets: one byte is one event, until both ends know each other's
//! [doorbells](doorbell).
//!
//! A channel keeps one descriptor *number* for its whole life. The socket behind it changes: the server's
//! listener is replaced by the connection of the client that it accepted, and (for a server that takes one
//! client after another) by a listener again. So sending an event is one system call, without a lock and
//! without checking the channel's state.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::dir::Dir;
use super::doorbell::{self, Doorbells};
use super::grants::number;
use super::inotify::Process;
use super::name_watch::NameWatch;
use super::side::{ClientSide, ServerSide};
use super::slot::Slot;
use super::socket;
use crate::transport::{EventChannel, EventSet, Events, Readiness, Received, Tokens};
use crate::{Error, Result};

/// How long a server waits before it watches its name. Most clients come sooner, and removing a watch takes
/// longer than all the other work for them.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);

/// The server's events.
pub(super) struct ServerEvents(pub(super) Arc<ServerSide>);

impl Events for ServerEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        let slot = Arc::clone(self.0.slot()?);
        let fd = socket::listen_in(&slot)?;
        Ok(Box::new(UnixChannel {
            fd,
            doorbells: Doorbells::new()?,
            name: slot.socket_path(),
            port: slot.number() + 1,
            many: AtomicBool::new(false),
            had_other_client: AtomicBool::new(false),
            deferred_event: AtomicBool::new(false),
            state: Mutex::new(ConnectionState {
                listening: true,
                waiting_since: Some(Instant::now()),
                ..ConnectionState::default()
            }),
            slot: Some(slot),
        }))
    }

    fn connect(&self, _remote: &str) -> Result<Box<dyn EventChannel>> {
        Err(Error::Invalid("a server listens for its client, it does not connect".into()))
    }
}

/// The client's events.
pub(super) struct ClientEvents(pub(super) Arc<ClientSide>);

impl Events for ClientEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        Err(Error::Invalid("a client connects to its server, it does not listen".into()))
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        let side = &self.0;
        let fd = socket::connect_to(remote, side)?;
        // The name, the page and the socket were looked up one after the other. If the server went away in
        // between and another one took its slot, they do not belong together; then one of them has changed by
        // now.
        let page = side.page();
        let replaced = page.as_ref().map_or(Ok(false), |page| page.is_current().map(|current| !current))?;
        if replaced || side.look_up()?.event_channel != remote {
            return Err(side.no_server("the server went away"));
        }
        side.note_connected()?;
        if let Some(page) = page {
            page.set_connected();
        }
        Ok(Box::new(UnixChannel {
            fd,
            doorbells: Doorbells::new()?,
            name: remote.to_owned(),
            port: remote.rsplit('/').next().and_then(number).unwrap_or_default().saturating_add(1),
            many: AtomicBool::new(false),
            had_other_client: AtomicBool::new(false),
            deferred_event: AtomicBool::new(false),
            state: Mutex::new(ConnectionState::default()),
            slot: None,
        }))
    }
}

/// One end of an event channel.
struct UnixChannel {
    fd: OwnedFd,
    doorbells: Doorbells,
    name: String,
    port: u32,
    /// One client after another can connect. Changed with the lock held.
    many: AtomicBool,
    /// A client connected and left before the one that was accepted.
    had_other_client: AtomicBool,
    /// An event could not be sent while another thread held the lock; that thread sends it.
    deferred_event: AtomicBool,
    state: Mutex<ConnectionState>,
    /// The server's slot.
    slot: Option<Arc<Slot>>,
}

/// The state that changes, only with the lock held, together with the socket behind the descriptor.
#[derive(Default)]
struct ConnectionState {
    listening: bool,
    /// A client connected but could not be set up: no other one can connect, as the socket's name may be gone
    /// already.
    lost: bool,
    registered: Option<(Arc<EventSet>, Tokens)>,
    /// When the server began to wait for a client.
    waiting_since: Option<Instant>,
    /// Watches the name that clients connect to.
    name: Option<NameWatch>,
    /// An event may have gone to the doorbell of a client that had left: the next client gets one.
    event_due: bool,
    /// If one client after another can connect: the listener, while a client's connection is behind the
    /// descriptor. The next client can connect to it and start to transfer before this side has noticed that
    /// the previous one has left.
    next: Option<OwnedFd>,
}

impl UnixChannel {
    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn many(&self) -> bool {
        self.many.load(Ordering::SeqCst)
    }

    /// Accepts a client, if one waits. Returns whether the channel is connected.
    fn try_accept(&self, state: &mut ConnectionState) -> Result<bool> {
        if !state.listening {
            return Ok(true);
        }
        if !is_ready(&self.fd, PollFlags::POLLIN) {
            return Ok(false);
        }
        // Opened before accepting: if that failed afterwards, the client would be lost.
        let dir = if self.many() { None } else { self.root()? };
        let Some(connection) = socket::accept_own(self.fd.as_fd())? else { return Ok(false) };
        state.name = None;
        let result = self.set_up(state, connection, dir);
        state.lost = result.is_err() && !self.many();
        result.map(|()| true)
    }

    /// Sets up the connection of a client. `dir` is the directory of the socket's name, which is removed.
    fn set_up(&self, state: &mut ConnectionState, mut connection: OwnedFd, dir: Option<Dir>) -> Result<()> {
        if self.many() {
            let listener =
                self.fd.try_clone().map_err(|error| Error::os("keep the listening socket", error))?;
            state.next = Some(listener);
        } else {
            // First remove the name, then (by the exchange) the listener: otherwise a client could enter the
            // queue, see a connection, and never get an answer.
            self.remove_socket(dir)?;
            // A client that entered the queue before that is accepted if the first one has given up; it can
            // be the same client again. If that cannot be determined, the first one counts.
            let second = socket::accept_own(self.fd.as_fd()).unwrap_or(None);
            if let Some(second) = second.filter(|_| hung_up(&connection)) {
                self.had_other_client.store(true, Ordering::Relaxed);
                connection = second;
            }
        }
        self.exchange(state, connection, false)?;
        if state.event_due {
            // If this client has already left, the event stays due for the next.
            state.event_due = self.doorbells.send_event(self.fd.as_fd()).is_err();
        }
        Ok(())
    }

    /// Puts the listener back in place of a connection that has ended.
    fn listen_again(&self, state: &mut ConnectionState) -> Result<()> {
        let listener = match (&self.slot, state.next.take()) {
            (_, Some(listener)) => listener,
            (Some(slot), None) => {
                let listener = socket::listen_in(slot)?;
                socket::set_backlog(&listener, self.many())?;
                listener
            }
            (None, None) => {
                let what = "a client's event channel cannot be made ready for another peer";
                return Err(Error::Invalid(what.into()));
            }
        };
        state.event_due |= self.doorbells.reset();
        state.waiting_since = Some(Instant::now());
        self.exchange(state, listener, true)
    }

    /// The state, unless it is locked. The lock can be held by this thread itself, in a call that a signal
    /// handler has interrupted, or be left over from a fork: neither can be waited for.
    fn state_now(&self) -> Option<MutexGuard<'_, ConnectionState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Runs `body` with the state locked, and then sends an event that was held back meanwhile.
    fn with_state<T>(&self, body: impl FnOnce(&mut ConnectionState) -> Result<T>) -> Result<T> {
        let result = body(&mut self.state());
        if self.deferred_event.load(Ordering::SeqCst) && self.deferred_event.swap(false, Ordering::SeqCst) {
            self.notify()?;
        }
        result
    }

    /// As `with_state`, for an event that could not be sent; returns whether to send it again. If the lock is
    /// held elsewhere, its holder sends the event.
    fn with_state_for_event(&self, body: impl FnOnce(&mut ConnectionState) -> Result<bool>) -> Result<bool> {
        if let Some(mut state) = self.state_now() {
            return body(&mut state);
        }
        self.deferred_event.store(true, Ordering::SeqCst);
        // The holder may have checked before that.
        match self.state_now() {
            Some(mut state) if self.deferred_event.swap(false, Ordering::SeqCst) => body(&mut state),
            _ => Ok(false),
        }
    }

    /// Switches to the next client after an event could not be sent to the previous one; returns whether
    /// there is one. Another thread may have done so already.
    fn switch_to_next(&self, state: &mut ConnectionState) -> Result<bool> {
        if !self.many() {
            return Ok(false);
        }
        if !state.listening && hung_up(&self.fd) {
            self.listen_again(state)?;
        }
        self.try_accept(state)
    }

    /// Accepts the peer's doorbell, if the descriptor is one, and answers with our own. Returns whether it
    /// is.
    fn accept_doorbell(&self, state: &ConnectionState, doorbell: OwnedFd) -> bool {
        let taken = self.doorbells.accept(doorbell);
        if taken && state.registered.is_some() {
            self.doorbells.answer(self.fd.as_fd());
        }
        taken
    }

    /// The directory of the socket's name, if this side has one and it can be reached.
    fn root(&self) -> Result<Option<Dir>> {
        self.slot.as_ref().map_or(Ok(None), |slot| slot.dir())
    }

    fn remove_socket(&self, dir: Option<Dir>) -> Result<()> {
        match (&self.slot, dir) {
            (Some(slot), Some(dir)) => dir.remove(&slot.socket_name()).map(drop),
            _ => Ok(()),
        }
    }

    /// Replaces the socket behind the channel's descriptor by `new`, a listener or a connection.
    fn exchange(&self, state: &mut ConnectionState, new: OwnedFd, listening: bool) -> Result<()> {
        let failed = |error| Error::os("exchange the event channel's socket", error);
        // The set watches the open file, not the descriptor number.
        if let Some((set, _)) = &state.registered {
            set.remove(&self.fd).map_err(failed)?;
        }
        // SAFETY: both descriptors are open and ours. The number of `self.fd` stays open and owned by it, also for
        // calls of other threads that are under way on the previous socket.
        let result = unsafe { libc::dup3(new.as_raw_fd(), self.fd.as_raw_fd(), libc::O_CLOEXEC) };
        let exchanged = Errno::result(result).map(|_| state.listening = listening).map_err(io::Error::from);
        // Even after a failure: otherwise a waiting thread would never wake up.
        self.register(state).and(exchanged).map_err(failed)
    }

    fn register(&self, state: &ConnectionState) -> io::Result<()> {
        match &state.registered {
            Some((set, tokens)) => set.add(&self.fd, Readiness::READABLE, tokens.readable),
            None => Ok(()),
        }
    }

    /// Registers our own doorbell, which stays the same. Only after that the peer can get it.
    fn watch_doorbell(&self, set: &EventSet, tokens: Tokens) -> io::Result<()> {
        let edges = Readiness::WRITABLE.on_edges();
        set.add(&**self.doorbells.own(), edges, tokens.rung)
    }

    fn receive_with(&self, state: &mut ConnectionState) -> Result<Received> {
        // A new client is not an event: its first event follows, and by then it has set its live byte.
        let mut event = false;
        if !self.try_accept(state)? {
            return self.check_name(state).map(|()| Received::default());
        }
        // More than a socket's buffer holds in messages of one byte each.
        let mut bytes = [0; 4096];
        loop {
            let doorbell = match doorbell::receive(self.fd.as_fd(), &mut bytes) {
                // After an event, the end is reported by the next call.
                Ok((0, _)) | Err(Errno::ECONNRESET) => return Ok(Received { event, ended: !event }),
                Ok((_, doorbell)) => doorbell,
                Err(Errno::EAGAIN) => return Ok(Received { event, ended: false }),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::os("receive events", errno)),
            };
            let taken = doorbell.is_some_and(|doorbell| self.accept_doorbell(state, doorbell));
            // Also for an answer: a thread that polled the descriptor for it may wait for an event now, and
            // must not sleep.
            event = true;
            // The kernel stops at a descriptor: more bytes can follow. Only the first descriptor is worth
            // another read.
            if !taken {
                return Ok(Received { event, ended: false });
            }
        }
    }

    /// Fails if no client can connect any more because the name was removed.
    fn check_name(&self, state: &mut ConnectionState) -> Result<()> {
        if !state.name.as_ref().is_some_and(NameWatch::is_lost) {
            return Ok(());
        }
        state.lost = true;
        Err(Error::os(format!("wait for a client: the socket {} was removed", self.name), Errno::EIDRM))
    }

    fn serve_many_with(&self, state: &mut ConnectionState, many: bool) -> Result<()> {
        if let Some(slot) = &self.slot {
            slot.note_many(many)?;
        }
        self.many.store(many, Ordering::SeqCst);
        let Some(slot) = &self.slot else { return Ok(()) };
        if state.listening {
            return socket::set_backlog(&self.fd, many);
        }
        match (many, state.next.take()) {
            (true, next) => {
                let listener = next.map_or_else(|| socket::listen_in(slot), Ok)?;
                socket::set_backlog(&listener, true)?;
                state.next = Some(listener);
                Ok(())
            }
            (false, Some(_)) => self.remove_socket(self.root()?),
            (false, None) => Ok(()),
        }
    }
}

impl EventChannel for UnixChannel {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn local_port(&self) -> u32 {
        self.port
    }

    /// A doorbell practically never reaches zero, and so is always readable.
    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        (self.doorbells.own().as_fd(), Readiness::READABLE)
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        let mut state = self.state();
        if state.registered.is_some() {
            return Err(Error::Invalid("the event channel is attached already".into()));
        }
        let failed = |error| Error::os("watch the event channel", error);
        self.watch_doorbell(&set, tokens).map_err(failed)?;
        state.registered = Some((set, tokens));
        self.register(&state).map_err(failed)?;
        if self.slot.is_none() {
            self.doorbells.offer();
        }
        Ok(())
    }

    fn notify(&self) -> Result<()> {
        // Several clients may have come and gone before the current one: each is accepted in turn.
        for _ in 0..=socket::MANY_CLIENTS {
            let again = match self.doorbells.send_event(self.fd.as_fd()) {
                // A doorbell does not report that its owner is gone.
                Ok(true) if self.many() && hung_up(&self.fd) => {
                    self.with_state_for_event(|state| self.switch_to_next(state))?
                }
                // A full socket already holds an event.
                Ok(_) | Err(Errno::EAGAIN) => false,
                // A closed one has no receiver, unless the next client is there already.
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    self.with_state_for_event(|state| self.switch_to_next(state))?
                }
                Err(Errno::ENOTCONN) => self.with_state_for_event(|state| self.try_accept(state))?,
                Err(Errno::EINTR) => true,
                Err(errno) => return Err(Error::os("send an event", errno)),
            };
            if !again {
                break;
            }
        }
        Ok(())
    }

    fn receive(&self) -> Result<Received> {
        self.with_state(|state| self.receive_with(state))
    }

    fn ended(&self) -> bool {
        // If the state is locked, the holder is about to find out.
        self.state_now().is_some_and(|state| state.lost || !state.listening && hung_up(&self.fd))
    }

    fn peer_has_extensions(&self) -> bool {
        self.doorbells.is_known()
    }

    fn has_had_another_peer(&self) -> bool {
        self.had_other_client.load(Ordering::Relaxed)
    }

    fn serve_many(&self, many: bool) -> Result<()> {
        self.with_state(|state| self.serve_many_with(state, many))
    }

    fn name_watch_delay(&self) -> Option<Duration> {
        self.slot.as_ref()?;
        let state = self.state_now().filter(|state| state.listening && state.name.is_none())?;
        Some(WITHOUT_WATCH.saturating_sub(state.waiting_since?.elapsed()))
    }

    fn watch_name(&self) {
        let Some(slot) = &self.slot else { return };
        let Some(mut state) = self.state_now().filter(|state| state.listening && state.name.is_none()) else {
            return;
        };
        if let Some((set, tokens)) = &state.registered {
            let servers = Process::own().servers();
            state.name = Some(NameWatch::new(servers, slot, set, self.doorbells.own(), tokens.readable));
        }
    }

    fn rearm(&self) -> Result<bool> {
        self.with_state(|state| {
            if !state.listening {
                self.listen_again(state)?;
            }
            Ok(true)
        })
    }
}

/// Whether the peer has closed its end.
fn hung_up(fd: &OwnedFd) -> bool {
    // POLLHUP is always reported; no other event is requested.
    is_ready(fd, PollFlags::POLLHUP)
}

/// Whether one of the events, or an error, is pending on the descriptor.
fn is_ready(fd: &OwnedFd, what: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), what)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

impl Drop for UnixChannel {
    fn drop(&mut self) {
        // No other thread uses it any more, whatever state a fork has left the lock in.
        let state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        // Failures cannot be handled here; the slot's own removal finds a remaining socket, too.
        if let Some((set, _)) = &state.registered {
            let _ = set.remove(&self.fd);
            // If the peer still holds it, closing would not remove it.
            let _ = set.remove(&**self.doorbells.own());
        }
        if state.listening || state.next.is_some() {
            let _ = self.root().map(|dir| self.remove_socket(dir));
        }
    }
}
