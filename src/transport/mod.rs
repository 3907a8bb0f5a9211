//! The parts under a channel: shared memory, events, and a registry through which both ends meet.
//!
//! A [`Transport`] makes the three parts for one channel; a [`Vchan`](crate::Vchan) puts them together. A transport
//! never touches a ring index, and the ring never makes a system call. Everything here is on the slow path
//! (set-up, sleeping, closing), so it is `dyn` and can take locks.

mod event_set;
pub mod in_process;
mod select;
pub mod unix;
pub mod xen;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

pub use crate::ring::internals::Role;
#[cfg(doc)]
use crate::Error;
use crate::{DomId, Result};
pub use event_set::{EventSet, Readiness};

pub use select::{by_name, from_env};

/// A way to carry channels.
///
/// ```
/// use std::sync::Arc;
/// use vchan::transport::{in_process::InProcess, Transport};
/// # fn main() -> vchan::Result<()> {
/// let shared: Arc<dyn Transport> = Arc::new(InProcess::new().domain(3));
/// assert_eq!((shared.name(), shared.own_domid()?), ("in-process", 3));
/// # Ok(())
/// # }
/// ```
pub trait Transport: Send + Sync {
    /// A short name for messages: `unix`, `xen`.
    fn name(&self) -> &'static str;

    /// The ID of the domain that this process runs in.
    ///
    /// # Errors
    ///
    /// Errors of the transport, if it looks up the ID.
    fn own_domid(&self) -> Result<DomId>;

    /// The three parts for one channel to `peer` at the configuration path `path`.
    ///
    /// A path that does not begin with `/` is relative to `/local/domain/<own domid>/`. This creates nothing
    /// except what all parts need (a root directory); the parts' own methods create the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a malformed path, and errors of the transport.
    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts>;

    /// Shell commands that lead a client started in that shell to the server which published `rendezvous`.
    /// Empty where the path is all that a client needs.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path that such a line cannot hold.
    fn export_lines(&self, _rendezvous: &Rendezvous) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A pointer to a transport is one.
macro_rules! forward {
    ($(#[$doc:meta])* $Pointer:ident) => {
        $(#[$doc])*
        impl<T: Transport + ?Sized> Transport for $Pointer<T> {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn own_domid(&self) -> Result<DomId> {
                (**self).own_domid()
            }

            fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts> {
                (**self).open(role, peer, path)
            }

            fn export_lines(&self, rendezvous: &Rendezvous) -> Result<Vec<String>> {
                (**self).export_lines(rendezvous)
            }
        }
    };
}
forward!(
    /// A shared transport.
    Arc
);
forward!(
    /// A boxed transport, as returned by [`from_env`].
    Box
);

/// The three parts of one channel's transport.
///
/// ```
/// use vchan::transport::{in_process::InProcess, Parts, Role, Transport};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let Parts { memory, events, registry } = machine.domain(0).open(Role::Server, 1, "data/x")?;
/// assert_eq!(memory.share(2, None)?.grants().len(), 2);
/// assert!(!events.listen()?.ended());
/// assert_eq!(registry.path(), "/local/domain/0/data/x");
/// # Ok(())
/// # }
/// ```
pub struct Parts {
    /// Shares and maps pages.
    pub memory: Box<dyn Memory>,
    /// Makes the event channel.
    pub events: Box<dyn Events>,
    /// Publishes or finds the other two.
    pub registry: Box<dyn Registry>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("path", &self.registry.path()).finish_non_exhaustive()
    }
}

/// Shares pages with the peer, or maps the pages that it shares.
pub trait Memory: Send + Sync {
    /// Shares `pages` fresh, zeroed pages (server).
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the system has not enough memory to share.
    fn share(&self, pages: usize, crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>>;

    /// Maps the pages that the peer shares as `grants`, for reading and writing (client).
    ///
    /// # Errors
    ///
    /// [`Error::NoServer`] or [`Error::Os`] if the peer shares no such pages (any more).
    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>>;
}

/// What the kernel does to a page if this process ends without closing the channel. For transports whose
/// kernel supports it (Xen); the others detect a dead peer by its event channel.
///
/// ```
/// use vchan::transport::{in_process::InProcess, CrashNotice, Role, Transport};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let parts = machine.domain(0).open(Role::Server, 1, "data/x")?;
/// let channel = parts.events.listen()?;
/// let page = parts.memory.share(1, Some(CrashNotice { offset: 21, port: channel.local_port() }))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CrashNotice {
    /// The byte in the first page that is set to zero: our own live byte.
    pub offset: usize,
    /// The local event port that is notified, see [`EventChannel::local_port`].
    pub port: u32,
}

/// Mapped pages, unmapped (and no longer shared) when dropped.
///
/// # Safety
///
/// `base` must point to `pages() * 4096` bytes, aligned to 4096, that stay readable and writable while the
/// value lives. The peer can change them at any time.
#[must_use = "dropping it unmaps the pages"]
pub unsafe trait Mapping: Send + Sync {
    /// The first byte.
    fn base(&self) -> NonNull<u8>;
    /// How many pages of 4096 bytes.
    fn pages(&self) -> usize;
    /// The grant reference of each page, in order.
    fn grants(&self) -> &[u32];

    /// Requests a crash notice for mapped pages. (A client has its event channel only after it has read the
    /// shared page.) Transports without such notices do nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    fn on_crash(&self, _notice: CrashNotice) -> Result<()> {
        Ok(())
    }
}

/// Makes event channels.
pub trait Events: Send + Sync {
    /// An event channel that waits for the peer to connect to it (server).
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if no event channel is free.
    fn listen(&self) -> Result<Box<dyn EventChannel>>;

    /// Connects to the event channel which the server published as `remote` (client).
    ///
    /// # Errors
    ///
    /// [`Error::NoServer`] if nothing listens there (any more), [`Error::InUse`] if another client is connected.
    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>>;
}

/// One end of an event channel. Closed when dropped.
///
/// Methods can be called from several threads at once.
pub trait EventChannel: Send + Sync {
    /// What the server publishes for the client to connect to.
    fn name(&self) -> String;

    /// The local port number, never 0; for crash notices and for `struct libxenvchan`.
    fn local_port(&self) -> u32;

    /// The descriptor of Xen's event channel device, on transports that use it.
    fn evtchn_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// A descriptor of this event channel, and events that it is always ready for. Registering it makes an
    /// epoll set readable without another descriptor. Neither changes while this lives.
    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness);

    /// Adds to `set` the descriptors that become ready when an event comes or the peer ends, and keeps the
    /// registration when a descriptor is replaced. Called once. An end that is not attached need not report
    /// events.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a second call, and [`Error::Os`].
    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()>;

    /// Sends one event. Does not block; does nothing if no peer is connected. Events can coalesce.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    fn notify(&self) -> Result<()>;

    /// Takes all pending events except those that are [`rung`](Tokens::rung), without blocking, and returns
    /// what came.
    ///
    /// # Errors
    ///
    /// [`Error::Os`]; its errno is `EIDRM` if the [watched](Self::watch_name) name is lost.
    fn receive(&self) -> Result<Received>;

    /// Whether the peer has ended, as far as is known without taking events.
    fn ended(&self) -> bool;

    /// Whether the peer's threads run under the same kernel, so that yielding the CPU can let the peer run.
    fn same_scheduler(&self) -> bool {
        true
    }

    /// Whether the peer is known to be this implementation.
    fn peer_has_extensions(&self) -> bool {
        false
    }

    /// Whether another client was connected before the current peer, without an [end](Received::ended) in
    /// between.
    fn has_had_another_peer(&self) -> bool {
        false
    }

    /// Whether the server takes one client after another: the next one can connect as soon as the previous
    /// one has ended, even before this side has noticed. Transports that always allow it do nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    fn serve_many(&self, _many: bool) -> Result<()> {
        Ok(())
    }

    /// The time after which a server that still waits for its client should [watch its
    /// name](Self::watch_name); `None` if it is watched already, or need not be.
    fn name_watch_delay(&self) -> Option<Duration> {
        None
    }

    /// From now on [`receive`](Self::receive) fails with `EIDRM`, and the event channel counts as
    /// [ended](Self::ended), once no client can find this side any more because its published name was
    /// removed. Does not block.
    fn watch_name(&self) {}

    /// Makes a server's channel ready for the next client, after the previous one has ended. `false` if no
    /// other client is possible, because the whole domain is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Os`].
    fn rearm(&self) -> Result<bool>;
}

/// What the tokens of an [attached](EventChannel::attach) event channel mean.
///
/// ```
/// use std::sync::Arc;
/// use vchan::transport::{in_process::InProcess, EventSet, Role, Tokens, Transport};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = InProcess::new();
/// let channel = machine.domain(0).open(Role::Server, 1, "data/x")?.events.listen()?;
/// channel.attach(Arc::new(EventSet::new()?), Tokens { readable: 0, rung: 1 })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// There may be something to [receive](EventChannel::receive). Level-triggered: it stays ready until that
    /// call.
    pub readable: u64,
    /// The wait itself has taken an event, and nothing is left to do. Edge-triggered; the epoll instance
    /// itself stays readable until a wait on it.
    pub rung: u64,
}

/// What [`EventChannel::receive`] found.
///
/// ```
/// use vchan::transport::{in_process::InProcess, Received, Role, Transport};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let channel = machine.domain(0).open(Role::Server, 1, "data/x")?.events.listen()?;
/// assert_eq!(channel.receive()?, Received { event: false, ended: false });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// At least one event had come.
    pub event: bool,
    /// The peer's process or domain has ended, or has closed the event channel.
    pub ended: bool,
}

/// The two values by which a client finds its server.
///
/// ```
/// use vchan::transport::{in_process::InProcess, Rendezvous, Role, Transport};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let server = machine.domain(0).open(Role::Server, 1, "data/x")?;
/// let words = Rendezvous { ring_ref: 7, event_channel: "8".into() };
/// let publication = server.registry.publish(&words)?;
/// let client = machine.domain(1).open(Role::Client, 0, "/local/domain/0/data/x")?;
/// assert_eq!(client.registry.look_up()?, words);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// The grant reference of the shared page.
    pub ring_ref: u32,
    /// The name of the event channel: a port number on Xen, a socket's path on Unix.
    pub event_channel: String,
}

/// Publishes and finds [`Rendezvous`]s under one path.
pub trait Registry: Send + Sync {
    /// The whole path, for messages and for `xs_path`.
    fn path(&self) -> &str;

    /// Publishes `rendezvous`, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if another server waits for its client under that path, and errors of the transport.
    fn publish(&self, rendezvous: &Rendezvous) -> Result<Box<dyn Publication>>;

    /// The published rendezvous.
    ///
    /// # Errors
    ///
    /// [`Error::NoServer`] if nothing is published, and errors of the transport.
    fn look_up(&self) -> Result<Rendezvous>;

    /// Watches for changes under the path, for a client that waits.
    ///
    /// # Errors
    ///
    /// Errors of the transport.
    fn watch(&self) -> Result<Box<dyn Watch>>;
}

/// A publication; dropping it withdraws it.
#[must_use = "dropping it withdraws the publication"]
pub trait Publication: Send + Sync {}

/// Wakes a waiting client when it should look again.
pub trait Watch {
    /// Discards past changes and continues to watch. Call it before each look-up: a change after this call
    /// makes the descriptor readable.
    ///
    /// # Errors
    ///
    /// Errors of the transport.
    fn renew(&mut self) -> Result<()>;

    /// Readable when something may have changed.
    fn fd(&self) -> BorrowedFd<'_>;
}
