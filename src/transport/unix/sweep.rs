//! Removes the files of servers, at their end or after they were killed.
//!
//! Everything is called with the root locked, unless noted otherwise.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, Ordering};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::dir::Dir;
use super::grants::{file_name, number, slot_of, slot_of_file, SLOTS};
use super::lock::{is_free, Locked};
use super::nodes::{self, NodePath};
use super::record::Record;
use super::root::{LockedRoot, LOCKS, MEMORY};
use crate::ring::{SharedPage, WAITING};
use crate::{Error, Result};

/// Where this process continues to sweep.
static CURSOR: AtomicI64 = AtomicI64::new(0);

/// How many slots are swept at a time.
const BATCH: usize = 2;

/// Whether the slot has a living owner. If the owner has died, everything of the slot is removed.
pub(super) fn is_alive(root: &Dir, locks: &Dir, slot: u32) -> Result<bool> {
    let name = slot.to_string();
    let Some(file) = locks.open_file(&name)? else { return Ok(false) };
    match Locked::try_lock(file) {
        Err((_, Errno::EAGAIN)) => Ok(true),
        Err((_, errno)) => Err(locks.failed("lock", &name, errno)),
        Ok(file) => {
            let record = read_record(locks, &file, slot)?;
            remove_memory(root, slot)?;
            remove_slot(root, slot, &record.published)?;
            Ok(false)
        }
    }
}

/// Sweeps one slot, if its owner has died.
pub(super) fn sweep_slot(locked: &LockedRoot, slot: u32) -> Result<()> {
    if let Some(locks) = locked.dir().sub(LOCKS)? {
        is_alive(locked.dir(), &locks, slot)?;
    }
    Ok(())
}

/// Sweeps a few slots, each time the next ones: the cost for a server must not grow with the number of slots.
pub(super) fn sweep_some(root: &Dir, locks: &Dir) -> Result<()> {
    let (mut names, mut next) = locks.some_names(CURSOR.load(Ordering::Relaxed), BATCH)?;
    if names.len() < BATCH {
        // The end of the directory, or the position was one of another directory.
        let (more, after) = locks.some_names(0, BATCH - names.len())?;
        names.extend(more);
        next = after;
    }
    CURSOR.store(next, Ordering::Relaxed);
    for name in names {
        let slot = number(&name).filter(|&slot| slot < SLOTS && slot.to_string() == name);
        if let Some(slot) = slot {
            is_alive(root, locks, slot)?;
        }
    }
    Ok(())
}

/// Whether the owner of a slot has died. Needs no lock of the root.
pub(super) fn is_dead(root: &Dir, slot: u32) -> Result<bool> {
    let Some(locks) = root.sub(LOCKS)? else { return Ok(false) };
    let name = slot.to_string();
    let Some(file) = locks.open_file(&name)? else { return Ok(false) };
    is_free(&file).map_err(|errno| locks.failed("lock", &name, errno))
}

/// Removes the directories that are empty now, the root last.
pub(super) fn prune(locked: &LockedRoot) -> Result<()> {
    locked.dir().remove_empty(MEMORY)?;
    locked.dir().remove_empty(LOCKS)?;
    locked.prune()
}

/// Removes the memory files of a slot.
pub(super) fn remove_memory(root: &Dir, slot: u32) -> Result<()> {
    if let Some(memory) = root.sub(MEMORY)? {
        for name in memory.names()? {
            if slot_of_file(&name) == Some(slot) {
                memory.remove(&name)?;
            }
        }
    }
    Ok(())
}

/// Removes everything else of a slot, its lock file last.
pub(super) fn remove_slot(root: &Dir, slot: u32, published: &[NodePath]) -> Result<()> {
    for path in published {
        nodes::withdraw(root, path, slot)?;
    }
    for socket in [slot.to_string(), unfinished_socket(slot)] {
        if root.kind(&socket)? == Some(SFlag::S_IFSOCK) {
            root.remove(&socket)?;
        }
    }
    if let Some(locks) = root.sub(LOCKS)? {
        locks.remove(&slot.to_string())?;
    }
    Ok(())
}

/// The name of a slot's socket until it listens.
pub(super) fn unfinished_socket(slot: u32) -> String {
    format!("{slot}.new")
}

/// The last path that the server in a slot has published, if recorded. Needs no lock of the root.
pub(super) fn published_by(root: &Dir, slot: u32) -> Result<Option<NodePath>> {
    let Some(locks) = root.sub(LOCKS)? else { return Ok(None) };
    let Some(file) = locks.open_file(&slot.to_string())? else { return Ok(None) };
    Ok(read_record(&locks, &file, slot)?.published.pop())
}

fn read_record(locks: &Dir, file: &File, slot: u32) -> Result<Record> {
    Record::read(file).map_err(|error| Error::os(format!("read {}", locks.path_of(&slot.to_string())), error))
}

/// Whether a living server that publishes at `path` according to its record still waits there for a client.
/// `page` is the grant of its shared page. Without the root's lock, the answer can be outdated at once.
pub(super) fn waits_for_client_at(root: &Dir, page: u32, path: &NodePath) -> Result<bool> {
    let Some(locks) = root.sub(LOCKS)? else { return Ok(false) };
    let name = slot_of(page).to_string();
    let Some(file) = locks.open_file(&name)? else { return Ok(false) };
    let record = read_record(&locks, &file, slot_of(page))?;
    if !record.published.contains(path) || record.owner.is_some_and(|owner| owner.has_ended()) {
        return Ok(false);
    }
    if is_free(&file).map_err(|errno| locks.failed("lock", &name, errno))? {
        return Ok(false);
    }
    // A server that takes one client stops listening once it has seen that client.
    let listens = root.kind(&name)? == Some(SFlag::S_IFSOCK);
    Ok(listens && (record.many || !has_had_client(root, page)?))
}

/// Whether the server has had a client according to the page. `false` if the page cannot be read.
fn has_had_client(root: &Dir, page: u32) -> Result<bool> {
    let Some(memory) = root.sub(MEMORY)? else { return Ok(false) };
    let Some(file) = memory.open_file(&file_name(&[page]))? else { return Ok(false) };
    let live = |offset: usize| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset as u64).ok().map(|()| byte[0])
    };
    let (server, client) = (live(SharedPage::SRV_LIVE_OFFSET), live(SharedPage::CLI_LIVE_OFFSET));
    Ok(server.is_some_and(|live| live != 0) && client.is_some_and(|live| live != WAITING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use crate::transport::unix::root::{Missing, Root};
    use crate::transport::Rendezvous;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sweep_removes_everything_of_a_dead_slot_and_nothing_else() {
        let temp = private_dir();
        let root = Root::new(temp.path().to_str().unwrap(), false);
        let locked = root.lock(Missing::Leave).unwrap().unwrap();
        let path = NodePath::new("/local/domain/0/data/x", 0).unwrap();
        let other = NodePath::new("/local/domain/0/other", 0).unwrap();
        nodes::write(locked.dir(), &path, &Rendezvous { ring_ref: 1024, event_channel: "/r/1".into() })
            .unwrap();
        nodes::write(locked.dir(), &other, &Rendezvous { ring_ref: 0, event_channel: "/r/0".into() })
            .unwrap();
        for dir in [LOCKS, MEMORY] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        for name in ["memory/1024", "memory/1040-1025", "memory/0", "memory/2048,1025", "memory/note"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        fs::write(
            temp.path().join("locks/1"),
            Record { published: vec![path, other], ..Record::default() }.text(),
        )
        .unwrap();
        let listeners = ["0", "1", "1.new"].map(|name| UnixListener::bind(temp.path().join(name)).unwrap());
        assert!(is_dead(locked.dir(), 1).unwrap());
        sweep_slot(&locked, 1).unwrap();
        assert!(!is_dead(locked.dir(), 1).unwrap());
        prune(&locked).unwrap();
        drop(listeners);
        let mut left = locked.dir().names().unwrap();
        left.sort();
        assert_eq!(left, ["0", "local", "memory"]);
        let mut memory = locked.dir().sub(MEMORY).unwrap().unwrap().names().unwrap();
        memory.sort();
        assert_eq!(memory, ["0", "2048,1025", "note"]);
        assert!(temp.path().join("local/domain/0/other/ring-ref").exists());
        assert!(!temp.path().join("local/domain/0/data").exists());
    }
}
