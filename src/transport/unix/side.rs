//! The state that the parts of one channel share: the server's slot, or what the client knows about its
//! server.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use once_cell::sync::OnceCell;

use super::default_root;
use super::dir::Dir;
use super::grants::slot_of;
use super::nodes::{self, NodePath};
use super::page_file::PageFile;
use super::root::{Missing, Root};
use super::slot::Slot;
use super::sweep;
use crate::transport::Rendezvous;
use crate::{Error, Result};

/// The server's side. Its slot is claimed when the first part is created.
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

/// Where a client gets its rendezvous from.
pub(super) enum RendezvousSource {
    /// From the tree under the root.
    Name(NodePath),
    /// From the environment, whatever path it asked for.
    Exported(Exported),
}

/// The rendezvous that a server exported. That server may have ended since, and another one may be in its
/// place.
pub(super) struct Exported {
    rendezvous: Rendezvous,
    requested: Option<NodePath>,
    /// The path of the server that this client has connected to.
    served: OnceCell<NodePath>,
}

impl Exported {
    /// `requested` is the path that the client asked for, if it is valid.
    pub(super) fn new(rendezvous: Rendezvous, requested: Option<NodePath>) -> Exported {
        Exported { rendezvous, requested, served: OnceCell::new() }
    }

    /// The path of the server in that slot. A historical one does not publish it.
    fn served(&self, root: &Dir) -> Result<Option<NodePath>> {
        sweep::published_by(root, slot_of(self.rendezvous.ring_ref))
    }

    /// Fails if a server waits at the requested path, and it is not the exported one.
    fn check(&self, root: &Dir) -> Result<()> {
        let (Some(served), Some(requested)) = (self.served(root)?, &self.requested) else { return Ok(()) };
        let page = if served == *requested { None } else { nodes::published_page(root, requested)? };
        let Some(page) = page.filter(|&page| slot_of(page) != slot_of(self.rendezvous.ring_ref)) else {
            return Ok(());
        };
        if !sweep::waits_for_client_at(root, page, requested)? {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "XEN_CONFIGURATION refers to the server at {}, but another one waits at the requested path {}; unset it to \
             connect there",
            served.as_str(),
            requested.as_str()
        )))
    }
}

/// The client's side.
pub(super) struct ClientSide {
    pub(super) root: Root,
    source: RendezvousSource,
    page: Mutex<Weak<PageFile>>,
}

impl ClientSide {
    pub(super) fn new(root: Root, source: RendezvousSource) -> ClientSide {
        ClientSide { root, source, page: Mutex::new(Weak::new()) }
    }

    /// The path where the client looks up its server, if it does.
    pub(super) fn node_path(&self) -> Option<&NodePath> {
        match &self.source {
            RendezvousSource::Name(path) => Some(path),
            RendezvousSource::Exported(_) => None,
        }
    }

    /// The channel's path, or the socket of a server whose path is unknown.
    pub(super) fn path(&self) -> &str {
        match &self.source {
            RendezvousSource::Name(path) => path.as_str(),
            RendezvousSource::Exported(exported) => {
                exported.served.get().map_or(&exported.rendezvous.event_channel, NodePath::as_str)
            }
        }
    }

    /// Records the connected server's path, for [`path`](Self::path).
    pub(super) fn note_connected(&self) -> Result<()> {
        let RendezvousSource::Exported(exported) = &self.source else { return Ok(()) };
        let root = self.root.open(Missing::Leave)?;
        if let Some(served) = root.map(|root| exported.served(&root)).transpose()?.flatten() {
            // Later calls find the same server.
            let _ = exported.served.set(served);
        }
        Ok(())
    }

    /// Finds what the server published. Its owner lives, or is one that locks nothing. This does not wait for
    /// the root's lock, which a stopped process can hold.
    pub(super) fn look_up(&self) -> Result<Rendezvous> {
        let path = match &self.source {
            RendezvousSource::Exported(exported) => {
                if let Some(root) = self.root.open(Missing::Leave)? {
                    exported.check(&root)?;
                }
                return Ok(exported.rendezvous.clone());
            }
            RendezvousSource::Name(path) => path,
        };
        let Some(root) = self.root.open(Missing::Leave)? else {
            let path = self.root.path();
            let why = default_root::obstacle(path)
                .unwrap_or_else(|| format!("the directory {path} does not exist"));
            return Err(self.no_server(why));
        };
        let rendezvous = nodes::read(&root, path)?
            .map_err(|why| self.no_server(format!("{why}, in {}", self.root.path())))?;
        let slot = slot_of(rendezvous.ring_ref);
        if sweep::is_dead(&root, slot)? {
            // If this fails, the next server removes the files.
            let _ = self.sweep_slot(slot);
            return Err(self.no_server(format!("the server (slot {slot} of {}) has died", self.root.path())));
        }
        Ok(Rendezvous { event_channel: self.in_own_root(rendezvous.event_channel, slot), ..rendezvous })
    }

    /// The path of a socket as seen from here. Its server can see the same root at another path, or the root
    /// was moved.
    fn in_own_root(&self, socket: String, slot: u32) -> String {
        match socket.rsplit_once('/') {
            Some((_, name)) if name == slot.to_string() => format!("{}/{name}", self.root.path()),
            _ => socket,
        }
    }

    fn sweep_slot(&self, slot: u32) -> Result<()> {
        let Some(locked) = self.root.with_short_timeout().lock(Missing::Leave)? else { return Ok(()) };
        sweep::sweep_slot(&locked, slot)?;
        sweep::prune(&locked)
    }

    /// Stores the file of the shared page, which identifies the server.
    pub(super) fn set_page(&self, page: &Arc<PageFile>) {
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(page);
    }

    /// The file of the shared page, while it is mapped.
    pub(super) fn page(&self) -> Option<Arc<PageFile>> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The error for a missing server (not yet, or not any more).
    pub(super) fn no_server(&self, why: impl Into<String>) -> Error {
        Error::NoServer { path: self.path().into(), why: why.into() }
    }

    /// The error for a server that has another client.
    pub(super) fn has_another_client(&self) -> Error {
        Error::InUse { path: self.path().into(), why: "its server has another client".into(), serving: false }
    }
}
