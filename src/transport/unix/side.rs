//! What the parts of one channel share: the server's slot, or what the client has found out about its server.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use once_cell::sync::OnceCell;

use super::dir::Dir;
use super::grants::slot_of;
use super::home;
use super::nodes::{self, NodePath};
use super::page_file::PageFile;
use super::root::{Missing, Root};
use super::slot::Slot;
use super::sweep;
use crate::transport::Rendezvous;
use crate::{Error, Result};

/// The server's side. Its slot is claimed when something is first made in it.
pub(super) struct ServerSide {
    pub(super) root: Root,
    slot: OnceCell<Arc<Slot>>,
}

impl ServerSide {
    pub(super) fn new(root: Root) -> ServerSide {
        ServerSide { root, slot: OnceCell::new() }
    }

    /// The channel's slot.
    pub(super) fn slot(&self) -> Result<&Arc<Slot>> {
        self.slot.get_or_try_init(|| Slot::claim(&self.root).map(Arc::new))
    }
}

/// Where a client learns of its server.
pub(super) enum Source {
    /// From the tree under the root.
    Name(NodePath),
    /// It was told, by way of the environment, whatever path it asked for.
    Told(Told),
}

/// What a client was told, perhaps by a server that has ended since: another one may be there now.
pub(super) struct Told {
    rendezvous: Rendezvous,
    asked: Option<NodePath>,
    /// Where the server serves that was met.
    served: OnceCell<NodePath>,
}

impl Told {
    /// `asked` is the path that the client was to go to, if it can be one.
    pub(super) fn new(rendezvous: Rendezvous, asked: Option<NodePath>) -> Told {
        Told { rendezvous, asked, served: OnceCell::new() }
    }

    /// Where the server of that slot serves. A historical one doesn't say.
    fn served(&self, root: &Dir) -> Result<Option<NodePath>> {
        sweep::published_by(root, slot_of(self.rendezvous.ring_ref))
    }

    /// Refuses to lead a client away from a server that waits where the client was to go.
    fn check(&self, root: &Dir) -> Result<()> {
        let (Some(served), Some(asked)) = (self.served(root)?, &self.asked) else { return Ok(()) };
        let page = if served == *asked { None } else { nodes::published_page(root, asked)? };
        let Some(page) = page.filter(|&page| slot_of(page) != slot_of(self.rendezvous.ring_ref)) else {
            return Ok(());
        };
        if !sweep::is_awaited_at(root, page, asked)? {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "XEN_CONFIGURATION leads to the server at {}, but another one waits at {}, which was asked for; unset it to \
             go there",
            served.as_str(),
            asked.as_str()
        )))
    }
}

/// The client's side.
pub(super) struct ClientSide {
    pub(super) root: Root,
    source: Source,
    page: Mutex<Weak<PageFile>>,
}

impl ClientSide {
    pub(super) fn new(root: Root, source: Source) -> ClientSide {
        ClientSide { root, source, page: Mutex::new(Weak::new()) }
    }

    /// Where the client looks its server up, if it does.
    pub(super) fn node_path(&self) -> Option<&NodePath> {
        match &self.source {
            Source::Name(path) => Some(path),
            Source::Told(_) => None,
        }
    }

    /// What to call the channel: the path, or the socket of a server of which no path is known.
    pub(super) fn path(&self) -> &str {
        match &self.source {
            Source::Name(path) => path.as_str(),
            Source::Told(told) => told.served.get().map_or(&told.rendezvous.event_channel, NodePath::as_str),
        }
    }

    /// Notes which server was met, for [`path`](Self::path).
    pub(super) fn note_met(&self) -> Result<()> {
        let Source::Told(told) = &self.source else { return Ok(()) };
        let root = self.root.open(Missing::Leave)?;
        if let Some(served) = root.map(|root| told.served(&root)).transpose()?.flatten() {
            // A second time it is the same server.
            let _ = told.served.set(served);
        }
        Ok(())
    }

    /// Finds what the server published. What is found has a living owner, or one that locks nothing. This does not wait
    /// for the root's lock, which a stopped process may hold.
    pub(super) fn look_up(&self) -> Result<Rendezvous> {
        let path = match &self.source {
            Source::Told(told) => {
                if let Some(root) = self.root.open(Missing::Leave)? {
                    told.check(&root)?;
                }
                return Ok(told.rendezvous.clone());
            }
            Source::Name(path) => path,
        };
        let Some(root) = self.root.open(Missing::Leave)? else {
            let path = self.root.path();
            let why = home::obstacle(path).unwrap_or_else(|| format!("the directory {path} does not exist"));
            return Err(self.no_server(why));
        };
        let rendezvous = nodes::read(&root, path)?
            .map_err(|why| self.no_server(format!("{why}, in {}", self.root.path())))?;
        let slot = slot_of(rendezvous.ring_ref);
        if sweep::is_dead(&root, slot)? {
            // Where this fails, the next server does it.
            let _ = self.sweep_slot(slot);
            return Err(self.no_server(format!("the server (slot {slot} of {}) has died", self.root.path())));
        }
        Ok(Rendezvous { event_channel: self.in_own_root(rendezvous.event_channel, slot), ..rendezvous })
    }

    /// The path of a socket as seen from here. Its server may see the same root at another path, or the root was moved.
    fn in_own_root(&self, socket: String, slot: u32) -> String {
        match socket.rsplit_once('/') {
            Some((_, name)) if name == slot.to_string() => format!("{}/{name}", self.root.path()),
            _ => socket,
        }
    }

    fn sweep_slot(&self, slot: u32) -> Result<()> {
        let Some(locked) = self.root.hurried().lock(Missing::Leave)? else { return Ok(()) };
        sweep::sweep_slot(&locked, slot)?;
        sweep::prune(&locked)
    }

    /// Remembers the file of the shared page, by which [`ClientSide::page_is_current`] knows the server.
    pub(super) fn set_page(&self, page: &Arc<PageFile>) {
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(page);
    }

    /// The file of the shared page, while it is mapped.
    pub(super) fn page(&self) -> Option<Arc<PageFile>> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Nobody serves (yet, or any more).
    pub(super) fn no_server(&self, why: impl Into<String>) -> Error {
        Error::NoServer { path: self.path().into(), why: why.into() }
    }

    /// Another client was first.
    pub(super) fn has_another_client(&self) -> Error {
        Error::InUse { path: self.path().into(), why: "its server has another client".into(), serving: false }
    }
}
