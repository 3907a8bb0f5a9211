//! Noticing that the peer's whole domain has gone: its kernel can't tell any more, so nobody would be woken.
//!
//! Each end watches one node, its *sign*, that vanishes with the peer's domain and at hardly any other time. `@releaseDomain`, which
//! tells of every domain's end, would wake whoever polls the channel for each.
//!
//! Dom0's sign is the `domid` of the peer's domain, which goes with the domain alone. A guest may read only what the
//! peer gave it, and that goes with the peer's domain too. So a guest's client watches its server's `ring-ref`, and a
//! guest's server watches a *mark* which its client makes below the published path, in a directory that the server
//! leaves open to it. Peers that know nothing of the mark make none, and a guest's server isn't told of their end.
//!
//! While a server waits for its client, nothing but the client may wake it. So a mark is watched from the client's first event on.
//!
//! The server's program may remove what it published, when its client has come. The server then knows by the directory, which
//! goes along. The client looks whether the `ring-ref` is there at the server's first event, since such programs remove it before they
//! do anything else. If it vanishes before that event, the domain has gone, or an event will come yet: [`ANSWER_TIMEOUT`].

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use vchan_xenstore::{Access, Nodes, Perm, XsClient, XsError, DEFAULT_TIMEOUT};

use super::doubt::Doubt;
use super::xenstore_error;
use crate::transport::{EventSet, Readiness, Role, Tokens};
use crate::{DomId, Result};

/// The directory, below the published path, in which the client may leave its mark.
pub(super) const MARKS: &str = "client";
const MARK: &str = "client/alive";
const TOKEN: &str = "domain";

/// How long a server that has sent no event yet may keep silence after its `ring-ref` has vanished.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a server in `server` hears of the end of `client` by a mark only.
pub(super) fn marks_are_needed(server: DomId, client: DomId) -> bool {
    server != 0 && client != 0 && server != client
}

/// Watches the peer's domain from one end of a channel.
#[derive(Debug)]
pub struct DomainWatch {
    peer: DomId,
    xs: Arc<XsClient>,
    sign: Sign,
    /// One of [`UNBEGUN`], [`CONNECTED`], [`SILENT`], [`WATCHING`], [`WITHOUT`] and [`LOST`].
    stage: AtomicU8,
    gone: AtomicBool,
    doubt: Mutex<Option<Doubt>>,
    attached: OnceCell<(Arc<EventSet>, Tokens)>,
}

/// The sign is not watched yet: there is none so far.
const UNBEGUN: u8 = 0;
/// The sign is watched, and no event was taken yet. The first one may be Xen's own, which it sends to whoever connects a port.
const CONNECTED: u8 = 1;
/// The sign is watched, and the peer itself has sent no event yet, after which its vanishing means more.
const SILENT: u8 = 2;
const WATCHING: u8 = 3;
/// There is no sign, as far as this client goes.
const WITHOUT: u8 = 4;
/// Xenstored can't be heard any more.
const LOST: u8 = 5;

/// By what the peer's domain is seen to be alive.
#[derive(Debug)]
struct Sign {
    path: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It goes with the domain only.
    Domid,
    /// The server's program may remove it.
    RingRef,
    /// It comes with the client.
    Mark,
}

/// What a look after the sign has found.
#[derive(Clone, Copy, Debug)]
enum Sight {
    There,
    Gone,
}

impl Sign {
    fn new(own: DomId, peer: DomId, role: Role, path: &str) -> Sign {
        match role {
            _ if own == 0 => Sign { path: format!("/local/domain/{peer}/domid"), kind: Kind::Domid },
            Role::Client => Sign { path: format!("{path}/ring-ref"), kind: Kind::RingRef },
            Role::Server => Sign { path: format!("{path}/{MARK}"), kind: Kind::Mark },
        }
    }

    /// Where it is.
    fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("/", |(directory, _)| directory)
    }
}

impl DomainWatch {
    /// From `own`'s end of the channel at `path`, or `None` where the peer can't go without this domain going too.
    pub(super) fn new(own: DomId, peer: DomId, role: Role, path: &str) -> Result<Option<DomainWatch>> {
        if peer == 0 || peer == own {
            return Ok(None);
        }
        let xs = XsClient::open_unpolled().map_err(xenstore_error)?;
        Self::over(xs, own, peer, role, path).map(Some)
    }

    /// The same, over this connection.
    pub fn over(xs: XsClient, own: DomId, peer: DomId, role: Role, path: &str) -> Result<DomainWatch> {
        let watch = DomainWatch {
            peer,
            xs: Arc::new(xs),
            sign: Sign::new(own, peer, role, path),
            stage: AtomicU8::new(UNBEGUN),
            gone: AtomicBool::new(false),
            doubt: Mutex::default(),
            attached: OnceCell::new(),
        };
        if watch.sign.kind != Kind::Mark {
            watch.begin().map_err(xenstore_error)?;
        }
        Ok(watch)
    }

    /// Watches the sign, if there is one. Only what becomes of it from now on is news.
    fn begin(&self) -> std::result::Result<bool, XsError> {
        self.xs.watch(&self.sign.path, TOKEN)?;
        // It comes at once, and tells nothing.
        self.xs.next_event(Some(DEFAULT_TIMEOUT))?;
        if self.exists(&self.sign.path)? {
            let stage = if self.sign.kind == Kind::RingRef { CONNECTED } else { WATCHING };
            self.stage.store(stage, Ordering::Release);
            return Ok(true);
        }
        // Its coming would be no news.
        self.xs.unwatch(&self.sign.path, TOKEN)?;
        Ok(false)
    }

    fn exists(&self, path: &str) -> std::result::Result<bool, XsError> {
        match self.xs.read(path) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_yet() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes `set` readable when there may be news. Called once.
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

    /// Leaves a mark at the server in the domain that is watched, for the channel at `path`. `None` where that isn't wanted:
    /// the server is another program's, or closes the channel just now.
    pub(super) fn leave_mark(&self, own: DomId, path: &str) -> Result<Option<Mark>> {
        if !marks_are_needed(self.peer, own) {
            return Ok(None);
        }
        let path = format!("{path}/{MARK}");
        let left = self.xs.transaction(|transaction| {
            transaction.write(&path, "1")?;
            let readers = [Perm::new(self.peer, Access::Read)];
            transaction.set_perms(&path, Perm::new(own, Access::None), &readers)
        });
        match left {
            Ok(()) => Ok(Some(Mark { xs: Arc::clone(&self.xs), path })),
            Err(XsError::Refused { .. }) => Ok(None),
            Err(error) => Err(xenstore_error(error)),
        }
    }

    /// An event has come. After the peer's first one its sign is there, or never.
    pub fn take_event(&self) {
        if matches!(self.stage.load(Ordering::Acquire), WATCHING | WITHOUT | LOST) {
            return;
        }
        let mut doubt = self.doubt();
        let there = match self.stage.load(Ordering::Acquire) {
            UNBEGUN => self.begin(),
            CONNECTED => {
                self.stage.store(SILENT, Ordering::Release);
                return;
            }
            SILENT => {
                *doubt = None;
                self.exists(&self.sign.path)
            }
            _ => return,
        };
        match there {
            Ok(true) => self.stage.store(WATCHING, Ordering::Release),
            Ok(false) => self.stage.store(WITHOUT, Ordering::Release),
            // A channel works without, as with Xen's library.
            Err(_) => self.lose(),
        }
    }

    /// Takes the news; says whether there were any. Then [`is_gone`](Self::is_gone) knows.
    pub fn take(&self) -> bool {
        let mut doubt = self.doubt();
        let over = doubt.as_ref().is_some_and(Doubt::is_over);
        if over {
            *doubt = None;
            self.gone.store(true, Ordering::Release);
        }
        match self.news().and_then(|news| self.judge(news, &mut doubt).map(|()| news.is_some())) {
            Ok(news) => news || over,
            // The channel itself lives on.
            Err(_) => {
                self.lose();
                true
            }
        }
    }

    fn judge(&self, news: Option<Sight>, doubt: &mut Option<Doubt>) -> std::result::Result<(), XsError> {
        let gone = match news {
            None => return Ok(()),
            Some(Sight::There) => {
                *doubt = None;
                return Ok(());
            }
            Some(Sight::Gone) => match (self.sign.kind, self.stage.load(Ordering::Acquire)) {
                (Kind::Domid, _) => true,
                (Kind::Mark, _) => self.exists(self.sign.directory())?,
                (Kind::RingRef, CONNECTED | SILENT) => {
                    if doubt.is_none() {
                        *doubt = self
                            .attached
                            .get()
                            .and_then(|(set, tokens)| Doubt::new(Arc::clone(set), *tokens, ANSWER_TIMEOUT));
                    }
                    return Ok(());
                }
                (Kind::RingRef, stage) => stage == WATCHING,
            },
        };
        if gone {
            self.gone.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Takes all watch events; if there were any, looks after the sign.
    fn news(&self) -> std::result::Result<Option<Sight>, XsError> {
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
            // What arrives while the store is asked is kept inside, where no poll sees it: hence another look.
            seen = Some(if self.exists(&self.sign.path)? { Sight::There } else { Sight::Gone });
        }
    }

    /// Listens to xenstored no more: a connection that is broken would stay readable.
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

    /// Whether the domain was seen to have gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Begins anew with the next client; `false` where the domain is known to have gone for good.
    pub fn forget(&self) -> bool {
        if self.sign.kind == Kind::Domid {
            return !self.is_gone();
        }
        self.gone.store(false, Ordering::Release);
        // The next client's mark is no news before that client has come.
        if self.sign.kind == Kind::Mark {
            match self.stage.load(Ordering::Acquire) {
                // It takes the events along.
                WATCHING if self.xs.unwatch(&self.sign.path, TOKEN).is_err() => self.lose(),
                LOST => {}
                _ => self.stage.store(UNBEGUN, Ordering::Release),
            }
        }
        true
    }
}

/// A client's mark at its server; removed when dropped, or with the client's domain.
#[derive(Debug)]
pub(super) struct Mark {
    xs: Arc<XsClient>,
    path: String,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // The server may have removed it together with the rest.
        let _ = self.xs.rm(&self.path);
    }
}
