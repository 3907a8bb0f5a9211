//! Noticing that the peer's whole domain has gone: its kernel can't tell any more, so nobody would be woken.
//!
//! Dom0 hears of every domain's end by `@releaseDomain`. A guest doesn't, but it hears when a node vanishes that it
//! may read, and xenstored removes a domain's nodes with it. So a guest's client watches its server's `ring-ref`, and
//! a guest's server watches a *mark* which its client makes below the published path, in a directory that the server
//! leaves open to it. Peers that know nothing of the mark make none, and a guest's server isn't told of their end.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::xenstore::{Access, Nodes, Perm, XsClient, XsError};
use crate::transport::Role;
use crate::{DomId, Error, Result};

/// The directory, below the published path, in which the client may leave its mark.
pub(super) const MARKS: &str = "client";
const MARK: &str = "client/alive";

/// Whether a server in `server` hears of the end of `client` by a mark only.
pub(super) fn marks_are_needed(server: DomId, client: DomId) -> bool {
    server != 0 && client != 0 && server != client
}

/// Watches the peer's domain from one end of a channel.
#[derive(Debug)]
pub(super) struct DomainWatch {
    peer: DomId,
    xs: Arc<XsClient>,
    sign: Sign,
    gone: AtomicBool,
}

/// By what the peer's domain is seen to be alive.
#[derive(Debug)]
enum Sign {
    /// Dom0 can ask.
    Introduced,
    /// A node, once it has been seen.
    Node { path: String, seen: AtomicBool },
}

impl DomainWatch {
    /// From `own`'s end of the channel at `path`, or `None` where the peer can't go without this domain going too.
    pub(super) fn new(own: DomId, peer: DomId, role: Role, path: &str) -> Result<Option<DomainWatch>> {
        if peer == 0 || peer == own {
            return Ok(None);
        }
        let xs = XsClient::open_unpolled().map_err(Error::Xenstore)?;
        let sign = match role {
            _ if own == 0 => Sign::Introduced,
            Role::Client => Sign::node(format!("{path}/ring-ref")),
            Role::Server => Sign::node(format!("{path}/{MARK}")),
        };
        let watched = match &sign {
            Sign::Introduced => "@releaseDomain",
            Sign::Node { path, .. } => path,
        };
        xs.watch(watched, "domain").map_err(Error::Xenstore)?;
        Ok(Some(DomainWatch { peer, xs: Arc::new(xs), sign, gone: AtomicBool::new(false) }))
    }

    /// One of them is readable when there may be news.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
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
            Err(error) => Err(Error::Xenstore(error)),
        }
    }

    /// Takes the news; says whether there were any. Then [`is_gone`](Self::is_gone) knows.
    pub(super) fn take(&self) -> Result<bool> {
        let mut any = false;
        // What arrives while the store is asked is kept inside, where no poll sees it: hence another look.
        while self.news()? {
            any = true;
            if !self.sign.is_there(&self.xs, self.peer).map_err(Error::Xenstore)? {
                self.gone.store(true, Ordering::Release);
            }
        }
        Ok(any)
    }

    /// Whether there were watch events; takes them all.
    fn news(&self) -> Result<bool> {
        let mut news = false;
        while self.xs.next_event(Some(Duration::ZERO)).map_err(Error::Xenstore)?.is_some() {
            news = true;
        }
        Ok(news)
    }

    /// Whether the domain was seen to have gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Begins anew with the next client; `false` where the domain is known to have gone for good.
    pub(super) fn forget(&self) -> bool {
        match &self.sign {
            Sign::Introduced => false,
            Sign::Node { seen, .. } => {
                seen.store(false, Ordering::Relaxed);
                self.gone.store(false, Ordering::Release);
                true
            }
        }
    }
}

impl Sign {
    fn node(path: String) -> Sign {
        Sign::Node { path, seen: AtomicBool::new(false) }
    }

    fn is_there(&self, xs: &XsClient, peer: DomId) -> std::result::Result<bool, XsError> {
        match self {
            Sign::Introduced => xs.is_domain_introduced(peer),
            Sign::Node { path, seen } => match xs.read(path) {
                Ok(_) => {
                    seen.store(true, Ordering::Relaxed);
                    Ok(true)
                }
                Err(error) if error.is_not_yet() => Ok(!seen.load(Ordering::Relaxed)),
                Err(error) => Err(error),
            },
        }
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
