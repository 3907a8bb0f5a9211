//! The root directory of the Unix transport, and its lock.

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

/// How long to wait for the root's lock. Its holders need some milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for work that a later server can do instead.
const SHORT_LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// The path of a root, and whether the directory is removed when it becomes empty.
///
/// No descriptor is kept: a root can be removed and created again, so each operation opens the path anew.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: Arc<str>,
    removable: bool,
    lock_timeout: Duration,
}

/// What to do if the root does not exist.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Missing {
    /// Create it.
    Create,
    /// Do not create it.
    Leave,
}

impl Root {
    /// The root at the absolute `path`. A `removable` one is removed when it becomes empty.
    pub(super) fn new(path: &str, removable: bool) -> Root {
        // With a trailing slash the kernel would follow a symbolic link.
        let path = match path.trim_end_matches('/') {
            "" => "/",
            trimmed => trimmed,
        };
        Root { path: path.into(), removable, lock_timeout: LOCK_TIMEOUT }
    }

    /// The same root for work that a later server can do instead: a lock held by a stopped process delays it
    /// by some milliseconds only.
    pub(super) fn with_short_timeout(&self) -> Root {
        Root { lock_timeout: SHORT_LOCK_TIMEOUT, ..self.clone() }
    }

    /// The path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is a default root, which is removed when empty.
    pub(super) fn is_removable(&self) -> bool {
        self.removable
    }

    /// Opens the directory.
    pub(super) fn open(&self, missing: Missing) -> Result<Option<Dir>> {
        let deadline = Instant::now() + self.lock_timeout;
        loop {
            if let Some(dir) = Dir::open_root(&self.path, self.removable)? {
                return Ok(Some(dir));
            }
            if missing == Missing::Leave {
                return Ok(None);
            }
            Dir::make_root(&self.path)?;
            // Another process can remove it before it is opened, but not for ever.
            if Instant::now() > deadline {
                return Err(Error::os(format!("open the directory {}", self.path), Errno::ENOENT));
            }
        }
    }

    /// Opens and locks the directory. While it is locked, no other process claims, publishes, withdraws or sweeps.
    pub(super) fn lock(&self, missing: Missing) -> Result<Option<LockedRoot>> {
        let deadline = Instant::now() + self.lock_timeout;
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

    /// Locks the root that `dir` is open on, whether or not the path still names it. `dir` must be a new open
    /// file description.
    pub(super) fn relock(&self, dir: Dir) -> Result<LockedRoot> {
        self.lock_dir(dir, Instant::now() + self.lock_timeout)
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
            self.path, self.lock_timeout, self.path
        );
        Error::os(doing, io::Error::from_raw_os_error(libc::ETIMEDOUT))
    }

    #[cfg(test)]
    pub(super) fn with_lock_timeout(mut self, timeout: Duration) -> Root {
        self.lock_timeout = timeout;
        self
    }
}

fn same_file(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// A root directory, locked until this is dropped.
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

    /// Removes the root, if it is removable and empty.
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
    fn default_root_is_created_and_removed() {
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
    fn explicit_root_is_not_removed() {
        let temp = private_dir();
        let root = root_in(&temp, false);
        root.lock(Missing::Create).unwrap().unwrap().prune().unwrap();
        assert!(temp.path().join("root").exists());
    }

    #[test]
    fn mode_of_default_root_is_repaired() {
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
    fn error_names_the_missing_parent_of_a_root() {
        let temp = private_dir();
        let root = Root::new(temp.path().join("no/root").to_str().unwrap(), true);
        let text = root.open(Missing::Create).unwrap_err().to_string();
        let missing = format!("the directory {} does not exist", temp.path().join("no").display());
        assert!(text.contains("no/root (") && text.contains(&missing) && text.contains("XEN_ROOT"), "{text}");
    }

    #[test]
    fn lock_excludes_and_times_out() {
        let temp = private_dir();
        let root = root_in(&temp, true).with_lock_timeout(Duration::from_millis(50));
        let locked = root.lock(Missing::Create).unwrap();
        let error = root.lock(Missing::Leave).err().unwrap();
        assert_eq!(error.errno(), libc::ETIMEDOUT);
        assert!(error.to_string().contains("fuser"), "{error}");
        drop(locked);
        assert!(root.lock(Missing::Leave).unwrap().is_some());
    }

    #[test]
    fn root_replaced_while_waiting_is_reopened() {
        let temp = private_dir();
        let root = root_in(&temp, true);
        let first = root.lock(Missing::Create).unwrap().unwrap();
        let waiter = std::thread::spawn({
            let root = root.clone();
            move || root.lock(Missing::Create).unwrap().unwrap().dir().stat().unwrap().st_nlink
        });
        first.prune().unwrap();
        drop(first);
        assert!(waiter.join().unwrap() > 0, "the waiting thread got the removed directory");
    }
}
