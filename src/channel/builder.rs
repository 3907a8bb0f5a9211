//! How a channel is asked for, and how it is put together from the parts of a transport.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::channel::{Channel, ChannelParts, Settings};
use super::closer::Closer;
use super::wait::deadline::Deadline;
use super::wait::signals::wait_for_any;
use super::Vchan;
use crate::ring::{Endpoint, OrderTable, Orders, Rings, Role, SharedPage};
use crate::transport::{self, CrashNotice, Mapping, Rendezvous, Transport, Watch};
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
struct Common<'a> {
    peer: DomId,
    name: Name,
    transport: Option<&'a dyn Transport>,
    closer: Option<&'a Closer>,
    spin: Option<Duration>,
    nudges: bool,
    half_closes: bool,
    looks: bool,
}

impl<'a> Common<'a> {
    fn new(peer: DomId, name: Name) -> Common<'a> {
        Common {
            peer,
            name,
            transport: None,
            closer: None,
            spin: None,
            nudges: true,
            half_closes: true,
            looks: false,
        }
    }

    fn with_transport<T>(&self, body: impl FnOnce(&dyn Transport) -> Result<T>) -> Result<T> {
        match self.transport {
            Some(transport) => body(transport),
            None => body(&*transport::from_env()?),
        }
    }

    fn closer(&self) -> Result<Closer> {
        self.closer.map_or_else(Closer::new, |closer| Ok(closer.clone()))
    }

    fn settings(&self) -> Settings {
        Settings { spin: self.spin, nudges: self.nudges, persistent: false, half_closes: self.half_closes }
    }
}

/// Asks for the server's end of a channel; see [`Vchan::server`].
#[derive(Clone)]
pub struct ServerBuilder<'a> {
    common: Common<'a>,
    read_size: usize,
    write_size: usize,
    table: OrderTable,
    persistent: bool,
    first_index: u32,
}

/// Asks for the client's end of a channel; see [`Vchan::client`].
#[derive(Clone)]
pub struct ClientBuilder<'a> {
    common: Common<'a>,
    wait: Option<Option<Duration>>,
}

macro_rules! common_options {
    () => {
        /// The transport; without this, the one that `VCHAN_TRANSPORT` names, see
        /// [`transport::from_env`](crate::transport::from_env).
        pub fn transport(mut self, transport: &'a dyn Transport) -> Self {
            self.common.transport = Some(transport);
            self
        }

        /// A handle by which another thread can end the waiting, and the channel.
        pub fn closer(mut self, closer: &'a Closer) -> Self {
            self.common.closer = Some(closer);
            self
        }

        /// How long a blocking call (and [`Vchan::wait`](super::Vchan::wait)) looks for the peer's move before it goes to sleep, at
        /// most; zero never spins. Without this, `VCHAN_SPIN` (microseconds or `off`), else 50 microseconds; on Xen
        /// up to 500, where sleeping is seen to take a good deal longer than that. On one processor there is no spinning at all
        /// but for a peer in another domain, which may have another one. Calls that don't wait look again for less than a
        /// microsecond where that is seen to help; zero ends this, too.
        pub fn spin(mut self, longest: Duration) -> Self {
            self.common.spin = Some(longest);
            self
        }

        /// For programs that know one end of a channel only, the peer's leaving: to its peer, this end is one of another
        /// implementation, whose streams end together.
        #[doc(hidden)]
        pub fn without_half_close(mut self) -> Self {
            self.common.half_closes = false;
            self
        }

        /// Sends no events but those that the peer asked for, so that a test sees it if one is missing.
        #[doc(hidden)]
        pub fn without_nudges(mut self) -> Self {
            self.common.nudges = false;
            self
        }
    };
}

impl<'a> ServerBuilder<'a> {
    pub(super) fn new(peer: DomId, name: Name) -> ServerBuilder<'a> {
        let size = 65536;
        let common = Common::new(peer, name);
        let table = OrderTable::default();
        ServerBuilder { common, read_size: size, write_size: size, table, persistent: false, first_index: 0 }
    }

    common_options!();

    /// At least how many bytes the ring has which the client writes. 64 KiB without this, at most 1 MiB.
    pub fn read_size(mut self, bytes: usize) -> Self {
        self.read_size = bytes;
        self
    }

    /// At least how many bytes the ring has which the server writes. 64 KiB without this, at most 1 MiB.
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

    /// Whether clients may come one after the other on this same channel, as libxenvchan's `server_persist`: the
    /// server doesn't see them come and go, and what one left in the rings the next one finds. To serve one client
    /// after the other with a fresh channel each, call [`listen`](Self::listen) again instead.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Where the rings' indices begin, for tests of their wrap at 2^32.
    #[doc(hidden)]
    pub fn first_index(mut self, index: u32) -> Self {
        self.first_index = index;
        self
    }

    /// Makes the channel and publishes it. Does not wait for the client: the channel is
    /// [`State::Waiting`](super::State::Waiting), can be written to, and has [`Vchan::accept`].
    ///
    /// Fails with [`Error::InUse`] where another server has the name, with [`Error::Invalid`] for sizes over 1 MiB,
    /// and with whatever the transport meets; nothing is left behind then. Over Unix sockets a server has the name until it
    /// has its client (a [persistent](Self::persistent) one for as long as it lives) or until the process that made it has
    /// ended; the next client then gets the new server's channel, and the old channel goes on.
    pub fn listen(&self) -> Result<Vchan> {
        let orders = self.table.orders(self.read_size, self.write_size).ok_or_else(|| {
            Error::Invalid(format!(
                "rings of {} and {} bytes are too large: 1048576 is the most",
                self.read_size, self.write_size
            ))
        })?;
        let closer = self.common.closer()?;
        closer.check()?;
        let parts = self.common.with_transport(|transport| {
            let path = self.common.name.path(transport.own_domid()?, self.common.peer)?;
            serve(&transport.open(Role::Server, self.common.peer, &path)?, orders, self.first_index)
        })?;
        let settings = Settings { persistent: self.persistent, ..self.common.settings() };
        Ok(Vchan::new(Channel::new(parts, &closer, settings)?))
    }
}

impl<'a> ClientBuilder<'a> {
    pub(super) fn new(peer: DomId, name: Name) -> ClientBuilder<'a> {
        ClientBuilder { common: Common::new(peer, name), wait: None }
    }

    common_options!();

    /// Waits for the server, at most so long, instead of failing where there is none (yet).
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.wait = Some(Some(timeout));
        self
    }

    /// Waits for the server as long as it takes.
    pub fn wait_forever(mut self) -> Self {
        self.wait = Some(None);
        self
    }

    /// For the C interface: a wait may end as [interrupted](Error::Interrupted) only for its caller to look whether the thread
    /// was cancelled, see [`cancellation`](super::cancellation).
    #[doc(hidden)]
    pub fn looks_for_cancellation(mut self) -> Self {
        self.common.looks = true;
        self
    }

    /// Connects to the server.
    ///
    /// Fails with [`Error::NoServer`] where there is none, with [`Error::InUse`] where it has a client already, with
    /// [`Error::Corrupt`] where its shared page makes no sense, with [`Error::TimedOut`] after a wait in vain.
    pub fn connect(&self) -> Result<Vchan> {
        let closer = self.common.closer()?;
        let parts = self.common.with_transport(|transport| {
            let path = self.common.name.path(self.common.peer, transport.own_domid()?)?;
            let parts = transport.open(Role::Client, self.common.peer, &path)?;
            match self.wait {
                None => attach(&parts),
                Some(timeout) => wait_and_attach(&parts, timeout, &closer, self.common.looks),
            }
        })?;
        let channel = Channel::new(parts, &closer, self.common.settings())?;
        channel.ring.announce();
        channel.notify()?;
        Ok(Vchan::new(channel))
    }
}

/// Shares the memory, binds the event channel, publishes both.
fn serve(transport: &transport::Parts, orders: Orders, first_index: u32) -> Result<ChannelParts> {
    let events = transport.events.listen()?;
    let crash = CrashNotice { offset: SharedPage::SRV_LIVE_OFFSET, port: events.local_port() };
    let page = transport.memory.share(1, Some(crash))?;
    let share = |pages| (pages > 0).then(|| transport.memory.share(pages, None)).transpose();
    let left = share(orders.left().pages())?;
    let right = share(orders.right().pages())?;
    let rings =
        Rings { left: left.as_deref().map(Mapping::base), right: right.as_deref().map(Mapping::base) };
    fn grants(ring: &Option<Box<dyn Mapping>>) -> &[u32] {
        ring.as_deref().map_or(&[], Mapping::grants)
    }
    // SAFETY: `page` is a fresh page.
    unsafe { Endpoint::publish_grants(page.base(), grants(&left), grants(&right)) };
    // SAFETY: the page is fresh, the rings have as many pages as the orders say, and the mappings go along with the
    // endpoint into the channel, which drops them after it.
    let ring = unsafe { Endpoint::server(page.base(), rings, orders, first_index) };
    let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
    let publication = Some(transport.registry.publish(&rendezvous)?);
    let mappings = [Some(page), left, right].into_iter().flatten().collect();
    Ok(ChannelParts {
        ring,
        events,
        mappings,
        publication,
        rendezvous,
        path: transport.registry.path().into(),
    })
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
    // Without a watch at first: where the server is there, that would cost more than all the rest.
    if let Some(attached) = try_to_attach() {
        return attached;
    }
    let mut watch = transport.registry.watch()?;
    let closing = closer.waiter()?;
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

/// Waits for a change; says whether there was one, or perhaps one, before the limit.
fn changed(watch: &dyn Watch, closing: BorrowedFd<'_>, deadline: Deadline, looks: bool) -> Result<bool> {
    wait_for_any(&[watch.fd(), closing], deadline, looks).map_err(|errno| match errno {
        Errno::EINTR => Error::Interrupted,
        errno => Error::os("wait for the server", errno),
    })
}
