//! Rendezvous by name: servers publish under the root, and clients look up there.

use std::sync::Arc;

use super::grants::slot_of;
use super::nodes::{self, NodePath};
use super::side::{ClientSide, ServerSide};
use super::slot::Slot;
use super::sweep;
use super::watch::RootWatch;
use crate::transport::{Publication, Registry, Rendezvous, Watch};
use crate::{Error, Result};

/// The server's registry.
pub(super) struct ServerRegistry {
    pub(super) side: Arc<ServerSide>,
    pub(super) path: NodePath,
}

impl Registry for ServerRegistry {
    fn path(&self) -> &str {
        self.path.as_str()
    }

    fn publish(&self, rendezvous: &Rendezvous) -> Result<Box<dyn Publication>> {
        let slot = self.side.slot()?;
        let locked = slot.lock_root()?;
        if let Some(page) = nodes::published_page(locked.dir(), &self.path)? {
            // Files of a killed server are removed first: what remains has a living owner, or an unknown one.
            sweep::sweep_slot(&locked, slot_of(page))?;
            // A server that has its client does not need the name any more, nor does a child of a server
            // process that has ended.
            if sweep::waits_for_client_at(locked.dir(), page, &self.path)? {
                let other = slot_of(page);
                return Err(Error::InUse {
                    path: self.path.as_str().into(),
                    why: format!(
                        "another server (slot {other} of {}) already waits for a client there",
                        self.side.root.path()
                    ),
                    serving: true,
                });
            }
        }
        slot.note_published(&self.path)?;
        // From here on dropping this undoes everything.
        let published = Published { slot: Arc::clone(slot), path: self.path.clone() };
        let written = nodes::write(locked.dir(), &self.path, rendezvous);
        drop(locked);
        written.map(|()| Box::new(published) as Box<dyn Publication>)
    }

    fn look_up(&self) -> Result<Rendezvous> {
        Err(Error::Invalid("a server publishes, it does not look up".into()))
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Err(Error::Invalid("a server publishes, it does not watch for a publication".into()))
    }
}

/// A publication by name.
struct Published {
    slot: Arc<Slot>,
    path: NodePath,
}

impl Published {
    fn withdraw(&self) -> Result<()> {
        let locked = self.slot.lock_root_briefly()?;
        nodes::withdraw(locked.dir(), &self.path, self.slot.number())?;
        self.slot.note_withdrawn(&self.path)
    }
}

impl Publication for Published {}

impl Drop for Published {
    fn drop(&mut self) {
        // What cannot be withdrawn now stays in the slot's record, and is removed with the slot.
        let _ = self.withdraw();
    }
}

/// The client's registry.
pub(super) struct ClientRegistry(pub(super) Arc<ClientSide>);

impl Registry for ClientRegistry {
    fn path(&self) -> &str {
        self.0.path()
    }

    fn publish(&self, _rendezvous: &Rendezvous) -> Result<Box<dyn Publication>> {
        Err(Error::Invalid("a client looks up, it does not publish".into()))
    }

    fn look_up(&self) -> Result<Rendezvous> {
        self.0.look_up()
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(RootWatch::new(self.0.root.clone(), self.0.node_path().cloned())?))
    }
}
