//! Detects that the peer's whole domain is gone: its kernel cannot send events any more, so this side would
//! not be woken.
//!
//! Each end watches one xenstore node, its *liveness node*, which vanishes with the peer's domain and rarely
//! at any other time. `@releaseDomain`, which reports the end of every domain, would wake callers that poll
//! the channel each time.
//!
//! In dom0 this is the `domid` of the peer's domain, which vanishes only with the domain. A guest can read
//! only nodes that the peer has opened to it. So each end of a channel between two guests creates a *mark* in
//! its own domain's tree, `/local/domain/<own>/data/vchan-alive/<peer>/<role>-<port>` with the server's port, readable
//! for the peer. The toolstack removes that tree with the domain, whichever xenstored runs. The mark's value is the
//! local port of its end, so that an end that closes late removes no other's.
//! An end that is killed leaves its mark, as a killed server leaves its publication; the next end for the same port
//! replaces it.
//!
//! Ends of other implementations create no mark. Then a guest's server does not detect the end of the client's
//! domain, and a guest's client watches the server's `ring-ref`.
//!
//! While a server waits for its client, only the client may wake it. So a server watches the mark from the client's
//! first event on.
//!
//! The program of a server without a mark can remove its publication when its client has come. The client checks
//! whether `ring-ref` exists at the server's first event, since such programs remove it before anything else. If it
//! vanishes before that event, either the domain is gone, or an event will still come: [`ANSWER_TIMEOUT`]. If its value
//! changes, it belongs to another channel.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use vchan_xenstore::{Access, Nodes, Perm, XsClient, XsError, DEFAULT_TIMEOUT};

use super::uncertain::Doubt;
use super::xenstore_error;
use crate::transport::{EventSet, Readiness, Role, Tokens};
use crate::{DomId, Result};

const TOKEN: &str = "domain";

/// How long a server that has sent no event yet can stay silent after its `ring-ref` has vanished.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the end of one domain can be detected in the other only by a mark.
fn marks_are_needed(own: DomId, peer: DomId) -> bool {
    own != 0 && peer != 0 && own != peer
}

/// The mark of an end in the domain `owner`, with this role, on a channel with the domain `peer`. `port` is the server's.
fn mark_path(owner: DomId, peer: DomId, role: Role, port: u32) -> String {
    let role = match role {
        Role::Server => "server",
        Role::Client => "client",
    };
    format!("/local/domain/{owner}/data/vchan-alive/{peer}/{role}-{port}")
}

/// Watches the peer's domain from one end of a channel.
#[derive(Debug)]
pub struct DomainWatch {
    own: DomId,
    peer: DomId,
    role: Role,
    /// The server's.
    port: u32,
    xs: Arc<XsClient>,
    node: LivenessNode,
    /// The value of the server's `ring-ref` when this client connected.
    ring_ref: OnceCell<String>,
    /// One of [`UNWATCHED`], [`CONNECTED`], [`SILENT`], [`WATCHING`], [`NO_NODE`] and [`LOST`].
    stage: AtomicU8,
    gone: AtomicBool,
    doubt: Mutex<Option<Doubt>>,
    attached: OnceCell<(Arc<EventSet>, Tokens)>,
}

/// The node is not watched yet: it does not exist so far.
const UNWATCHED: u8 = 0;
/// The node is watched, and no event was taken yet. The first one can be Xen's own, which it sends when a
/// port is connected.
const CONNECTED: u8 = 1;
/// The node is watched, and the peer itself has sent no event yet. After that the node's removal is proof.
const SILENT: u8 = 2;
const WATCHING: u8 = 3;
/// There is no such node for this client.
const NO_NODE: u8 = 4;
/// The connection to xenstored is lost.
const LOST: u8 = 5;

/// The node that shows that the peer's domain is alive.
#[derive(Debug)]
struct LivenessNode {
    path: String,
    kind: NodeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeKind {
    /// It vanishes only with the domain.
    Domid,
    /// The server's program can remove it.
    RingRef,
    /// The peer creates it, and removes it with its end.
    Mark,
}

/// The result of a check of the node.
#[derive(Clone, Copy, Debug)]
enum Presence {
    Present,
    Gone,
    /// The node is another channel's.
    Replaced,
}

impl LivenessNode {
    fn new(
        xs: &XsClient,
        own: DomId,
        peer: DomId,
        role: Role,
        path: &str,
        port: u32,
    ) -> Result<LivenessNode> {
        let ring_ref = || LivenessNode { path: format!("{path}/ring-ref"), kind: NodeKind::RingRef };
        let mark = |owner| LivenessNode { path: mark_path(peer, own, owner, port), kind: NodeKind::Mark };
        Ok(match role {
            _ if own == 0 => {
                LivenessNode { path: format!("/local/domain/{peer}/domid"), kind: NodeKind::Domid }
            }
            Role::Server => mark(Role::Client),
            Role::Client => {
                let mark = mark(Role::Server);
                // The server creates it before it publishes.
                if exists(xs, &mark.path).map_err(xenstore_error)? {
                    mark
                } else {
                    ring_ref()
                }
            }
        })
    }
}

fn exists(xs: &XsClient, path: &str) -> std::result::Result<bool, XsError> {
    match xs.read(path) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_yet() => Ok(false),
        Err(error) => Err(error),
    }
}

impl DomainWatch {
    /// For the end in the domain `own` of the channel at `path`, whose server has this port. `None` if the peer cannot end
    /// without this domain.
    pub(super) fn new(
        own: DomId,
        peer: DomId,
        role: Role,
        path: &str,
        port: u32,
    ) -> Result<Option<DomainWatch>> {
        if peer == 0 || peer == own {
            return Ok(None);
        }
        let xs = XsClient::open_unpolled().map_err(xenstore_error)?;
        Self::over(xs, own, peer, role, path, port).map(Some)
    }

    /// The same, over a given connection.
    pub fn over(
        xs: XsClient,
        own: DomId,
        peer: DomId,
        role: Role,
        path: &str,
        port: u32,
    ) -> Result<DomainWatch> {
        let node = LivenessNode::new(&xs, own, peer, role, path, port)?;
        let watch = DomainWatch {
            own,
            peer,
            role,
            port,
            xs: Arc::new(xs),
            node,
            ring_ref: OnceCell::new(),
            stage: AtomicU8::new(UNWATCHED),
            gone: AtomicBool::new(false),
            doubt: Mutex::default(),
            attached: OnceCell::new(),
        };
        // A client's mark does not exist before the client's first event.
        if (watch.node.kind, role) != (NodeKind::Mark, Role::Server) {
            watch.begin().map_err(xenstore_error)?;
        }
        Ok(watch)
    }

    /// Watches the node, if it exists. Returns whether it does.
    fn begin(&self) -> std::result::Result<bool, XsError> {
        self.xs.watch(&self.node.path, TOKEN)?;
        // The initial event of every watch carries no information.
        self.xs.next_event(Some(DEFAULT_TIMEOUT))?;
        if let Some(value) = self.read(&self.node.path)? {
            let _first = self.ring_ref.set(value);
            let stage = if self.node.kind == NodeKind::RingRef { CONNECTED } else { WATCHING };
            self.stage.store(stage, Ordering::Release);
            return Ok(true);
        }
        // Its creation would only cause useless events.
        self.xs.unwatch(&self.node.path, TOKEN)?;
        Ok(false)
    }

    fn read(&self, path: &str) -> std::result::Result<Option<String>, XsError> {
        match self.xs.read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_not_yet() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn presence(&self) -> std::result::Result<Presence, XsError> {
        if self.node.kind != NodeKind::RingRef {
            return Ok(if exists(&self.xs, &self.node.path)? { Presence::Present } else { Presence::Gone });
        }
        Ok(match self.read(&self.node.path)? {
            None => Presence::Gone,
            Some(value) if self.ring_ref.get().is_none_or(|own| *own == value) => Presence::Present,
            Some(_) => Presence::Replaced,
        })
    }

    /// Makes `set` readable when there may be watch events. Called once.
    pub fn attach(&self, set: &Arc<EventSet>, tokens: Tokens) -> io::Result<()> {
        for fd in self.fds() {
            set.add(fd, Readiness::READABLE, tokens.readable)?;
        }
        let _once = self.attached.set((Arc::clone(set), tokens));
        Ok(())
    }

    fn fds(&self) -> [BorrowedFd<'_>; 2] {
        self.xs.fds()
    }

    /// Creates the mark of this end, which has this local port. `None` if none is needed, or if this domain may not write to
    /// its own tree: then the peer does not detect the end of this domain, as with Xen's library.
    pub fn create_mark(&self, local_port: u32) -> Result<Option<Mark>> {
        let server_is_foreign = self.node.kind == NodeKind::RingRef;
        if server_is_foreign || !marks_are_needed(self.own, self.peer) {
            return Ok(None);
        }
        let path = mark_path(self.own, self.peer, self.role, self.port);
        let value = local_port.to_string();
        let created = self.xs.transaction(|transaction| {
            transaction.write(&path, &value)?;
            let readers = [Perm::new(self.peer, Access::Read)];
            transaction.set_perms(&path, Perm::new(self.own, Access::None), &readers)
        });
        match created {
            Ok(()) => Ok(Some(Mark { xs: Arc::clone(&self.xs), value, path })),
            Err(XsError::Refused { .. }) => Ok(None),
            Err(error) => Err(xenstore_error(error)),
        }
    }

    /// Handles an event. After the peer's first one its node exists, or never will.
    pub fn take_event(&self) {
        if matches!(self.stage.load(Ordering::Acquire), WATCHING | NO_NODE | LOST) {
            return;
        }
        let mut doubt = self.doubt();
        let there = match self.stage.load(Ordering::Acquire) {
            UNWATCHED => self.begin(),
            CONNECTED => {
                self.stage.store(SILENT, Ordering::Release);
                return;
            }
            SILENT => {
                *doubt = None;
                self.presence().map(|presence| matches!(presence, Presence::Present))
            }
            _ => return,
        };
        match there {
            Ok(true) => self.stage.store(WATCHING, Ordering::Release),
            Ok(false) => self.stage.store(NO_NODE, Ordering::Release),
            // A channel works without it, as with Xen's library.
            Err(_) => self.lose(),
        }
    }

    /// Takes the watch events; returns whether there were any. Updates [`is_gone`](Self::is_gone).
    pub fn take(&self) -> bool {
        let mut doubt = self.doubt();
        let over = doubt.as_ref().is_some_and(Doubt::is_over);
        if over {
            *doubt = None;
            self.gone.store(true, Ordering::Release);
        }
        match self.check_events().and_then(|news| self.judge(news, &mut doubt).map(|()| news.is_some())) {
            Ok(news) => news || over,
            // The channel itself still works.
            Err(_) => {
                self.lose();
                true
            }
        }
    }

    fn judge(&self, news: Option<Presence>, doubt: &mut Option<Doubt>) -> std::result::Result<(), XsError> {
        let gone = match news {
            None => return Ok(()),
            Some(Presence::Present) => {
                *doubt = None;
                return Ok(());
            }
            Some(Presence::Replaced) => {
                *doubt = None;
                self.stage.store(NO_NODE, Ordering::Release);
                // Later channels concern other clients.
                return self.xs.unwatch(&self.node.path, TOKEN);
            }
            Some(Presence::Gone) => match (self.node.kind, self.stage.load(Ordering::Acquire)) {
                (NodeKind::Domid | NodeKind::Mark, _) => true,
                (NodeKind::RingRef, CONNECTED | SILENT) => {
                    if doubt.is_none() {
                        *doubt = self
                            .attached
                            .get()
                            .and_then(|(set, tokens)| Doubt::new(Arc::clone(set), *tokens, ANSWER_TIMEOUT));
                    }
                    return Ok(());
                }
                (NodeKind::RingRef, stage) => stage == WATCHING,
            },
        };
        if gone {
            self.gone.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes all watch events; if there were any, checks the node.
    fn check_events(&self) -> std::result::Result<Option<Presence>, XsError> {
        let mut seen = None;
        if self.stage.load(Ordering::Acquire) == LOST {
            return Ok(seen);
        }
        loop {
            let mut any = false;
            while self.xs.next_event(Some(Duration::ZERO))?.is_some() {
                any = true;
            }
            if !any {
                return Ok(seen);
            }
            // Events that arrive during a request are queued in the client, where poll does not see them:
            // hence another round.
            seen = Some(self.presence()?);
        }
    }

    /// Stops watching: a broken connection would stay readable.
    fn lose(&self) {
        self.stage.store(LOST, Ordering::Release);
        if let Some((set, _)) = self.attached.get() {
            for fd in self.fds() {
                // It may have been removed before.
                let _ = set.remove(fd);
            }
        }
    }

    fn doubt(&self) -> MutexGuard<'_, Option<Doubt>> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the domain is known to be gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Starts over for the next client; `false` if the domain is known to be gone for good.
    pub fn reset(&self) -> bool {
        if self.node.kind == NodeKind::Domid {
            return !self.is_gone();
        }
        self.gone.store(false, Ordering::Release);
        // The next client's mark must not cause events before that client has come.
        if self.node.kind == NodeKind::Mark {
            match self.stage.load(Ordering::Acquire) {
                // This also drops its pending events.
                WATCHING if self.xs.unwatch(&self.node.path, TOKEN).is_err() => self.lose(),
                LOST => {}
                _ => self.stage.store(UNWATCHED, Ordering::Release),
            }
        }
        true
    }
}

/// An end's mark. Removed when dropped, or with the domain.
#[derive(Debug)]
pub struct Mark {
    xs: Arc<XsClient>,
    path: String,
    value: String,
}

impl Mark {
    /// Removes the mark, and the directories of the peer and of all marks if they became empty.
    fn remove(&self) -> std::result::Result<(), XsError> {
        self.xs.transaction(|transaction| {
            // Another end may have created its own for the same port of the server.
            if transaction.read_text(&self.path)? != self.value {
                return Ok(());
            }
            transaction.rm(&self.path)?;
            let mut directory = self.path.as_str();
            for _ in 0..2 {
                directory = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
                if !transaction.directory(directory)?.is_empty() {
                    break;
                }
                transaction.rm(directory)?;
            }
            Ok(())
        })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // Without xenstored there is nothing to remove, and a domain that ends loses its nodes anyway.
        let _ = self.remove();
    }
}
