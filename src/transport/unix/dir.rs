//! An open directory. Everything below it is reached through its descriptor, never through a path that can
//! change in the meantime.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{open, openat, renameat, AtFlags, OFlag, AT_FDCWD};
use nix::sys::stat::{fstat, fstatat, mkdirat, FileStat, Mode, SFlag};
use nix::unistd::{geteuid, linkat, mkdir, unlinkat, UnlinkatFlags};

use super::{default_root, listing, mode};
use crate::{Error, Result};

/// Opens the directory itself, not the target of a symbolic link.
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The role of a directory in the transport.
#[derive(Clone, Copy, PartialEq)]
enum DirKind {
    /// A root that this transport creates.
    DefaultRoot,
    /// A root that the user has chosen and may use for other things, too.
    GivenRoot,
    /// A directory below a root.
    Below,
}

impl DirKind {
    /// Mode bits that must not be set. Other users cannot reach what is below a root, and the historical
    /// program creates its `memory` with the mode that the umask leaves.
    fn forbidden(self) -> libc::mode_t {
        match self {
            DirKind::DefaultRoot | DirKind::GivenRoot => 0o077,
            DirKind::Below => 0o022,
        }
    }
}

/// An open directory of this user that no other user can modify.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: String,
}

impl Dir {
    /// Opens the root directory `path`, if it exists. A default root without the owner's own permissions was
    /// created under an unusual umask by a process that was killed before it had set the mode; the mode is
    /// set then.
    pub(super) fn open_root(path: &str, is_default: bool) -> Result<Option<Dir>> {
        let mut opened = open(path, DIRECTORY, Mode::empty());
        if is_default && matches!(opened, Err(Errno::EACCES)) && Dir::set_root_mode(path)? {
            opened = open(path, DIRECTORY, Mode::empty());
        }
        Dir::checked(
            opened,
            path.to_owned(),
            if is_default { DirKind::DefaultRoot } else { DirKind::GivenRoot },
        )
    }

    /// Creates the root directory `path`, closed to other users.
    pub(super) fn make_root(path: &str) -> Result<()> {
        match mkdir(path, mode::DIRECTORY) {
            Ok(()) => Dir::set_root_mode(path).map(drop),
            Err(Errno::EEXIST) => Ok(()),
            Err(errno) => {
                let why = default_root::obstacle(path).map_or(String::new(), |why| format!("{why}; "));
                Err(Error::os(
                    format!("create the directory {path} ({why}XEN_ROOT chooses another root)"),
                    errno,
                ))
            }
        }
    }

    fn set_root_mode(path: &str) -> Result<bool> {
        mode::set_on_directory(AT_FDCWD, path)
            .map_err(|errno| Error::os(format!("set the mode of the directory {path}"), errno))
    }

    /// Reopens `path`, a root that was opened and checked before, without checking its owner and mode again.
    /// `None` if it is not a directory that can be reached (any more).
    pub(super) fn reopen_root(path: &str) -> Result<Option<Dir>> {
        match open(path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { fd, path: path.to_owned() })),
            Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => {
                Err(Error::os(format!("open the directory {path}"), errno))
            }
            Err(_) => Ok(None),
        }
    }

    /// Opens the directory `name`, if it exists.
    pub(super) fn sub(&self, name: &str) -> Result<Option<Dir>> {
        let opened = openat(&self.fd, name, DIRECTORY, Mode::empty());
        Dir::checked(opened, self.path_of(name), DirKind::Below)
    }

    /// Opens the directory `name`, creating it if necessary.
    pub(super) fn make_sub(&self, name: &str) -> Result<Dir> {
        match mkdirat(&self.fd, name, mode::DIRECTORY) {
            Ok(()) => {
                mode::set_on_directory(&self.fd, name)
                    .map_err(|errno| self.failed("set the mode of the directory", name, errno))?;
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(self.failed("create the directory", name, errno)),
        }
        self.sub(name)?.ok_or_else(|| self.failed("open the directory", name, Errno::ENOENT))
    }

    /// The parent directory. Only for directories that were reached from one of ours.
    pub(super) fn parent(&self) -> Result<Dir> {
        let path = self.path.rsplit_once('/').map_or(String::new(), |(above, _)| above.to_owned());
        let opened = openat(&self.fd, "..", DIRECTORY, Mode::empty());
        Dir::checked(opened, path, DirKind::Below)?.ok_or_else(|| self.failed("open", "..", Errno::ENOENT))
    }

    /// The same directory under a new open file description, which can be locked independently.
    pub(super) fn reopen(&self) -> Result<Dir> {
        let fd = openat(&self.fd, ".", DIRECTORY, Mode::empty())
            .map_err(|errno| self.failed("open", ".", errno))?;
        Ok(Dir { fd, path: self.path.clone() })
    }

    fn checked(opened: nix::Result<OwnedFd>, path: String, kind: DirKind) -> Result<Option<Dir>> {
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let why = default_root::obstacle(&path).filter(|_| kind != DirKind::Below);
                let why = why.map_or_else(
                    || format!("{path} is not itself a directory (a file or a symbolic link?)"),
                    |obstacle| format!("{path} cannot be a root, {obstacle}"),
                );
                return Err(Error::Refused(format!("{why}; choose another root with XEN_ROOT")));
            }
            Err(errno) => return Err(Error::os(format!("open the directory {path}"), errno)),
        };
        let stat = fstat(&fd).map_err(|errno| Error::os(format!("look at {path}"), errno))?;
        let (user, mode) = (geteuid().as_raw(), stat.st_mode & 0o7777);
        if stat.st_uid != user {
            return Err(Error::Refused(format!(
                "the directory {path} belongs to user {}, not to {user}; choose a root of your own with XEN_ROOT",
                stat.st_uid
            )));
        }
        if mode & kind.forbidden() != 0 {
            // Advise chmod only for a default root: a given root can be /tmp.
            let advice = match kind {
                DirKind::DefaultRoot => "run chmod 700 on it".to_owned(),
                DirKind::GivenRoot => default_root::advice_for_another(),
                DirKind::Below => "choose another root with XEN_ROOT".to_owned(),
            };
            return Err(Error::Refused(format!(
                "the directory {path} has mode {mode:o}, which lets other users in; {advice}"
            )));
        }
        if kind == DirKind::DefaultRoot {
            mode::set_if_lacking(&fd, &stat, mode::DIRECTORY)
                .map_err(|errno| Error::os(format!("set the mode of the directory {path}"), errno))?;
        }
        Ok(Some(Dir { fd, path }))
    }

    /// The directory's path, for messages.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// An entry's path, for messages.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The error for a failed call on the entry `name`.
    pub(super) fn failed(&self, doing: &str, name: &str, errno: Errno) -> Error {
        Error::os(format!("{doing} {}", self.path_of(name)), errno)
    }

    /// The directory's own status.
    pub(super) fn stat(&self) -> Result<FileStat> {
        fstat(&self.fd).map_err(|errno| Error::os(format!("look at {}", self.path), errno))
    }

    /// Whether the entry `name` exists. The kernel reports a removal before the entry is gone, but not before the file's
    /// number of links has changed.
    pub(super) fn has_entry(&self, name: &str) -> Result<bool> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(stat.st_nlink > 0),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.failed("look at", name, errno)),
        }
    }

    /// The file type of the entry `name`, if it exists.
    pub(super) fn kind(&self, name: &str) -> Result<Option<SFlag>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at", name, errno)),
        }
    }

    /// Whether `below`, a path relative to this directory, names the file that `file` is open on.
    pub(super) fn names_file(&self, below: &str, file: &File) -> bool {
        let named = fstatat(&self.fd, below, AtFlags::AT_SYMLINK_NOFOLLOW);
        let same = |a: FileStat, b: FileStat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        named.is_ok_and(|named| fstat(file).is_ok_and(|held| same(named, held)))
    }

    /// Creates the file `name`, which must not exist, readable and writable by its owner.
    pub(super) fn create(&self, name: &str) -> Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd =
            openat(&self.fd, name, flags, mode::FILE).map_err(|errno| self.failed("create", name, errno))?;
        mode::set_on_file(&fd).map_err(|errno| {
            let _ = self.remove(name);
            self.failed("set the mode of", name, errno)
        })?;
        Ok(File::from(fd))
    }

    /// Opens the regular file `name` of this user for reading and writing, if it exists.
    pub(super) fn open_file(&self, name: &str) -> Result<Option<File>> {
        // O_NONBLOCK: opening a FIFO of that name must not block.
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => return Err(self.not_regular(name)),
            Err(errno) => return Err(self.failed("open", name, errno)),
        };
        let stat = fstat(&fd).map_err(|errno| self.failed("look at", name, errno))?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(self.not_regular(name));
        }
        if stat.st_uid != geteuid().as_raw() {
            return Err(Error::Refused(format!(
                "{} belongs to user {}, not to {}; choose another root with XEN_ROOT",
                self.path_of(name),
                stat.st_uid,
                geteuid()
            )));
        }
        Ok(Some(File::from(fd)))
    }

    fn not_regular(&self, name: &str) -> Error {
        Error::Refused(format!(
            "{} is not a regular file; choose another root with XEN_ROOT",
            self.path_of(name)
        ))
    }

    /// Renames the entry `from` to `to`, replacing `to`.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        renameat(&self.fd, from, &self.fd, to).map_err(|errno| self.failed("rename to", to, errno))
    }

    /// Links the file `from` as `to`, which must not exist. The old name may remain.
    pub(super) fn give_name(&self, from: &str, to: &str) -> Result<()> {
        match linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
            // A seccomp filter, or a file system without hard links. An empty file reserves the name, and the
            // complete one replaces it. A client that opens the empty file retries.
            Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                self.create(to)?;
                self.rename(from, to).inspect_err(|_| {
                    let _ = self.remove(to);
                })
            }
            result => result.map_err(|errno| self.failed("create", to, errno)),
        }
    }

    /// Removes the entry `name`, which is not a directory. Returns whether it existed.
    pub(super) fn remove(&self, name: &str) -> Result<bool> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.failed("remove", name, errno)),
        }
    }

    /// Removes the directory `name` if it is empty. Returns whether it is gone.
    pub(super) fn remove_empty(&self, name: &str) -> Result<bool> {
        match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(self.failed("remove the directory", name, errno)),
        }
    }

    /// Up to `count` names from the position `from` (0, or returned by the previous call), and the position
    /// after them.
    pub(super) fn some_names(&self, from: i64, count: usize) -> Result<(Vec<String>, i64)> {
        listing::some_names(self.reopen()?.fd, from, count)
            .map_err(|errno| Error::os(format!("list the directory {}", self.path), errno))
    }

    /// The names in the directory. Names that are not UTF-8 are not ours and are skipped.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        listing::names(self.reopen()?.fd)
            .map_err(|errno| Error::os(format!("list the directory {}", self.path), errno))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{symlink, PermissionsExt};

    fn opened(path: &std::path::Path) -> Result<Option<Dir>> {
        Dir::open_root(path.to_str().unwrap(), false)
    }

    #[test]
    fn root_open_to_others_is_refused() {
        let temp = private_dir();
        let path = temp.path().to_str().unwrap();
        for mode in [0o710, 0o701, 0o750, 0o777, 0o1777] {
            fs::set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
            // chmod is advised only for a default root.
            for (is_default, advice) in [(true, "run chmod 700 on it"), (false, "set XEN_ROOT to one")] {
                let text = Dir::open_root(path, is_default).unwrap_err().to_string();
                assert!(
                    text.contains(&format!("{path} has mode {mode:o}")) && text.contains(advice),
                    "{text}"
                );
                assert_eq!(text.contains("chmod"), is_default, "{text}");
            }
        }
        fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(opened(temp.path()).unwrap().is_some());
        assert!(opened(&temp.path().join("missing")).unwrap().is_none());
    }

    #[test]
    fn link_or_file_is_refused_as_root() {
        let temp = private_dir();
        fs::create_dir(temp.path().join("real")).unwrap();
        symlink(temp.path().join("real"), temp.path().join("link")).unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        for name in ["link", "file"] {
            let text = opened(&temp.path().join(name)).unwrap_err().to_string();
            assert!(text.starts_with("refused: ") && text.contains("not itself a directory"), "{text}");
        }
    }

    #[test]
    fn below_a_root_only_write_access_is_refused() {
        let temp = private_dir();
        let root = opened(temp.path()).unwrap().unwrap();
        let memory = temp.path().join("memory");
        fs::create_dir(&memory).unwrap();
        fs::set_permissions(&memory, Permissions::from_mode(0o755)).unwrap();
        assert!(root.sub("memory").unwrap().is_some());
        fs::set_permissions(&memory, Permissions::from_mode(0o775)).unwrap();
        assert!(matches!(root.sub("memory"), Err(Error::Refused(_))));
    }

    #[test]
    fn non_regular_files_are_refused() {
        let temp = private_dir();
        let root = opened(temp.path()).unwrap().unwrap();
        nix::unistd::mkfifo(&temp.path().join("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        symlink("/etc/passwd", temp.path().join("link")).unwrap();
        for name in ["fifo", "dir", "link"] {
            assert!(matches!(root.open_file(name), Err(Error::Refused(_))), "{name}");
        }
        assert!(root.open_file("missing").unwrap().is_none());
        root.create("file").unwrap();
        assert!(root.open_file("file").unwrap().is_some());
        assert_eq!(root.create("file").unwrap_err().errno(), libc::EEXIST);
        let mut names = root.names().unwrap();
        names.sort();
        assert_eq!(names, ["dir", "fifo", "file", "link"]);
        assert_eq!(root.names().unwrap().len(), 4, "each listing starts at the beginning");
    }
}
