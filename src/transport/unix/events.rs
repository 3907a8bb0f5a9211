//! Event channels over Unix stream sockets: one byte is one event, until both ends know each other's [doorbells](doorbell).
//!
//! A channel keeps one descriptor *number* for its whole life. What stands behind it changes: the server's listener
//! is replaced by the connection of the client that it accepted, and (for a server of many clients, one after the
//! other) by a listener again. So sending an event is one system call, without a lock and without a look at what
//! state the channel is in.

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
use super::name::NameWatch;
use super::side::{ClientSide, ServerSide};
use super::slot::Slot;
use super::socket;
use crate::transport::{EventChannel, EventSet, Events, Readiness, Received, Tokens};
use crate::{Error, Result};

/// For how long a server waits before its name is watched. Most clients come sooner, and the end of a watch takes longer than
/// all else that there is to do for them.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);

/// The server's events.
pub(super) struct ServerEvents(pub(super) Arc<ServerSide>);

impl Events for ServerEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        let slot = Arc::clone(self.0.slot()?);
        let fd = socket::listen_in(&slot)?;
        Ok(Box::new(Channel {
            fd,
            doorbells: Doorbells::new()?,
            name: slot.socket_path(),
            port: slot.number() + 1,
            many: AtomicBool::new(false),
            another: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            state: Mutex::new(ConnectionState {
                listening: true,
                since: Some(Instant::now()),
                ..ConnectionState::default()
            }),
            slot: Some(slot),
        }))
    }

    fn connect(&self, _remote: &str) -> Result<Box<dyn EventChannel>> {
        Err(Error::Invalid("a server listens for its client, it does not connect to it".into()))
    }
}

/// The client's events.
pub(super) struct ClientEvents(pub(super) Arc<ClientSide>);

impl Events for ClientEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        Err(Error::Invalid("a client connects to its server, it does not listen for it".into()))
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        let side = &self.0;
        let fd = socket::connect_to(remote, side)?;
        // The name, the page and the socket were found one after the other. If the server went away in between and
        // another one took its slot, they don't belong together; then one of them has changed by now.
        let page = side.page();
        let replaced = page.as_ref().map_or(Ok(false), |page| page.is_current().map(|current| !current))?;
        if replaced || side.look_up()?.event_channel != remote {
            return Err(side.no_server("the server went away"));
        }
        side.note_met()?;
        if let Some(page) = page {
            page.set_connected();
        }
        Ok(Box::new(Channel {
            fd,
            doorbells: Doorbells::new()?,
            name: remote.to_owned(),
            port: remote.rsplit('/').next().and_then(number).unwrap_or_default().saturating_add(1),
            many: AtomicBool::new(false),
            another: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            state: Mutex::new(ConnectionState::default()),
            slot: None,
        }))
    }
}

/// One end of an event channel.
struct Channel {
    fd: OwnedFd,
    doorbells: Doorbells,
    name: String,
    port: u32,
    /// Clients may come one after the other. Changed with the lock held.
    many: AtomicBool,
    /// A client connected and went before the one that was taken in.
    another: AtomicBool,
    /// An event could not be sent while somebody held the lock, who sends it then.
    owed: AtomicBool,
    state: Mutex<ConnectionState>,
    /// The server's slot.
    slot: Option<Arc<Slot>>,
}

/// What changes, and only with the lock held, together with what stands behind the descriptor.
#[derive(Default)]
struct ConnectionState {
    listening: bool,
    /// The client had come and could not be taken in: no other one comes, as the socket may be gone already.
    lost: bool,
    registered: Option<(Arc<EventSet>, Tokens)>,
    /// Since when a client may come.
    since: Option<Instant>,
    /// Watches the name under which it comes.
    name: Option<NameWatch>,
    /// An event may have gone to the doorbell of a client that had left: the next one is to be told.
    overdue: bool,
    /// Where clients may come one after the other: the listener, while a client's connection is behind the
    /// descriptor. The next client may connect to it, and go about its business, before this side has noticed that
    /// the one before has left.
    next: Option<OwnedFd>,
}

impl Channel {
    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn many(&self) -> bool {
        self.many.load(Ordering::SeqCst)
    }

    /// Accepts the client, if one waits. Whether the channel is connected then.
    fn try_accept(&self, state: &mut ConnectionState) -> Result<bool> {
        if !state.listening {
            return Ok(true);
        }
        if !is_ready(&self.fd, PollFlags::POLLIN) {
            return Ok(false);
        }
        // Opened before the client is accepted, which would be lost if that couldn't be done then.
        let dir = if self.many() { None } else { self.root()? };
        let Some(connection) = socket::accept_own(self.fd.as_fd())? else { return Ok(false) };
        state.name = None;
        let taken_in = self.take_in(state, connection, dir);
        state.lost = taken_in.is_err() && !self.many();
        taken_in.map(|()| true)
    }

    /// Takes in a client. `dir` is where the socket's name is, which goes.
    fn take_in(&self, state: &mut ConnectionState, mut connection: OwnedFd, dir: Option<Dir>) -> Result<()> {
        if self.many() {
            let listener =
                self.fd.try_clone().map_err(|error| Error::os("keep the listening socket", error))?;
            state.next = Some(listener);
        } else {
            // First the name, then (with the exchange) the listener: nobody can get into its queue any more who would
            // see a connection and never an answer.
            self.remove_socket(dir)?;
            // Who got in before that is taken where the first one has given up; perhaps it is the same client again.
            // Where that can't be found out, the first one counts.
            let second = socket::accept_own(self.fd.as_fd()).unwrap_or(None);
            if let Some(second) = second.filter(|_| hung_up(&connection)) {
                self.another.store(true, Ordering::Relaxed);
                connection = second;
            }
        }
        self.exchange(state, connection, false)?;
        if state.overdue {
            // One who has left at once leaves it to the next.
            state.overdue = self.doorbells.send_event(self.fd.as_fd()).is_err();
        }
        Ok(())
    }

    /// Puts the listener back in the place of a connection that has ended.
    fn listen_again(&self, state: &mut ConnectionState) -> Result<()> {
        let listener = match (&self.slot, state.next.take()) {
            (_, Some(listener)) => listener,
            (Some(slot), None) => {
                let listener = socket::listen_in(slot)?;
                socket::set_backlog(&listener, self.many())?;
                listener
            }
            (None, None) => {
                let what = "a client's event channel can't be made ready for another peer";
                return Err(Error::Invalid(what.into()));
            }
        };
        state.overdue |= self.doorbells.reset();
        state.since = Some(Instant::now());
        self.exchange(state, listener, true)
    }

    /// The state, unless somebody has it. That may be this thread itself, in the call that a signal handler has interrupted, or one
    /// that a fork has left behind: neither can be waited for.
    fn state_now(&self) -> Option<MutexGuard<'_, ConnectionState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Does something with the state that an event may have to wait for, which is sent after it.
    fn with_state<T>(&self, body: impl FnOnce(&mut ConnectionState) -> Result<T>) -> Result<T> {
        let result = body(&mut self.state());
        if self.owed.load(Ordering::SeqCst) && self.owed.swap(false, Ordering::SeqCst) {
            self.notify()?;
        }
        result
    }

    /// As `with_state`, for an event that could not be sent; says whether to send it again. Where somebody else has the state, they
    /// send it.
    fn before_an_event(&self, body: impl FnOnce(&mut ConnectionState) -> Result<bool>) -> Result<bool> {
        if let Some(mut state) = self.state_now() {
            return body(&mut state);
        }
        self.owed.store(true, Ordering::SeqCst);
        // They may have looked before that.
        match self.state_now() {
            Some(mut state) if self.owed.swap(false, Ordering::SeqCst) => body(&mut state),
            _ => Ok(false),
        }
    }

    /// Turns to the next client after an event could not be sent to the last one; says whether there is one. Perhaps
    /// another thread has done so already.
    fn turn_to_next(&self, state: &mut ConnectionState) -> Result<bool> {
        if !self.many() {
            return Ok(false);
        }
        if !state.listening && hung_up(&self.fd) {
            self.listen_again(state)?;
        }
        self.try_accept(state)
    }

    /// Takes the peer's doorbell, if that is what came, and answers with our own. Says whether it is.
    fn take_bell(&self, state: &ConnectionState, doorbell: OwnedFd) -> bool {
        let taken = self.doorbells.accept(doorbell);
        if taken && state.registered.is_some() {
            self.doorbells.answer(self.fd.as_fd());
        }
        taken
    }

    /// Where the socket's name is, if this side has one and it can be reached.
    fn root(&self) -> Result<Option<Dir>> {
        self.slot.as_ref().map_or(Ok(None), |slot| slot.dir())
    }

    fn remove_socket(&self, dir: Option<Dir>) -> Result<()> {
        match (&self.slot, dir) {
            (Some(slot), Some(dir)) => dir.remove(&slot.socket_name()).map(drop),
            _ => Ok(()),
        }
    }

    /// Puts `new`, which is a listener or is not, behind the channel's descriptor, in place of what was there.
    fn exchange(&self, state: &mut ConnectionState, new: OwnedFd, listening: bool) -> Result<()> {
        let failed = |error| Error::os("exchange the event channel's socket", error);
        // The set watches what stands behind the descriptor, not the number.
        if let Some((set, _)) = &state.registered {
            set.remove(&self.fd).map_err(failed)?;
        }
        // SAFETY: both descriptors are open and ours. The number of `self.fd` stays open and owned by it, whichever
        // call of another thread is under way on what it stood for before.
        let result = unsafe { libc::dup3(new.as_raw_fd(), self.fd.as_raw_fd(), libc::O_CLOEXEC) };
        let exchanged = Errno::result(result).map(|_| state.listening = listening).map_err(io::Error::from);
        // In any case, or a waiting thread would wait for ever.
        self.register(state).and(exchanged).map_err(failed)
    }

    fn register(&self, state: &ConnectionState) -> io::Result<()> {
        match &state.registered {
            Some((set, tokens)) => set.add(&self.fd, Readiness::READABLE, tokens.readable),
            None => Ok(()),
        }
    }

    /// Watches our own doorbell, which stays the same. Only then the peer may get it.
    fn watch_bell(&self, set: &EventSet, tokens: Tokens) -> io::Result<()> {
        let edges = Readiness::WRITABLE.on_edges();
        set.add(&**self.doorbells.own(), edges, tokens.rung)
    }

    fn receive_with(&self, state: &mut ConnectionState) -> Result<Received> {
        // A client that has come is no event: its first one follows, and by then it has said that it is there.
        let mut event = false;
        if !self.try_accept(state)? {
            return self.check_name(state).map(|()| Received::default());
        }
        // More than a socket's buffer holds of messages of one byte each.
        let mut bytes = [0; 4096];
        loop {
            let doorbell = match doorbell::receive(self.fd.as_fd(), &mut bytes) {
                // After an event, the end is told when it is asked for again.
                Ok((0, _)) | Err(Errno::ECONNRESET) => return Ok(Received { event, ended: !event }),
                Ok((_, doorbell)) => doorbell,
                Err(Errno::EAGAIN) => return Ok(Received { event, ended: false }),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::os("receive events", errno)),
            };
            let taken = doorbell.is_some_and(|doorbell| self.take_bell(state, doorbell));
            // Also an answer: who polled the descriptor for it may wait for an event now, and must not sleep.
            event = true;
            // The kernel stops at a descriptor: there may be more behind it. Only the first is worth another look.
            if !taken {
                return Ok(Received { event, ended: false });
            }
        }
    }

    /// Fails if no client can come any more because the name is lost.
    fn check_name(&self, state: &mut ConnectionState) -> Result<()> {
        if !state.name.as_ref().is_some_and(NameWatch::is_lost) {
            return Ok(());
        }
        state.lost = true;
        Err(Error::os(
            format!("wait for a client: somebody has removed the socket {}", self.name),
            Errno::EIDRM,
        ))
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

impl EventChannel for Channel {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn local_port(&self) -> u32 {
        self.port
    }

    /// A doorbell never counts down to nothing, and so can always be read.
    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        (self.doorbells.own().as_fd(), Readiness::READABLE)
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        let mut state = self.state();
        if state.registered.is_some() {
            return Err(Error::Invalid("the event channel is attached already".into()));
        }
        let failed = |error| Error::os("watch the event channel", error);
        self.watch_bell(&set, tokens).map_err(failed)?;
        state.registered = Some((set, tokens));
        self.register(&state).map_err(failed)?;
        if self.slot.is_none() {
            self.doorbells.offer();
        }
        Ok(())
    }

    fn notify(&self) -> Result<()> {
        // Clients may have come and gone before the one that is there now: each is accepted in its turn.
        for _ in 0..=socket::MANY_CLIENTS {
            let again = match self.doorbells.send_event(self.fd.as_fd()) {
                // A doorbell doesn't say that nobody hears it.
                Ok(true) if self.many() && hung_up(&self.fd) => {
                    self.before_an_event(|state| self.turn_to_next(state))?
                }
                // A full socket holds events enough.
                Ok(_) | Err(Errno::EAGAIN) => false,
                // A closed one has nobody to tell, unless the next client is there already.
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    self.before_an_event(|state| self.turn_to_next(state))?
                }
                Err(Errno::ENOTCONN) => self.before_an_event(|state| self.try_accept(state))?,
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
        // Whoever has the state is about to find out.
        self.state_now().is_some_and(|state| state.lost || !state.listening && hung_up(&self.fd))
    }

    fn peer_has_extensions(&self) -> bool {
        self.doorbells.is_known()
    }

    fn has_had_another_peer(&self) -> bool {
        self.another.load(Ordering::Relaxed)
    }

    fn serve_many(&self, many: bool) -> Result<()> {
        self.with_state(|state| self.serve_many_with(state, many))
    }

    fn name_is_due(&self) -> Option<Duration> {
        self.slot.as_ref()?;
        let state = self.state_now().filter(|state| state.listening && state.name.is_none())?;
        Some(WITHOUT_WATCH.saturating_sub(state.since?.elapsed()))
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
    // Without asking for anything else, only the hang-up of the peer is told.
    is_ready(fd, PollFlags::POLLHUP)
}

/// Whether there is something of this, or an error, to be told of the descriptor.
fn is_ready(fd: &OwnedFd, what: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), what)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

impl Drop for Channel {
    fn drop(&mut self) {
        // No other thread has it any more, whatever a fork has left of its lock.
        let state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        // Neither can fail in a way that could be mended here; the slot's own removal finds a socket, too.
        if let Some((set, _)) = &state.registered {
            let _ = set.remove(&self.fd);
            // The peer may still hold it, then it would stay.
            let _ = set.remove(&**self.doorbells.own());
        }
        if state.listening || state.next.is_some() {
            let _ = self.root().map(|dir| self.remove_socket(dir));
        }
    }
}
