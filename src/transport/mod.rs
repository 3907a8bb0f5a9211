//! What carries a channel: memory to share, events to wake by, configuration to meet through.
//!
//! A [`Transport`] makes the three parts for one channel; [`crate::channel`] puts them together. The parts know
//! nothing of each other's protocol fields: a transport never touches a ring index, and the ring never makes a
//! system call. Everything here is on the slow path (set-up, sleeping, leaving), so it is `dyn` and may take locks.

mod event_set;
pub mod in_process;
mod select;
pub mod unix;
pub mod xen;

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

pub use crate::ring::Role;
use crate::{DomId, Result};
pub use event_set::{EventSet, Readiness};

pub use select::{by_name, from_env};

/// A way to carry channels.
pub trait Transport: Send + Sync {
    /// A short name for messages: `unix`, `xen`.
    fn name(&self) -> &'static str;

    /// The number of the domain that this process runs in.
    fn own_domid(&self) -> Result<DomId>;

    /// The three parts for one channel to `peer` at the configuration path `path`.
    ///
    /// A path that does not begin with `/` is relative to `/local/domain/<own domid>/`. Nothing is created before
    /// the parts' own methods are called, except what they all need (a root directory).
    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts>;

    /// Lines for a shell: a client that is started in it finds the server which published `rendezvous`. None where a
    /// client needs no more than the path.
    fn export_lines(&self, _rendezvous: &Rendezvous) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A transport that is shared.
impl<T: Transport + ?Sized> Transport for Arc<T> {
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

/// As [`from_env`] gives it.
impl<T: Transport + ?Sized> Transport for Box<T> {
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

/// The three parts of one channel's transport.
pub struct Parts {
    /// Shares and maps pages.
    pub memory: Box<dyn Memory>,
    /// Makes the event channel.
    pub events: Box<dyn Events>,
    /// Publishes or finds the other two.
    pub registry: Box<dyn Registry>,
}

/// Shares pages with the peer, or maps the pages that it shares.
pub trait Memory: Send + Sync {
    /// Shares `pages` fresh, zeroed pages (server).
    fn share(&self, pages: usize, crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>>;

    /// Maps the pages that the peer shares as `grants`, for reading and writing (client).
    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>>;
}

/// What is to happen to a page when this process ends without leaving in order. For transports whose kernel can do
/// that (Xen); the others notice a dead peer by its event channel.
#[derive(Clone, Copy, Debug)]
pub struct CrashNotice {
    /// The byte in the first page to be set to zero: our own live byte.
    pub offset: usize,
    /// The local event port to be notified, see [`EventChannel::local_port`].
    pub port: u32,
}

/// Mapped pages, unmapped (and no longer shared) when dropped.
///
/// # Safety
///
/// `base` must point at `pages() * 4096` bytes that stay readable and writable for as long as the value lives,
/// aligned to 4096. The peer may change them at any time.
pub unsafe trait Mapping: Send + Sync {
    /// The first byte.
    fn base(&self) -> NonNull<u8>;
    /// How many pages of 4096 bytes.
    fn pages(&self) -> usize;
    /// The grant reference of each page, in order.
    fn grants(&self) -> &[u32];

    /// Arranges a crash notice for pages that were mapped (a client has its event channel only after it has looked
    /// at the shared page). Transports without such notices do nothing.
    fn on_crash(&self, _notice: CrashNotice) -> Result<()> {
        Ok(())
    }
}

/// Makes event channels.
pub trait Events: Send + Sync {
    /// An event channel that waits for the peer to connect to it (server).
    fn listen(&self) -> Result<Box<dyn EventChannel>>;

    /// Connects to the event channel which the server published as `remote` (client).
    ///
    /// Fails with [`Error::NoServer`](crate::Error::NoServer) where nobody listens (any more), and with
    /// [`Error::InUse`](crate::Error::InUse) where another client was first.
    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>>;
}

/// One end of an event channel. Closed and undone when dropped.
///
/// Several threads may call it at once.
pub trait EventChannel: Send + Sync {
    /// What the server publishes for the client to connect to.
    fn name(&self) -> String;

    /// The local port number, never 0; for crash notices and for `struct libxenvchan`.
    fn local_port(&self) -> u32;

    /// The descriptor of Xen's event channel device, where events come by that.
    fn evtchn_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// A descriptor of this event channel, and what it is ready for, always: with it an epoll set is made readable for as
    /// long as that is needed, at no price in descriptors. Neither changes while this lives.
    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness);

    /// Adds to `set` whatever tells that an event comes or the peer ends, and keeps it registered when the
    /// descriptor behind it changes. Called once. An end that isn't attached need not be told of events.
    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()>;

    /// Sends one event. Does not block; does nothing where nobody is connected. Events may coalesce.
    fn notify(&self) -> Result<()>;

    /// Takes all pending events but those that are [`rung`](Tokens::rung), without blocking, and says what came.
    fn receive(&self) -> Result<Received>;

    /// Whether the peer has ended, as far as that can be told without taking events.
    fn ended(&self) -> bool;

    /// Whether the peer's threads run under the same kernel, so that giving the processor away may let the peer run.
    fn same_scheduler(&self) -> bool {
        true
    }

    /// Whether the peer is known to be of this implementation.
    fn peer_has_extensions(&self) -> bool {
        false
    }

    /// Whether somebody else was connected before the peer that is there, without an [end](Received::ended) in between.
    fn has_had_another_peer(&self) -> bool {
        false
    }

    /// Whether clients may come one after the other (server): the next one may connect as soon as the one before has
    /// ended, whether or not this side has noticed. Transports where that is always so do nothing.
    fn serve_many(&self, _many: bool) -> Result<()> {
        Ok(())
    }

    /// In how long this side wants its name [watched](Self::watch_name), if it goes on waiting for its client; `None` where it has been
    /// done, or need not be.
    fn name_is_due(&self) -> Option<Duration> {
        None
    }

    /// From now on [`receive`](Self::receive) fails with `EIDRM`, and the event channel counts as [ended](Self::ended), once no client
    /// can find this side any more: somebody has removed what it was published by. Waits for nobody.
    fn watch_name(&self) {}

    /// Makes a server's channel ready for the next client, after the one before has ended. `false` where none can
    /// come any more, because the whole domain has gone.
    fn rearm(&self) -> Result<bool>;
}

/// What the tokens of an [attached](EventChannel::attach) event channel mean.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// There may be something to [receive](EventChannel::receive). Level-triggered: it comes again until that is done.
    pub readable: u64,
    /// An event was taken, by this very wait, and nothing needs to be done. Edge-triggered; the epoll instance itself
    /// is readable as long as nobody has waited for it.
    pub rung: u64,
}

/// What [`EventChannel::receive`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// At least one event had come.
    pub event: bool,
    /// The peer's process or domain has ended, or has let go of the event channel.
    pub ended: bool,
}

/// The two words by which a client finds its server.
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

    /// Publishes; what is returned withdraws the publication when dropped.
    fn publish(&self, rendezvous: &Rendezvous) -> Result<Box<dyn Publication>>;

    /// Finds what a server published, or fails with [`Error::NoServer`](crate::Error::NoServer).
    fn look_up(&self) -> Result<Rendezvous>;

    /// Watches for changes under the path, for a client that waits.
    fn watch(&self) -> Result<Box<dyn Watch>>;
}

/// A publication; dropping it withdraws it.
pub trait Publication: Send + Sync {}

/// Tells a waiting client when to look again.
pub trait Watch {
    /// Forgets past changes and watches on. To be called before each look-up: a change after this call makes the
    /// descriptor readable.
    fn renew(&mut self) -> Result<()>;

    /// Readable when something may have changed.
    fn fd(&self) -> BorrowedFd<'_>;
}
