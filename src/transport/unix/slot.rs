//! A server's slot: a number that no other living server on the root has, and everything that belongs to it.
//!
//! Slot *k* owns the grant numbers from 1024 *k* on, the socket `<root>/<k>` and the lock file
//! `<root>/locks/<k>`, which is locked while the server lives. The first server on a root has slot 0 and with
//! it the numbers and names of the historical program.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sys::stat::fstat;

use super::descriptor::by_descriptor;
use super::dir::Dir;
use super::grants::{file_name, PER_SLOT, SLOTS};
use super::lock::Locked;
use super::nodes::NodePath;
use super::record::{Owner, Record};
use super::root::{LockedRoot, Missing, Root, LOCKS, MEMORY};
use super::size_limit::without_signal;
use super::sweep;
use crate::{Error, Result};

/// The largest ring has two to the power of this pages.
const LARGEST_RING: u32 = 8;

/// The name of a lock file until it is locked.
const UNFINISHED_LOCK: &str = "new";

/// A claimed slot, released when dropped.
pub(super) struct Slot {
    number: u32,
    root: Root,
    /// The locked lock file. It contains where the slot has published, for the sweep after a crash. Its
    /// directory identifies the root of this slot.
    lock: Locked<File>,
    record: Mutex<Record>,
    allotted: AtomicU32,
    memory_left: AtomicBool,
}

impl Slot {
    /// Claims a free slot of the root; on an unused root the first one. The cost is logarithmic in the number
    /// of slots.
    pub(super) fn claim(root: &Root) -> Result<Slot> {
        let Some(locked) = root.lock(Missing::Create)? else {
            return Err(Error::os(format!("open the directory {}", root.path()), Errno::ENOENT));
        };
        Slot::claim_in(root, &locked).inspect_err(|_| {
            // The first error matters more than an empty directory that remains.
            let _ = sweep::prune(&locked);
        })
    }

    fn claim_in(root: &Root, locked: &LockedRoot) -> Result<Slot> {
        let locks = locked.dir().make_sub(LOCKS)?;
        sweep::sweep_some(locked.dir(), &locks)?;
        let number = free_slot(locked.dir(), &locks)?;
        let name = number.to_string();
        // A client can look at the file at any moment, so it gets its name after it is locked.
        locks.remove(UNFINISHED_LOCK)?;
        let file = locks.create(UNFINISHED_LOCK)?;
        let lock = Locked::try_lock(file)
            .map_err(|(_, errno)| locks.failed("lock", UNFINISHED_LOCK, errno))
            .and_then(|lock| locks.rename(UNFINISHED_LOCK, &name).map(|()| lock))
            .inspect_err(|_| {
                let _ = locks.remove(UNFINISHED_LOCK);
            })?;
        Ok(Slot {
            number,
            root: root.clone(),
            lock,
            record: Mutex::new(Record { owner: Owner::own(), ..Record::default() }),
            allotted: AtomicU32::new(0),
            memory_left: AtomicBool::new(false),
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

    /// The root directory in which the slot was claimed, wherever it is now. `None` if it was removed or
    /// cannot be reached. It is opened each time: one descriptor per server would be expensive in programs
    /// with many servers.
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

    /// As [`dir`](Self::dir), but an error instead of `None`.
    pub(super) fn existing_dir(&self) -> Result<Dir> {
        let gone = || Error::os(format!("find the root directory {} again", self.root.path()), Errno::ENOENT);
        self.dir()?.ok_or_else(gone)
    }

    /// Whether it is certain that no client can find the slot any more: its lock file or its socket was
    /// removed. A root that cannot be reached from here can still be visible to others.
    pub(super) fn is_lost(&self) -> bool {
        let is_removed = || fstat(&*self.lock).is_ok_and(|lock| lock.st_nlink == 0);
        let has_socket = |dir: Dir| dir.has_entry(&self.socket_name()).unwrap_or(true);
        is_removed()
            || match self.dir() {
                Ok(Some(dir)) => !has_socket(dir),
                // The lock file may have been removed since the first check.
                _ => is_removed(),
            }
    }

    /// Locks that directory.
    pub(super) fn lock_root(&self) -> Result<LockedRoot> {
        self.root.relock(self.existing_dir()?)
    }

    /// As [`lock_root`](Self::lock_root), for work that the next sweep of the slot can do instead.
    pub(super) fn lock_root_briefly(&self) -> Result<LockedRoot> {
        self.root.with_short_timeout().relock(self.existing_dir()?)
    }

    /// Records that a memory file could not be removed, so that releasing the slot looks for it.
    pub(super) fn note_memory_left(&self) {
        self.memory_left.store(true, Ordering::Relaxed);
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
                    "cannot share {pages} pages: the channel has {left} of {PER_SLOT} left"
                ))
            })?;
        let first = self.number * PER_SLOT + taken;
        Ok((first..first + wanted).rev().collect())
    }

    /// Records that the slot publishes at `path`, before it does. With the root locked.
    pub(super) fn note_published(&self, path: &NodePath) -> Result<()> {
        self.update_record(|record| record.published.push(path.clone()))
    }

    /// Records that it no longer does. With the root locked.
    pub(super) fn note_withdrawn(&self, path: &NodePath) -> Result<()> {
        self.update_record(|record| record.published.retain(|other| other != path))
    }

    /// Records whether the server takes one client after another.
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
        let locked = self.lock_root_briefly()?;
        if self.memory_left.load(Ordering::Relaxed) {
            sweep::remove_memory(locked.dir(), self.number)?;
        }
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        sweep::remove_slot(locked.dir(), self.number, &record.published)?;
        sweep::prune(&locked)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // What cannot be removed now is removed by a later sweep, as the lock ends with this process.
        let _ = self.release();
    }
}

/// The number of an unused slot.
fn free_slot(root: &Dir, locks: &Dir) -> Result<u32> {
    let memory = root.sub(MEMORY)?;
    let mut from = 0;
    loop {
        let slot = unlocked_from(root, locks, from)?;
        if slot == SLOTS {
            let doing = format!("claim one of the {SLOTS} slots of {}", root.path());
            return Err(Error::os(doing, Errno::EAGAIN));
        }
        if !is_historical(root, memory.as_ref(), slot)? {
            return Ok(slot);
        }
        from = slot + 1;
    }
}

/// A slot from `from` on that no living server of ours has, or `SLOTS`. Exponential, then binary search for
/// the end of the slots in use. Dead slots on the way are swept.
fn unlocked_from(root: &Dir, locks: &Dir, from: u32) -> Result<u32> {
    let taken = |slot: u32| Ok::<_, Error>(slot < SLOTS && sweep::is_alive(root, locks, slot)?);
    if !taken(from)? {
        return Ok(from);
    }
    let (mut low, mut step) = (from, 1_u32);
    let mut high = loop {
        let next = from.saturating_add(step).min(SLOTS);
        if !taken(next)? {
            break next;
        }
        (low, step) = (next, step.saturating_mul(2));
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if taken(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

/// Whether a slot without a lock file has a socket or a memory file under the names that a server in it uses.
/// They belong to a historical program, which locks nothing.
fn is_historical(root: &Dir, memory: Option<&Dir>, slot: u32) -> Result<bool> {
    if root.kind(&slot.to_string())?.is_some() {
        return Ok(true);
    }
    let Some(memory) = memory else { return Ok(false) };
    let page = slot * PER_SLOT;
    let rings = (0..=LARGEST_RING).map(|order| (page + 1..=page + (1 << order)).rev().collect());
    for grants in std::iter::once(vec![page]).chain(rings) {
        if memory.kind(&file_name(&grants))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
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
    fn pages_per_slot_are_limited() {
        let temp = private_dir();
        let slot = Slot::claim(&given_root(&temp)).unwrap();
        assert!(matches!(slot.allot(0), Err(Error::Invalid(_))));
        assert_eq!(slot.allot(1024).unwrap().len(), 1024);
        assert!(matches!(slot.allot(1), Err(Error::Invalid(_))));
        assert!(matches!(slot.allot(usize::MAX), Err(Error::Invalid(_))));
    }

    #[test]
    fn moved_root_is_found_again() {
        let temp = private_dir();
        let (before, after) = (temp.path().join("before"), temp.path().join("after"));
        let slot = Slot::claim(&Root::new(before.to_str().unwrap(), false)).unwrap();
        fs::rename(&before, &after).unwrap();
        // Another server has the same slot in the new directory at the old path.
        let other = Slot::claim(&Root::new(before.to_str().unwrap(), false)).unwrap();
        assert_eq!(slot.existing_dir().unwrap().path(), after.to_str().unwrap());
        drop(slot);
        assert!(!after.join("locks").exists() && before.join("locks/0").exists());
        drop(other);
        assert!(!before.join("locks").exists());
    }

    #[test]
    fn removed_root_is_not_mistaken_for_its_successor() {
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
    fn files_of_a_historical_program_are_left_alone() {
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
