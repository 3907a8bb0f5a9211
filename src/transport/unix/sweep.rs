//! Removing what servers leave behind: in order, or after they were killed.
//!
//! All of this is called with the root locked.

use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::dir::Dir;
use super::grants::{number, slot_of_file, SLOTS};
use super::lock::{is_free, Locked};
use super::nodes::{self, NodePath};
use super::root::LockedRoot;
use super::slot::{LOCKS, MEMORY};
use crate::{Error, Result};

/// The longest record that is read.
const LONGEST_RECORD: u64 = 1 << 20;

/// Removes everything of slots whose owner has died. Whether there was anything.
pub(super) fn sweep(locked: &LockedRoot) -> Result<bool> {
    let root = locked.dir();
    let Some(locks) = root.sub(LOCKS)? else { return Ok(false) };
    let mut swept = false;
    for name in locks.names()? {
        let Some(slot) = number(&name).filter(|&slot| slot < SLOTS && slot.to_string() == name) else {
            continue;
        };
        let Some(file) = locks.open_file(&name)? else { continue };
        match Locked::try_lock(file) {
            Err((_, Errno::EAGAIN)) => {}
            Err((_, errno)) => return Err(locks.failed("lock", &name, errno)),
            Ok(file) => {
                let published = read_record(&file)
                    .map_err(|error| Error::os(format!("read {}", locks.path_of(&name)), error))?;
                remove_slot(root, slot, &published)?;
                swept = true;
            }
        }
    }
    Ok(swept)
}

/// Removes the directories that may be empty now, the root last.
pub(super) fn prune(locked: &LockedRoot) -> Result<()> {
    locked.dir().remove_empty(MEMORY)?;
    locked.dir().remove_empty(LOCKS)?;
    locked.prune()
}

/// Removes all that a slot owns, its lock file last.
pub(super) fn remove_slot(root: &Dir, slot: u32, published: &[NodePath]) -> Result<()> {
    for path in published {
        nodes::withdraw(root, path, slot)?;
    }
    if let Some(memory) = root.sub(MEMORY)? {
        for name in memory.names()? {
            if slot_of_file(&name) == Some(slot) {
                memory.remove(&name)?;
            }
        }
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

/// What a slot's socket is called until it listens.
pub(super) fn unfinished_socket(slot: u32) -> String {
    format!("{slot}.new")
}

/// Whether `slot` has a living owner that says it publishes at `path`.
pub(super) fn is_published_by(root: &Dir, slot: u32, path: &NodePath) -> Result<bool> {
    let Some(locks) = root.sub(LOCKS)? else { return Ok(false) };
    let name = slot.to_string();
    let Some(file) = locks.open_file(&name)? else { return Ok(false) };
    let published =
        read_record(&file).map_err(|error| Error::os(format!("read {}", locks.path_of(&name)), error))?;
    if !published.contains(path) {
        return Ok(false);
    }
    is_free(&file).map(|free| !free).map_err(|errno| locks.failed("lock", &name, errno))
}

/// The text of a lock file: each path with a NUL behind it.
pub(super) fn write_record(published: &[NodePath]) -> String {
    published.iter().map(|path| format!("{}\0", path.as_str())).collect()
}

/// Reads such a text. A path that its writer was killed over, or that isn't one, is left out.
fn read_record(file: &File) -> std::io::Result<Vec<NodePath>> {
    let mut bytes = Vec::new();
    file.take(LONGEST_RECORD).read_to_end(&mut bytes)?;
    let complete = bytes.iter().rposition(|&b| b == 0).map_or(&[][..], |last| &bytes[..last]);
    let paths = complete.split(|&b| b == 0).filter_map(|path| std::str::from_utf8(path).ok());
    Ok(paths.filter(|path| path.starts_with('/')).filter_map(|path| NodePath::new(path, 0).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use crate::transport::unix::root::{Missing, Root};
    use crate::transport::Meeting;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn all_that_a_dead_slot_owned_is_removed_and_nothing_else() {
        let temp = private_dir();
        let root = Root::new(temp.path().to_str().unwrap(), false);
        let locked = root.lock(Missing::Leave).unwrap().unwrap();
        let path = NodePath::new("/local/domain/0/data/x", 0).unwrap();
        let other = NodePath::new("/local/domain/0/other", 0).unwrap();
        nodes::write(locked.dir(), &path, &Meeting { ring_ref: 1024, event_channel: "/r/1".into() }).unwrap();
        nodes::write(locked.dir(), &other, &Meeting { ring_ref: 0, event_channel: "/r/0".into() }).unwrap();
        for dir in [LOCKS, MEMORY] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        for name in ["memory/1024", "memory/1040-1025", "memory/0", "memory/2048,1025", "memory/note"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        fs::write(temp.path().join("locks/1"), write_record(&[path, other])).unwrap();
        let listeners = ["0", "1", "1.new"].map(|name| UnixListener::bind(temp.path().join(name)).unwrap());
        assert!(sweep(&locked).unwrap());
        assert!(!sweep(&locked).unwrap());
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

    #[test]
    fn a_half_written_record_is_read_as_far_as_it_goes() {
        let whole = write_record(&[NodePath::new("/a/b", 0).unwrap(), NodePath::new("/c", 0).unwrap()]);
        let read = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            read_record(&file).unwrap().iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(read(&whole), ["/a/b", "/c"]);
        assert_eq!(read(&whole[..whole.len() - 1]), ["/a/b"]);
        assert_eq!(read(""), [""; 0]);
        assert_eq!(read("relative\0/../x\0/ok\0"), ["/ok"]);
    }
}
