//! Rendezvous through xenstore: `<path>/ring-ref` and `<path>/event-channel`.
//!
//! Look-ups go through [`lookup`], which uses the crate xenstore-rs in builds with that feature. Publishing and
//! withdrawing need transactions and permissions, which only vchan-xenstore has.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use vchan_xenstore::{Access, Nodes, Perm, XsClient, XsError};

use super::{lookup, xenstore_error};
use crate::transport::{Publication, Registry, Rendezvous, Watch};
use crate::{DomId, Error, Result};

/// One channel's nodes.
#[derive(Debug)]
pub(super) struct XenRegistry {
    pub own: DomId,
    pub peer: DomId,
    /// Absolute.
    pub path: String,
}

fn ring_ref(path: &str) -> String {
    format!("{path}/ring-ref")
}

fn event_channel(path: &str) -> String {
    format!("{path}/event-channel")
}

impl Registry for XenRegistry {
    fn path(&self) -> &str {
        &self.path
    }

    fn publish(&self, rendezvous: &Rendezvous) -> Result<Box<dyn Publication>> {
        let xs = XsClient::open().map_err(xenstore_error)?;
        let nodes = [
            (ring_ref(&self.path), rendezvous.ring_ref.to_string()),
            (event_channel(&self.path), rendezvous.event_channel.clone()),
        ];
        // Nodes of a killed server are replaced in the same transaction.
        xs.transaction(|transaction| {
            for (node, value) in &nodes {
                transaction.write(node, value)?;
                let readers = [Perm::new(self.peer, Access::Read)];
                transaction.set_perms(node, Perm::new(self.own, Access::None), &readers)?;
            }
            Ok(())
        })
        .map_err(xenstore_error)?;
        Ok(Box::new(Published { path: self.path.clone(), rendezvous: rendezvous.clone() }))
    }

    fn look_up(&self) -> Result<Rendezvous> {
        let no_server = |why: String| Error::NoServer { path: self.path.clone(), why };
        let lookup = lookup::open().map_err(xenstore_error)?;
        let read = |node: String| match lookup.read(&node) {
            Ok(text) => Ok(text),
            // A guest gets the same error for nodes that do not exist and nodes that it cannot see.
            Err(error) if error.is_not_yet() => Err(no_server(error.to_string())),
            Err(error) => Err(xenstore_error(error)),
        };
        let ring_ref = read(ring_ref(&self.path))?;
        let event_channel = read(event_channel(&self.path))?;
        let ring_ref =
            ring_ref.parse().map_err(|_| no_server(format!("its ring-ref is {ring_ref:?}, not a number")))?;
        Ok(Rendezvous { ring_ref, event_channel })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        let xs = XsClient::open().map_err(xenstore_error)?;
        xs.watch(&self.path, "rendezvous").map_err(xenstore_error)?;
        Ok(Box::new(XenWatch { xs }))
    }
}

struct Published {
    path: String,
    rendezvous: Rendezvous,
}

impl Publication for Published {}

impl Drop for Published {
    fn drop(&mut self) {
        // Without xenstored there is nothing to remove, and a domain that ends loses its nodes anyway.
        let _ = withdraw(&self.path, &self.rendezvous);
    }
}

/// Removes the publication, if it is still ours, and the client's directory if that became empty.
fn withdraw(path: &str, rendezvous: &Rendezvous) -> std::result::Result<(), XsError> {
    let xs = XsClient::open()?;
    xs.transaction(|transaction| {
        let ours = transaction.read_text(&ring_ref(path))? == rendezvous.ring_ref.to_string()
            && transaction.read_text(&event_channel(path))? == rendezvous.event_channel;
        if !ours {
            return Ok(());
        }
        transaction.rm(path)
    })?;
    if let Some(directory) = client_directory(path) {
        xs.remove_if_empty(directory)?;
    }
    Ok(())
}

/// The directory of the client in a path that follows the convention: `…/vchan/<client>/<port>`.
fn client_directory(path: &str) -> Option<&str> {
    let (directory, _port) = path.rsplit_once('/')?;
    let (vchan, client) = directory.rsplit_once('/')?;
    (vchan.ends_with("/vchan") && client.parse::<DomId>().is_ok()).then_some(directory)
}

struct XenWatch {
    xs: XsClient,
}

impl Watch for XenWatch {
    fn renew(&mut self) -> Result<()> {
        while self.xs.next_event(Some(Duration::ZERO)).map_err(xenstore_error)?.is_some() {}
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.xs.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_directory_follows_the_convention() {
        assert_eq!(client_directory("/local/domain/0/data/vchan/3/p"), Some("/local/domain/0/data/vchan/3"));
        assert_eq!(client_directory("/local/domain/0/data/vchan/p"), None);
        assert_eq!(client_directory("/local/domain/0/data/qubes/3/p"), None);
    }
}
