//! The root directory, under which everything of the Unix transport lives, and its lock.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{lstat, FileStat};

use super::dir::Dir;
use super::lock::Locked;
use crate::{Error, Result};

/// The directory of the lock files, in the root.
pub(super) const LOCKS: &str = "locks";
/// The directory of the memory files, in the root.
pub(super) const MEMORY: &str = "memory";

/// How long the root's lock is waited for. Its holders need some milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it is waited for by what can be left to a later server.
const BRIEFLY: Duration = Duration::from_millis(50);

/// Which directory, and whether it goes away again when it became empty.
///
/// No descriptor is kept: a root may come and go, so each operation opens what the path names at that moment.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: Arc<str>,
    removable: bool,
    patience: Duration,
}

/// What to do about a root that doesn't exist.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Missing {
    /// Make it.
    Create,
    /// Leave it so.
    Leave,
}

impl Root {
    /// The root at `path`, which is absolute. A `removable` one is removed when it became empty.
    pub(super) fn new(path: &str, removable: bool) -> Root {
        // A slash at the end would make the system follow a symbolic link.
        let path = match path.trim_end_matches('/') {
            "" => "/",
            trimmed => trimmed,
        };
        Root { path: path.into(), removable, patience: LOCK_TIMEOUT }
    }

    /// The same root for work that can be left to a later server: a lock held by a stopped process blocks that for some
    /// milliseconds only.
    pub(super) fn hurried(&self) -> Root {
        Root { patience: BRIEFLY, ..self.clone() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is one of the default roots, which come and go.
    pub(super) fn is_removable(&self) -> bool {
        self.removable
    }

    /// Opens the directory.
    pub(super) fn open(&self, missing: Missing) -> Result<Option<Dir>> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(dir) = Dir::open_root(&self.path, self.removable)? {
                return Ok(Some(dir));
            }
            if missing == Missing::Leave {
                return Ok(None);
            }
            Dir::make_root(&self.path)?;
            // Somebody may remove it before we have opened it; not for ever, though.
            if Instant::now() > deadline {
                return Err(Error::os(format!("open the directory {}", self.path), Errno::ENOENT));
            }
        }
    }

    /// Opens and locks the directory. While it is locked, no other process claims, publishes, withdraws or sweeps.
    pub(super) fn lock(&self, missing: Missing) -> Result<Option<LockedRoot>> {
        let deadline = Instant::now() + self.patience;
        loop {
            let Some(dir) = self.open(missing)? else { return Ok(None) };
            let locked = self.lock_dir(dir, deadline)?;
            if locked.in_place {
                return Ok(Some(locked));
            }
            if Instant::now() > deadline {
                return Err(self.busy());
            }
        }
    }

    /// Locks the root that `dir` is open on, whether or not the path still names it. Nobody else has that descriptor.
    pub(super) fn relock(&self, dir: Dir) -> Result<LockedRoot> {
        self.lock_dir(dir, Instant::now() + self.patience)
    }

    fn lock_dir(&self, dir: Dir, deadline: Instant) -> Result<LockedRoot> {
        let mut fd = dir
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Error::os(format!("lock the directory {}", self.path), error))?;
        let mut pause = Duration::from_micros(100);
        let lock = loop {
            match Locked::try_lock(fd) {
                Ok(lock) => break lock,
                Err((_, Errno::EAGAIN)) if Instant::now() > deadline => return Err(self.busy()),
                Err((again, Errno::EAGAIN)) => {
                    fd = again;
                    sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err((_, errno)) => return Err(Error::os(format!("lock the directory {}", self.path), errno)),
            }
        };
        let in_place =
            lstat(&*self.path).is_ok_and(|found| dir.stat().is_ok_and(|held| same_file(&found, &held)));
        Ok(LockedRoot { dir, root: self.clone(), in_place, _lock: lock })
    }

    fn busy(&self) -> Error {
        let doing = format!(
            "lock the directory {} (another process has held the lock for {:?}; `fuser {}` names it)",
            self.path, self.patience, self.path
        );
        Error::os(doing, io::Error::from_raw_os_error(libc::ETIMEDOUT))
    }

    #[cfg(test)]
    pub(super) fn with_patience(mut self, patience: Duration) -> Root {
        self.patience = patience;
        self
    }
}

fn same_file(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// A root directory that is ours until this is dropped.
pub(super) struct LockedRoot {
    dir: Dir,
    root: Root,
    in_place: bool,
    _lock: Locked<OwnedFd>,
}

impl LockedRoot {
    /// The directory.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes the root, if it is a removable one and empty.
    pub(super) fn prune(&self) -> Result<()> {
        if !self.root.removable || !self.in_place {
            return Ok(());
        }
        match std::fs::remove_dir(self.root.path()) {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST | libc::ENOENT)) =>
            {
                Ok(())
            }
            Err(error) => Err(Error::os(format!("remove the directory {}", self.root.path()), error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;

    fn root_in(temp: &tempfile::TempDir, removable: bool) -> Root {
        Root::new(temp.path().join("root").to_str().unwrap(), removable)
    }

    #[test]
    fn a_default_root_comes_and_goes() {
        let temp = private_dir();
        let root = root_in(&temp, true);
        assert!(root.lock(Missing::Leave).unwrap().is_none());
        let locked = root.lock(Missing::Create).unwrap().unwrap();
        locked.dir().create("file").unwrap();
        locked.prune().unwrap();
        assert!(temp.path().join("root").exists());
        locked.dir().remove("file").unwrap();
        locked.prune().unwrap();
        assert!(!temp.path().join("root").exists());
    }

    #[test]
    fn a_given_root_stays() {
        let temp = private_dir();
        let root = root_in(&temp, false);
        root.lock(Missing::Create).unwrap().unwrap().prune().unwrap();
        assert!(temp.path().join("root").exists());
    }

    #[test]
    fn a_default_root_that_its_owner_can_t_use_is_mended() {
        use std::os::unix::fs::PermissionsExt;
        for (removable, after) in [(true, 0o700), (false, 0o500)] {
            let temp = private_dir();
            let path = temp.path().join("root");
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o500)).unwrap();
            assert!(root_in(&temp, removable).open(Missing::Leave).unwrap().is_some());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, after);
        }
    }

    #[test]
    fn a_root_without_a_parent_is_an_error_that_names_it() {
        let temp = private_dir();
        let root = Root::new(temp.path().join("no/root").to_str().unwrap(), true);
        let text = root.open(Missing::Create).unwrap_err().to_string();
        let missing = format!("the directory {} does not exist", temp.path().join("no").display());
        assert!(text.contains("no/root (") && text.contains(&missing) && text.contains("XEN_ROOT"), "{text}");
    }

    #[test]
    fn the_lock_excludes_and_is_waited_for_only_so_long() {
        let temp = private_dir();
        let root = root_in(&temp, true).with_patience(Duration::from_millis(50));
        let locked = root.lock(Missing::Create).unwrap();
        let error = root.lock(Missing::Leave).err().unwrap();
        assert_eq!(error.errno(), libc::ETIMEDOUT);
        assert!(error.to_string().contains("fuser"), "{error}");
        drop(locked);
        assert!(root.lock(Missing::Leave).unwrap().is_some());
    }

    #[test]
    fn a_root_that_was_replaced_while_waiting_is_opened_again() {
        let temp = private_dir();
        let root = root_in(&temp, true);
        let first = root.lock(Missing::Create).unwrap().unwrap();
        let waiter = std::thread::spawn({
            let root = root.clone();
            move || root.lock(Missing::Create).unwrap().unwrap().dir().stat().unwrap().st_nlink
        });
        first.prune().unwrap();
        drop(first);
        assert!(waiter.join().unwrap() > 0, "the waiter got the removed directory");
    }
}
