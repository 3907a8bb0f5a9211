//! Waiting for a server to come, by [inotify](super::inotify).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::inotify::AddWatchFlags;

use super::dir::Dir;
use super::inotify::Waiter;
use super::nodes::NodePath;
use super::root::{Missing, Root};
use super::slot::MEMORY;
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

/// Watches the root (sockets appear there), the directories that lead to a publication, and the memory.
pub(super) struct RootWatch {
    root: Root,
    path: Option<NodePath>,
    waiter: Waiter,
}

impl RootWatch {
    /// Watches nothing before it is renewed.
    pub(super) fn new(root: Root, path: Option<NodePath>) -> Result<RootWatch> {
        Ok(RootWatch { root, path, waiter: Waiter::new()? })
    }

    fn add(&mut self, dir: &Dir, what: AddWatchFlags) -> Result<()> {
        match self.waiter.watch(dir, what)? {
            // Gone since it was opened: the directory above it, watched before, tells.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::os(
                format!("watch {} by inotify (is fs.inotify.max_user_watches too low?)", dir.path()),
                errno,
            )),
        }
    }

    /// Puts a watch on each directory before looking into it, so that nothing can appear unseen in between.
    fn scan(&mut self) -> Result<()> {
        // A waiting client needs something that it can watch, so it makes the root.
        let Some(mut dir) = self.root.open(Missing::Create)? else { return Ok(()) };
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

impl Watch for RootWatch {
    fn renew(&mut self) -> Result<()> {
        self.waiter.forget().map_err(|errno| Error::os("read the inotify events", errno))?;
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
