//! The options of listeners and clients, and how a client puts a channel together.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::channel::{Channel, ChannelParts, Settings};
use super::closer::Closer;
use super::listener::Listener;
use super::serve::Plan;
use super::vchan::Vchan;
use super::wait::deadline::Deadline;
use super::wait::signals::wait_for_any;
use crate::ring::{Endpoint, OrderTable, Rings, Role, SharedPage};
use crate::transport::{self, CrashNotice, Mapping, Transport, Watch};
use crate::{DomId, Error, Result};

/// Under which name the sides meet.
#[derive(Clone, Debug)]
pub(super) enum Name {
    /// A port's name, to be put into the conventional path.
    Port(String),
    /// A configuration path.
    Path(String),
}

impl Name {
    fn path(&self, server: DomId, client: DomId) -> Result<String> {
        match self {
            Name::Path(path) => Ok(path.clone()),
            Name::Port(port) => {
                let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if port.is_empty() || !port.chars().all(good) {
                    return Err(Error::Invalid(format!(
                        "{port:?} can't be a port: letters, digits, `_` and `-` can"
                    )));
                }
                Ok(format!("/local/domain/{server}/data/vchan/{client}/{port}"))
            }
        }
    }
}

/// What both builders have.
#[derive(Clone)]
struct Common {
    peer: DomId,
    name: Name,
    transport: Option<Arc<dyn Transport>>,
    closer: Option<Closer>,
    spin: Option<Duration>,
    extra_events: bool,
    half_closes: bool,
    looks: bool,
}

impl Common {
    fn new(peer: DomId, name: Name) -> Common {
        Common {
            peer,
            name,
            transport: None,
            closer: None,
            spin: None,
            extra_events: true,
            half_closes: true,
            looks: false,
        }
    }

    fn transport(&self) -> Result<Arc<dyn Transport>> {
        match &self.transport {
            Some(transport) => Ok(Arc::clone(transport)),
            None => Ok(Arc::from(transport::from_env()?)),
        }
    }

    fn closer(&self) -> Closer {
        self.closer.clone().unwrap_or_default()
    }

    fn settings(&self) -> Settings {
        Settings {
            spin: self.spin,
            extra_events: self.extra_events,
            persistent: false,
            half_closes: self.half_closes,
        }
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = self.transport.as_ref().map(|transport| transport.name());
        f.debug_struct("Common")
            .field("peer", &self.peer)
            .field("name", &self.name)
            .field("transport", &transport)
            .field("closer", &self.closer)
            .field("spin", &self.spin)
            .finish_non_exhaustive()
    }
}

/// The options of a [`Listener`]; see [`Listener::builder`].
///
/// ```
/// use std::time::Duration;
/// use vchan::{transport::in_process::InProcess, Listener};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "files")
///     .transport(machine.domain(0))
///     .buffer_size(1 << 20)
///     .spin(Duration::ZERO)
///     .bind()?;
/// assert_eq!(listener.path(), "/local/domain/0/data/vchan/1/files");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `bind`"]
pub struct ListenerBuilder {
    common: Common,
    read_size: usize,
    write_size: usize,
    table: OrderTable,
    persistent: bool,
    first_index: u32,
}

/// The options of a client; see [`Vchan::builder`].
///
/// ```
/// use std::time::Duration;
/// use vchan::{transport::in_process::InProcess, Error, Vchan};
/// let machine = InProcess::new();
/// let builder = Vchan::builder(0, "files").transport(machine.domain(1));
/// assert!(matches!(builder.connect(), Err(Error::NoServer { .. })));
/// let error = builder.wait(Duration::from_millis(10)).connect().unwrap_err();
/// assert!(matches!(error, Error::TimedOut(_)));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `connect`"]
pub struct ClientBuilder {
    common: Common,
    wait: Option<Option<Duration>>,
}

macro_rules! common_options {
    () => {
        /// The transport; without this, the one that `VCHAN_TRANSPORT` names, see
        /// [`transport::from_env`](crate::transport::from_env). A transport that is shared goes in an [`Arc`].
        pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
            self.common.transport = Some(Arc::new(transport));
            self
        }

        /// Maximum time for which a blocking call, or [`Vchan::wait`](super::Vchan::wait), spins before it sleeps.
        /// Zero disables spinning. Default: `VCHAN_SPIN` (microseconds or `off`), else 50 µs; on Xen up to 500 µs if
        /// sleeping proves much slower. A machine with one processor spins only for peers in other domains.
        /// Non-blocking calls spin for less than a microsecond while that helps, unless spinning is disabled.
        pub fn spin(mut self, longest: Duration) -> Self {
            self.common.spin = Some(longest);
            self
        }

        /// For programs without half-close: both streams end when the peer leaves. The peer sees this end as one of
        /// another implementation.
        #[doc(hidden)]
        pub fn without_half_close(mut self) -> Self {
            self.common.half_closes = false;
            self
        }

        /// Sends only the events that the peer asked for, so that a test detects a missing one.
        #[doc(hidden)]
        pub fn without_extra_events(mut self) -> Self {
            self.common.extra_events = false;
            self
        }
    };
}

impl Listener {
    /// Listens for clients in the domain `peer` under the port name `port`: letters, digits, `_` and `-`. The configuration
    /// path is `/local/domain/<own id>/data/vchan/<peer>/<port>`. The transport is that of
    /// [`transport::from_env`](crate::transport::from_env).
    ///
    /// ```no_run
    /// # fn main() -> vchan::Result<()> {
    /// let listener = vchan::Listener::bind(3, "files")?;
    /// let client = listener.accept()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ListenerBuilder::bind`].
    pub fn bind(peer: DomId, port: &str) -> Result<Listener> {
        Listener::builder(peer, port).bind()
    }

    /// As [`bind`](Self::bind), with options.
    pub fn builder(peer: DomId, port: &str) -> ListenerBuilder {
        ListenerBuilder::new(peer, Name::Port(port.into()))
    }

    /// A listener at a configuration path of one's own choice, as with libxenvchan; relative paths begin at
    /// `/local/domain/<own id>/`.
    pub fn builder_at(peer: DomId, path: &str) -> ListenerBuilder {
        ListenerBuilder::new(peer, Name::Path(path.into()))
    }
}

impl ListenerBuilder {
    pub(super) fn new(peer: DomId, name: Name) -> ListenerBuilder {
        let size = 65536;
        let common = Common::new(peer, name);
        let table = OrderTable::default();
        ListenerBuilder {
            common,
            read_size: size,
            write_size: size,
            table,
            persistent: false,
            first_index: 0,
        }
    }

    common_options!();

    /// Minimum size in bytes of the ring from the client to the server. Default 64 KiB, at most 1 MiB.
    pub fn read_size(mut self, bytes: usize) -> Self {
        self.read_size = bytes;
        self
    }

    /// Minimum size in bytes of the ring from the server to the client. Default 64 KiB, at most 1 MiB.
    pub fn write_size(mut self, bytes: usize) -> Self {
        self.write_size = bytes;
        self
    }

    /// Both sizes.
    pub fn buffer_size(self, bytes: usize) -> Self {
        self.read_size(bytes).write_size(bytes)
    }

    /// How the sizes are rounded to orders; Xen's table without this.
    pub fn order_table(mut self, table: OrderTable) -> Self {
        self.table = table;
        self
    }

    /// A handle by which another thread ends the waiting, and the listener; as [`Listener::closer`]. The channels of
    /// accepted clients have closers of their own.
    pub fn closer(mut self, closer: &Closer) -> Self {
        self.common.closer = Some(closer.clone());
        self
    }

    /// Whether clients may come one after the other on the one channel that [`open`](Self::open) makes, as libxenvchan's
    /// `server_persist`: the server doesn't see them come and go, and what one left in the rings the next one finds.
    #[doc(hidden)]
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Initial value of the rings' indices, for tests of their wrap at 2^32.
    #[doc(hidden)]
    pub fn first_index(mut self, index: u32) -> Self {
        self.first_index = index;
        self
    }

    /// Publishes the first channel under the name. Does not wait for a client.
    ///
    /// The listener owns the name while it lives, except briefly between accepting a client and publishing the next
    /// channel. Over Unix sockets the name is also free once the process that made the listener has ended, even if a
    /// forked child lives on.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if another server has the name, [`Error::Invalid`] for sizes over 1 MiB and for a port with
    /// other characters than letters, digits, `_` and `-`, [`Error::Closed`] if the [closer](Self::closer) has been
    /// used, and errors of the transport. Nothing is left behind then.
    pub fn bind(&self) -> Result<Listener> {
        Listener::new(self.plan()?, self.common.closer())
    }

    /// One channel and no listener: it is [`State::Waiting`](super::State::Waiting) until its client comes, and can be
    /// written to before that.
    #[doc(hidden)]
    pub fn open(&self) -> Result<Vchan> {
        Ok(Vchan::new(self.plan()?.publish(&self.common.closer())?))
    }

    fn plan(&self) -> Result<Plan> {
        let orders = self.table.orders(self.read_size, self.write_size).ok_or_else(|| {
            Error::Invalid(format!(
                "rings of {} and {} bytes are too large: 1048576 is the most",
                self.read_size, self.write_size
            ))
        })?;
        if let Some(closer) = &self.common.closer {
            closer.check()?;
        }
        let transport = self.common.transport()?;
        let path = self.common.name.path(transport.own_domid()?, self.common.peer)?;
        let settings = Settings { persistent: self.persistent, ..self.common.settings() };
        Ok(Plan { transport, peer: self.common.peer, path, orders, first_index: self.first_index, settings })
    }
}

impl Vchan {
    /// Connects to the server in the domain `peer` under the port name `port`, at the path
    /// `/local/domain/<peer>/data/vchan/<own id>/<port>`. The transport is that of
    /// [`transport::from_env`](crate::transport::from_env). Does not wait for a server.
    ///
    /// ```no_run
    /// # fn main() -> vchan::Result<()> {
    /// let client = vchan::Vchan::connect(0, "files")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect`].
    pub fn connect(peer: DomId, port: &str) -> Result<Vchan> {
        Vchan::builder(peer, port).connect()
    }

    /// As [`connect`](Self::connect), with options.
    pub fn builder(peer: DomId, port: &str) -> ClientBuilder {
        ClientBuilder::new(peer, Name::Port(port.into()))
    }

    /// A client of the server at a configuration path.
    pub fn builder_at(peer: DomId, path: &str) -> ClientBuilder {
        ClientBuilder::new(peer, Name::Path(path.into()))
    }
}

impl ClientBuilder {
    pub(super) fn new(peer: DomId, name: Name) -> ClientBuilder {
        ClientBuilder { common: Common::new(peer, name), wait: None }
    }

    common_options!();

    /// A handle by which another thread ends the waiting, and the channel; as [`Vchan::closer`].
    pub fn closer(mut self, closer: &Closer) -> Self {
        self.common.closer = Some(closer.clone());
        self
    }

    /// Waits for the server for at most this time, instead of failing if there is none yet.
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.wait = Some(Some(timeout));
        self
    }

    /// Waits for the server without a time limit.
    pub fn wait_forever(mut self) -> Self {
        self.wait = Some(None);
        self
    }

    /// For the C interface: a wait may also end as [interrupted](Error::Interrupted) so that its caller can check for
    /// a cancellation of the thread, see [`cancellation`](super::cancellation).
    #[doc(hidden)]
    pub fn looks_for_cancellation(mut self) -> Self {
        self.common.looks = true;
        self
    }

    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// [`Error::NoServer`] if there is none, [`Error::InUse`] if it has a client already, [`Error::TimedOut`] if none
    /// came in time, [`Error::Interrupted`] after a signal during that wait, [`Error::Closed`] if the
    /// [closer](Self::closer) was used, [`Error::Corrupt`] if the server's shared page is invalid, [`Error::Invalid`]
    /// for a name that can't be one, and errors of the transport.
    pub fn connect(&self) -> Result<Vchan> {
        let closer = self.common.closer();
        let transport = self.common.transport()?;
        let path = self.common.name.path(self.common.peer, transport.own_domid()?)?;
        let parts = transport.open(Role::Client, self.common.peer, &path)?;
        let parts = match self.wait {
            None => attach(&parts),
            Some(timeout) => wait_and_attach(&parts, timeout, &closer, self.common.looks),
        }?;
        let channel = Channel::new(parts, &closer, self.common.settings())?;
        channel.ring.announce();
        channel.notify()?;
        Ok(Vchan::new(channel))
    }
}

/// Finds the server, maps its memory, connects to its event channel. Announces nothing yet.
fn attach(transport: &transport::Parts) -> Result<ChannelParts> {
    let rendezvous = transport.registry.look_up()?;
    let page = transport.memory.map(&[rendezvous.ring_ref])?;
    // SAFETY: a mapped page.
    let (orders, left, right) = unsafe { Endpoint::published(page.base()) }?;
    let events = transport.events.connect(&rendezvous.event_channel)?;
    page.on_crash(CrashNotice { offset: SharedPage::CLI_LIVE_OFFSET, port: events.local_port() })?;
    let map = |grants: Vec<u32>| (!grants.is_empty()).then(|| transport.memory.map(&grants)).transpose();
    let (left, right) = (map(left)?, map(right)?);
    let rings =
        Rings { left: left.as_deref().map(Mapping::base), right: right.as_deref().map(Mapping::base) };
    // SAFETY: the rings have as many pages as the orders say, since `published` gave as many grants; the mappings go
    // along with the endpoint into the channel, which drops them after it.
    let ring = unsafe { Endpoint::client(page.base(), rings, orders) }?;
    let mappings = [Some(page), left, right].into_iter().flatten().collect();
    Ok(ChannelParts {
        ring,
        events,
        mappings,
        publication: None,
        rendezvous,
        path: transport.registry.path().into(),
    })
}

/// Tries to attach, and again whenever something has changed.
fn wait_and_attach(
    transport: &transport::Parts,
    timeout: Option<Duration>,
    closer: &Closer,
    looks: bool,
) -> Result<ChannelParts> {
    let deadline = Deadline::from(timeout).fixed();
    let try_to_attach = || match attach(transport) {
        Err(error) if error.is_not_yet() => None,
        other => Some(other),
    };
    closer.check()?;
    // Without a watch at first: if the server is there, a watch costs more than all the rest.
    if let Some(attached) = try_to_attach() {
        return attached;
    }
    let mut watch = transport.registry.watch()?;
    let closing = closer.event()?;
    loop {
        closer.check()?;
        watch.renew()?;
        if let Some(attached) = try_to_attach() {
            return attached;
        }
        if !changed(&*watch, closing.as_fd(), deadline, looks)? {
            return Err(Error::TimedOut(timeout.unwrap_or_default()));
        }
    }
}

/// Waits for a change until the deadline. Returns whether there may have been one.
fn changed(watch: &dyn Watch, closing: BorrowedFd<'_>, deadline: Deadline, looks: bool) -> Result<bool> {
    wait_for_any(&[watch.fd(), closing], deadline, looks).map_err(|errno| match errno {
        Errno::EINTR => Error::Interrupted,
        errno => Error::os("wait for the server", errno),
    })
}
