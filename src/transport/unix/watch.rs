//! Waiting for a server to appear, by [inotify](super::inotify).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::inotify::AddWatchFlags;

use super::default_root;
use super::dir::Dir;
use super::inotify::ChangeWatcher;
use super::nodes::NodePath;
use super::root::MEMORY;
use super::root::{Missing, Root};
use crate::transport::Watch;
use crate::{Error, Result};

/// Reasons to look again: an entry appears (under its final name), or the directory goes away, so that its
/// successor has to be watched.
const APPEARS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// In the memory directory also attribute changes: a client that leaves updates the times of the page's file.
const CLIENT_LEAVES: AddWatchFlags = AddWatchFlags::IN_ATTRIB;

/// Watches the root, where sockets appear (or the directory where a missing parent of the root will appear),
/// the directories that lead to a publication, and the memory directory.
pub(super) struct RootWatch {
    root: Root,
    path: Option<NodePath>,
    watcher: ChangeWatcher,
}

impl RootWatch {
    /// Watches nothing until [`renew`](Watch::renew) is called.
    pub(super) fn new(root: Root, path: Option<NodePath>) -> Result<RootWatch> {
        Ok(RootWatch { root, path, watcher: ChangeWatcher::new()? })
    }

    fn add(&mut self, dir: &Dir, what: AddWatchFlags) -> Result<()> {
        match self.watcher.watch(dir, what)? {
            // Removed since it was opened: its parent directory, watched before, reports that.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed(dir.path(), errno)),
        }
    }

    /// Whether a parent directory of the root is missing; then a watch for it was added. Only the root itself
    /// is created.
    fn awaits_parent(&mut self) -> Result<bool> {
        while let Some(parent) = default_root::nearest_existing_parent(self.root.path()) {
            let watched = self.watcher.watch_path(parent, APPEARS)?;
            // Only if it is still the same, nothing can have appeared unseen before the watch.
            if default_root::nearest_existing_parent(self.root.path()) == Some(parent) {
                return watched.map(|()| true).map_err(|errno| failed(parent, errno));
            }
        }
        Ok(false)
    }

    /// Watches each directory before looking into it, so that nothing can appear unseen in between.
    fn scan(&mut self) -> Result<()> {
        let opened = loop {
            if self.awaits_parent()? {
                return Ok(());
            }
            // A waiting client needs a directory to watch, so it creates the root.
            match self.root.open(Missing::Create) {
                Err(_) if default_root::nearest_existing_parent(self.root.path()).is_some() => {}
                opened => break opened?,
            }
        };
        let Some(mut dir) = opened else { return Ok(()) };
        self.add(&dir, APPEARS)?;
        if let Some(memory) = dir.sub(MEMORY)? {
            self.add(&memory, APPEARS | CLIENT_LEAVES)?;
        }
        let path = self.path.clone();
        for component in path.iter().flat_map(NodePath::components) {
            let Some(next) = dir.sub(component)? else { break };
            self.add(&next, APPEARS)?;
            dir = next;
        }
        Ok(())
    }
}

fn failed(path: &str, errno: Errno) -> Error {
    Error::os(format!("watch {path} by inotify (is fs.inotify.max_user_watches too low?)"), errno)
}

impl Watch for RootWatch {
    fn renew(&mut self) -> Result<()> {
        self.watcher.reset().map_err(|errno| Error::os("read the inotify events", errno))?;
        self.scan()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.watcher.fd()
    }
}

impl Drop for RootWatch {
    fn drop(&mut self) {
        // A remaining empty default root is harmless; the end of the next server removes it.
        if let Ok(Some(locked)) = self.root.with_short_timeout().lock(Missing::Leave) {
            let _ = locked.prune();
        }
    }
}
