//! Detects that the peer's whole domain is gone: its kernel cannot send events any more, so this side would
//! not be woken.
//!
//! Each end watches one xenstore node, its *liveness node*, which vanishes with the peer's domain and rarely
//! at any other time. `@releaseDomain`, which reports the end of every domain, would wake callers that poll
//! the channel each time.
//!
//! In dom0 this is the `domid` of the peer's domain, which vanishes only with the domain. A guest can read
//! only nodes that the peer has opened to it, and those vanish with the peer's domain too. So a guest's
//! client watches its server's `ring-ref`, and a guest's server watches a *mark* that its client creates
//! below the published path, in a directory that the server makes writable for it. Peers that do not know the
//! mark create none, and a guest's server does not detect their end.
//!
//! While a server waits for its client, only the client may wake it. So a mark is watched from the client's
//! first event on.
//!
//! The server's program can remove its publication when its client has come. The server detects that by the
//! directory, which is removed too. The client checks whether `ring-ref` exists at the server's first event,
//! since such programs remove it before anything else. If it vanishes before that event, either the domain is
//! gone, or an event will still come: [`ANSWER_TIMEOUT`].
//!
//! A server of several clients publishes its next channel at the same path. Then the nodes are another channel's: a
//! client recognises that by the value of `ring-ref`, and a server [ignores](DomainWatch::withdraw) the mark from its
//! own withdrawal on. Neither detects the end of a guest's domain any more.

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

/// The directory below the published path in which the client can create its mark.
pub(super) const MARKS: &str = "client";
const MARK: &str = "client/alive";
const TOKEN: &str = "domain";

/// How long a server that has sent no event yet can stay silent after its `ring-ref` has vanished.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a server in `server` can detect the end of `client` only by a mark.
pub(super) fn marks_are_needed(server: DomId, client: DomId) -> bool {
    server != 0 && client != 0 && server != client
}

/// Watches the peer's domain from one end of a channel.
#[derive(Debug)]
pub struct DomainWatch {
    peer: DomId,
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
    /// The client creates it.
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
    fn new(own: DomId, peer: DomId, role: Role, path: &str) -> LivenessNode {
        match role {
            _ if own == 0 => {
                LivenessNode { path: format!("/local/domain/{peer}/domid"), kind: NodeKind::Domid }
            }
            Role::Client => LivenessNode { path: format!("{path}/ring-ref"), kind: NodeKind::RingRef },
            Role::Server => LivenessNode { path: format!("{path}/{MARK}"), kind: NodeKind::Mark },
        }
    }

    /// The directory that contains it.
    fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("/", |(directory, _)| directory)
    }
}

impl DomainWatch {
    /// For the end of the channel at `path` in the domain `own`; `None` if the peer cannot end without this
    /// domain.
    pub(super) fn new(own: DomId, peer: DomId, role: Role, path: &str) -> Result<Option<DomainWatch>> {
        if peer == 0 || peer == own {
            return Ok(None);
        }
        let xs = XsClient::open_unpolled().map_err(xenstore_error)?;
        Self::over(xs, own, peer, role, path).map(Some)
    }

    /// The same, over a given connection.
    pub fn over(xs: XsClient, own: DomId, peer: DomId, role: Role, path: &str) -> Result<DomainWatch> {
        let watch = DomainWatch {
            peer,
            xs: Arc::new(xs),
            node: LivenessNode::new(own, peer, role, path),
            ring_ref: OnceCell::new(),
            stage: AtomicU8::new(UNWATCHED),
            gone: AtomicBool::new(false),
            doubt: Mutex::default(),
            attached: OnceCell::new(),
        };
        if watch.node.kind != NodeKind::Mark {
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

    fn exists(&self, path: &str) -> std::result::Result<bool, XsError> {
        match self.xs.read(path) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_yet() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn presence(&self) -> std::result::Result<Presence, XsError> {
        if self.node.kind != NodeKind::RingRef {
            return Ok(if self.exists(&self.node.path)? { Presence::Present } else { Presence::Gone });
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

    /// Creates the mark for the server in the watched domain, for the channel at `path`. `None` if the server
    /// is another implementation, or is closing the channel.
    pub fn create_mark(&self, own: DomId, path: &str) -> Result<Option<Mark>> {
        if !marks_are_needed(self.peer, own) {
            return Ok(None);
        }
        let path = format!("{path}/{MARK}");
        // Other clients of this server, at the same path, have other values.
        let value = self.ring_ref.get().map_or("1", String::as_str);
        let left = self.xs.transaction(|transaction| {
            transaction.write(&path, value)?;
            let readers = [Perm::new(self.peer, Access::Read)];
            transaction.set_perms(&path, Perm::new(own, Access::None), &readers)
        });
        match left {
            Ok(()) => Ok(Some(Mark { xs: Arc::clone(&self.xs), value: value.to_owned(), path })),
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
                (NodeKind::Domid, _) => true,
                (NodeKind::Mark, _) => self.exists(self.node.directory())?,
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

    /// This side withdraws its publication, and with it the directory of the mark. Another channel can create both again, so
    /// the mark is no proof any more.
    pub fn withdraw(&self) {
        if self.node.kind != NodeKind::Mark {
            return;
        }
        let _doubt = self.doubt();
        match self.stage.load(Ordering::Acquire) {
            // This also drops its pending events.
            WATCHING if self.xs.unwatch(&self.node.path, TOKEN).is_err() => self.lose(),
            LOST => {}
            _ => self.stage.store(NO_NODE, Ordering::Release),
        }
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

/// A client's mark at its server; removed when dropped, or with the client's domain.
#[derive(Debug)]
pub struct Mark {
    xs: Arc<XsClient>,
    path: String,
    value: String,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // The server may have removed it with its directory, and another client may have created its own there.
        let _ = self.xs.transaction(|transaction| match transaction.read_text(&self.path)? {
            value if value == self.value => transaction.rm(&self.path),
            _ => Ok(()),
        });
    }
}
