//! Waiting for a server to come, by [inotify](super::inotify).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::inotify::AddWatchFlags;

use super::dir::Dir;
use super::home;
use super::inotify::ChangeWaiter;
use super::nodes::NodePath;
use super::root::MEMORY;
use super::root::{Missing, Root};
use crate::transport::Watch;
use crate::{Error, Result};

/// What makes it worthwhile to look again: something appears (under its final name), or the directory goes away, so
/// that what comes after it has to be watched.
const APPEARS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// In the memory directory also this: a client that leaves says so by the times of the page's file.
const CLIENT_LEAVES: AddWatchFlags = AddWatchFlags::IN_ATTRIB;

/// Watches the root (sockets appear there) or the directory where one above it is to appear, the directories that lead to a publication, and the memory.
pub(super) struct RootWatch {
    root: Root,
    path: Option<NodePath>,
    waiter: ChangeWaiter,
}

impl RootWatch {
    /// Watches nothing before it is renewed.
    pub(super) fn new(root: Root, path: Option<NodePath>) -> Result<RootWatch> {
        Ok(RootWatch { root, path, waiter: ChangeWaiter::new()? })
    }

    fn add(&mut self, dir: &Dir, what: AddWatchFlags) -> Result<()> {
        match self.waiter.watch(dir, what)? {
            // Gone since it was opened: the directory above it, watched before, tells.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed(dir.path(), errno)),
        }
    }

    /// Whether a directory above the root is missing, for which there is a watch then. Only the root itself is made.
    fn awaits_parent(&mut self) -> Result<bool> {
        while let Some(brink) = home::brink(self.root.path()) {
            let watched = self.waiter.watch_path(brink, APPEARS)?;
            // Only from now on nothing can appear unseen there.
            if home::brink(self.root.path()) == Some(brink) {
                return watched.map(|()| true).map_err(|errno| failed(brink, errno));
            }
        }
        Ok(false)
    }

    /// Puts a watch on each directory before looking into it, so that nothing can appear unseen in between.
    fn scan(&mut self) -> Result<()> {
        let opened = loop {
            if self.awaits_parent()? {
                return Ok(());
            }
            // A waiting client needs something that it can watch, so it makes the root.
            match self.root.open(Missing::Create) {
                Err(_) if home::brink(self.root.path()).is_some() => {}
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
        self.waiter.reset().map_err(|errno| Error::os("read the inotify events", errno))?;
        self.scan()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.waiter.fd()
    }
}

impl Drop for RootWatch {
    fn drop(&mut self) {
        // An empty default root that stays behind does no harm; the next server's end removes it.
        if let Ok(Some(locked)) = self.root.hurried().lock(Missing::Leave) {
            let _ = locked.prune();
        }
    }
}
