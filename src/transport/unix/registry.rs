//! Rendezvous by name: what a server publishes under the root, and a client finds there.

use std::sync::Arc;

use super::grants::slot_of;
use super::nodes::{self, NodePath};
use super::side::{ClientSide, ServerSide};
use super::slot::Slot;
use super::sweep;
use super::watch::RootWatch;
use crate::transport::{Publication, Registry, Rendezvous, Watch};
use crate::{Error, Result};

/// The server's configuration.
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
            // A killed server is swept up first: what still stands there then has a living owner, or one unknown.
            sweep::sweep_slot(&locked, slot_of(page))?;
            // One that has its client needs the name no more, nor does the child of one that has ended.
            if sweep::is_awaited_at(locked.dir(), page, &self.path)? {
                let other = slot_of(page);
                return Err(Error::InUse {
                    path: self.path.as_str().into(),
                    why: format!(
                        "another server (slot {other} of {}) waits there for its client",
                        self.side.root.path()
                    ),
                    serving: true,
                });
            }
        }
        slot.note_published(&self.path)?;
        // From here on, whatever fails, dropping this undoes it.
        let published = Published { slot: Arc::clone(slot), path: self.path.clone() };
        let written = nodes::write(locked.dir(), &self.path, rendezvous);
        drop(locked);
        written.map(|()| Box::new(published) as Box<dyn Publication>)
    }

    fn look_up(&self) -> Result<Rendezvous> {
        Err(Error::Invalid("a server publishes, it looks nobody up".into()))
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Err(Error::Invalid("a server publishes, it waits for no publication".into()))
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
        // What can't be withdrawn now stays in the slot's record, and goes with the slot.
        let _ = self.withdraw();
    }
}

/// The client's configuration.
pub(super) struct ClientRegistry(pub(super) Arc<ClientSide>);

impl Registry for ClientRegistry {
    fn path(&self) -> &str {
        self.0.path()
    }

    fn publish(&self, _rendezvous: &Rendezvous) -> Result<Box<dyn Publication>> {
        Err(Error::Invalid("a client looks its server up, it does not publish".into()))
    }

    fn look_up(&self) -> Result<Rendezvous> {
        self.0.look_up()
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(RootWatch::new(self.0.root.clone(), self.0.node_path().cloned())?))
    }
}
