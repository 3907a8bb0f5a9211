//! The modes of what is made. The umask may keep back what even the owner needs, so a mode is looked at and set.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fchmod, fchmodat, fstat, fstatat, FchmodatFlags, FileStat, Mode};
use nix::unistd::geteuid;

/// The mode of directories.
pub(super) const DIRECTORY: Mode = Mode::S_IRWXU;
/// The mode of files.
pub(super) const FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Whether the owner has less of it than `mode`.
fn lacks(stat: &FileStat, mode: Mode) -> bool {
    !Mode::from_bits_truncate(stat.st_mode).contains(mode)
}

/// Gives the open file that was just made its mode.
pub(super) fn set_on_file(file: impl AsFd) -> nix::Result<()> {
    set_if_lacking(&file, &fstat(&file)?, FILE)
}

/// Gives what is open, and has this status, a mode unless its owner has all of that already.
pub(super) fn set_if_lacking(open: impl AsFd, stat: &FileStat, mode: Mode) -> nix::Result<()> {
    if lacks(stat, mode) {
        fchmod(open, mode)?;
    }
    Ok(())
}

/// Gives the directory `name`, which perhaps can't be opened, its mode; says whether it had another one. What has gone meanwhile,
/// or isn't ours, is left to whoever opens it next.
pub(super) fn set_on_directory(at: impl AsFd, name: &str) -> nix::Result<bool> {
    let found = match fstatat(&at, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::ENOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let is_directory = found.st_mode & libc::S_IFMT == libc::S_IFDIR;
    if !is_directory || found.st_uid != geteuid().as_raw() || !lacks(&found, DIRECTORY) {
        return Ok(false);
    }
    // Never what a link leads to: somebody may have put one there.
    match fchmodat(at, name, DIRECTORY, FchmodatFlags::NoFollowSymlink) {
        Err(Errno::ENOENT) => Ok(false),
        result => result.map(|()| true),
    }
}
