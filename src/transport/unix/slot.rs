//! A server's slot: a number that no other living server on the root has, and everything that hangs on it.
//!
//! Slot *k* owns the grant numbers from 1024 *k* on, the socket `<root>/<k>` and the lock file `<root>/locks/<k>`,
//! locked for as long as the server lives. The first server on a root has slot 0 and with it the numbers and names
//! which the historical program uses.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::readlink;

use super::dir::Dir;
use super::fsize::without_signal;
use super::grants::{self, PER_SLOT, SLOTS};
use super::lock::Locked;
use super::nodes::NodePath;
use super::record::{Owner, Record};
use super::root::{LockedRoot, Missing, Root};
use super::socket::by_descriptor;
use super::sweep;
use crate::{Error, Result};

/// The directory of the lock files.
pub(super) const LOCKS: &str = "locks";
/// The directory of the memory files.
pub(super) const MEMORY: &str = "memory";

/// A claimed slot, given up when dropped.
pub(super) struct Slot {
    number: u32,
    root: Root,
    /// The locked lock file. It says where the slot has published, for whoever sweeps up after us. And it tells which
    /// directory is the root of this slot: the one in which it is.
    lock: Locked<File>,
    record: Mutex<Record>,
    allotted: AtomicU32,
}

impl Slot {
    /// Claims the first slot of the root that is free, after sweeping up what killed servers left.
    pub(super) fn claim(root: &Root) -> Result<Slot> {
        let Some(locked) = root.lock(Missing::Create)? else {
            return Err(Error::os(format!("open the directory {}", root.path()), Errno::ENOENT));
        };
        sweep::sweep(&locked)?;
        Slot::claim_in(root, &locked).inspect_err(|_| {
            // The error in hand matters more than an empty directory that could not be removed.
            let _ = sweep::prune(&locked);
        })
    }

    fn claim_in(root: &Root, locked: &LockedRoot) -> Result<Slot> {
        let locks = locked.dir().make_sub(LOCKS)?;
        let number = first_free(locked.dir(), &locks)?;
        let name = number.to_string();
        let file = locks.create(&name)?;
        let lock = Locked::try_lock(file).map_err(|(_, errno)| {
            let _ = locks.remove(&name);
            locks.failed("lock", &name, errno)
        })?;
        Ok(Slot {
            number,
            root: root.clone(),
            lock,
            record: Mutex::new(Record { owner: Owner::own(), ..Record::default() }),
            allotted: AtomicU32::new(0),
        })
    }

    /// The slot's number.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The path of the root, as it was when the slot was claimed.
    pub(super) fn root_path(&self) -> &str {
        self.root.path()
    }

    /// The root directory in which the slot was claimed, wherever it is now. `None` where it has been removed, or can't be
    /// reached. It is opened each time: a descriptor for each server would be dear in programs with many of them.
    pub(super) fn dir(&self) -> Result<Option<Dir>> {
        let own = format!("{LOCKS}/{}", self.number);
        let moved = || {
            let now = readlink(by_descriptor(&*self.lock).as_str()).ok()?.into_string().ok()?;
            now.strip_suffix(&own)?.strip_suffix('/').map(str::to_owned)
        };
        let in_place = Dir::reopen_root(self.root.path())?.filter(|dir| dir.names_file(&own, &self.lock));
        if in_place.is_some() {
            return Ok(in_place);
        }
        let Some(path) = moved() else { return Ok(None) };
        Ok(Dir::reopen_root(&path)?.filter(|dir| dir.names_file(&own, &self.lock)))
    }

    /// As [`dir`](Self::dir), for what can't be done without it.
    pub(super) fn existing_dir(&self) -> Result<Dir> {
        let gone = || Error::os(format!("find the directory {} again", self.root.path()), Errno::ENOENT);
        self.dir()?.ok_or_else(gone)
    }

    /// Locks that directory.
    pub(super) fn lock_root(&self) -> Result<LockedRoot> {
        self.root.relock(self.existing_dir()?)
    }

    /// The name of the slot's socket in the root.
    pub(super) fn socket_name(&self) -> String {
        self.number.to_string()
    }

    /// The path of the slot's socket, as published.
    pub(super) fn socket_path(&self) -> String {
        format!("{}/{}", self.root.path(), self.number)
    }

    /// The next `pages` grant numbers. They descend, as in the historical program.
    pub(super) fn allot(&self, pages: usize) -> Result<Vec<u32>> {
        let wanted = u32::try_from(pages).unwrap_or(u32::MAX);
        let end = |taken: u32| taken.checked_add(wanted).filter(|&end| wanted > 0 && end <= PER_SLOT);
        let taken =
            self.allotted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end).map_err(|taken| {
                let left = PER_SLOT - taken;
                Error::Invalid(format!(
                    "{pages} pages can't be shared: the channel has {left} of {PER_SLOT} left"
                ))
            })?;
        let first = self.number * PER_SLOT + taken;
        Ok((first..first + wanted).rev().collect())
    }

    /// Writes down that the slot publishes at `path`, before it does. With the root locked.
    pub(super) fn note_published(&self, path: &NodePath) -> Result<()> {
        self.update_record(|record| record.published.push(path.clone()))
    }

    /// Writes down that it no longer does. With the root locked.
    pub(super) fn note_withdrawn(&self, path: &NodePath) -> Result<()> {
        self.update_record(|record| record.published.retain(|other| other != path))
    }

    /// Writes down whether the server takes one client after the other.
    pub(super) fn note_many(&self, many: bool) -> Result<()> {
        let noted = self.record.lock().unwrap_or_else(PoisonError::into_inner).many;
        if noted == many {
            return Ok(());
        }
        self.update_record(|record| record.many = many)
    }

    fn update_record(&self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut record);
        let text = record.text();
        without_signal(|| self.lock.write_all_at(text.as_bytes(), 0))
            .and_then(|()| self.lock.set_len(text.len() as u64))
            .map_err(|error| Error::os(format!("write {}/{LOCKS}/{}", self.root.path(), self.number), error))
    }

    fn release(&self) -> Result<()> {
        let locked = self.lock_root()?;
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        sweep::remove_slot(locked.dir(), self.number, &record.published)?;
        sweep::prune(&locked)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // What can't be removed now is swept up by whoever opens the root next, as the lock ends with us.
        let _ = self.release();
    }
}

/// The first slot number nothing of which is in use. A memory file or a socket without a lock file belongs to a
/// historical program, which locks nothing.
fn first_free(root: &Dir, locks: &Dir) -> Result<u32> {
    let mut taken: Vec<u32> = locks.names()?.iter().filter_map(|name| grants::number(name)).collect();
    taken.extend(root.names()?.iter().filter_map(|name| grants::number(name)));
    if let Some(memory) = root.sub(MEMORY)? {
        for name in memory.names()? {
            taken.extend(grants::grants_in(&name).flatten().map(grants::slot_of));
        }
    }
    (0..SLOTS)
        .find(|number| !taken.contains(number))
        .ok_or_else(|| Error::os(format!("claim one of the {SLOTS} slots of {}", root.path()), Errno::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use std::fs;

    fn given_root(temp: &tempfile::TempDir) -> Root {
        Root::new(temp.path().to_str().unwrap(), false)
    }

    #[test]
    fn servers_at_once_have_slots_of_their_own() {
        let temp = private_dir();
        let root = given_root(&temp);
        let first = Slot::claim(&root).unwrap();
        let second = Slot::claim(&root).unwrap();
        assert_eq!((first.number(), second.number()), (0, 1));
        assert_eq!(first.allot(1).unwrap(), [0]);
        assert_eq!(first.allot(2).unwrap(), [2, 1]);
        assert_eq!(second.allot(2).unwrap(), [1025, 1024]);
        drop(first);
        assert_eq!(Slot::claim(&root).unwrap().number(), 0);
        drop(second);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_slot_has_only_so_many_pages() {
        let temp = private_dir();
        let slot = Slot::claim(&given_root(&temp)).unwrap();
        assert!(matches!(slot.allot(0), Err(Error::Invalid(_))));
        assert_eq!(slot.allot(1024).unwrap().len(), 1024);
        assert!(matches!(slot.allot(1), Err(Error::Invalid(_))));
        assert!(matches!(slot.allot(usize::MAX), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_root_that_was_moved_is_found_again() {
        let temp = private_dir();
        let (before, after) = (temp.path().join("before"), temp.path().join("after"));
        let slot = Slot::claim(&Root::new(before.to_str().unwrap(), false)).unwrap();
        fs::rename(&before, &after).unwrap();
        // Another server has the same number in what stands in its place now.
        let other = Slot::claim(&Root::new(before.to_str().unwrap(), false)).unwrap();
        assert_eq!(slot.existing_dir().unwrap().path(), after.to_str().unwrap());
        drop(slot);
        assert!(!after.join("locks").exists() && before.join("locks/0").exists());
        drop(other);
        assert!(!before.join("locks").exists());
    }

    #[test]
    fn a_root_that_was_removed_is_not_mistaken_for_the_next() {
        let temp = private_dir();
        let path = temp.path().join("root");
        let slot = Slot::claim(&Root::new(path.to_str().unwrap(), false)).unwrap();
        fs::remove_dir_all(&path).unwrap();
        let other = Slot::claim(&Root::new(path.to_str().unwrap(), false)).unwrap();
        assert!(slot.dir().unwrap().is_none());
        drop(slot);
        assert!(path.join("locks/0").exists());
        drop(other);
    }

    #[test]
    fn what_a_historical_program_uses_is_left_alone() {
        let temp = private_dir();
        fs::create_dir(temp.path().join("memory")).unwrap();
        fs::write(temp.path().join("memory/2,1"), "foreign").unwrap();
        fs::write(temp.path().join("1"), "foreign").unwrap();
        let slot = Slot::claim(&given_root(&temp)).unwrap();
        assert_eq!(slot.number(), 2);
        drop(slot);
        assert_eq!(fs::read(temp.path().join("memory/2,1")).unwrap(), b"foreign");
        assert_eq!(fs::read(temp.path().join("1")).unwrap(), b"foreign");
        assert!(!temp.path().join("locks").exists());
    }

    #[test]
    fn many_threads_claim_and_release_without_meeting() {
        let temp = private_dir();
        let root = Root::new(temp.path().join("root").to_str().unwrap(), true);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let slot = Slot::claim(&root).unwrap();
                        let dir = slot.existing_dir().unwrap();
                        dir.create(&format!("x{}", slot.number())).expect("the slot is ours alone");
                        dir.remove(&format!("x{}", slot.number())).unwrap();
                    }
                });
            }
        });
        assert!(!temp.path().join("root").exists());
    }
}
