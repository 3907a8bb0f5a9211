//! The modes of created files. The umask can remove even the owner's permissions, so a mode is checked and
//! set.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fchmod, fchmodat, fstat, fstatat, FchmodatFlags, FileStat, Mode};
use nix::unistd::geteuid;

/// The mode of directories.
pub(super) const DIRECTORY: Mode = Mode::S_IRWXU;
/// The mode of files.
pub(super) const FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Whether the file's mode lacks bits of `mode`.
fn lacks(stat: &FileStat, mode: Mode) -> bool {
    !Mode::from_bits_truncate(stat.st_mode).contains(mode)
}

/// Sets the mode of a file that was just created.
pub(super) fn set_on_file(file: impl AsFd) -> nix::Result<()> {
    set_if_lacking(&file, &fstat(&file)?, FILE)
}

/// Sets the mode of an open file with the given status, unless it already includes `mode`.
pub(super) fn set_if_lacking(open: impl AsFd, stat: &FileStat, mode: Mode) -> nix::Result<()> {
    if lacks(stat, mode) {
        fchmod(open, mode)?;
    }
    Ok(())
}

/// Sets the mode of the directory `name`, which possibly cannot be opened. Returns whether it was changed. A
/// directory that is gone or belongs to another user is left alone; the next open reports it.
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
    // Never follow a link: the entry can have been replaced by one.
    match fchmodat(at, name, DIRECTORY, FchmodatFlags::NoFollowSymlink) {
        Err(Errno::ENOENT) => Ok(false),
        result => result.map(|()| true),
    }
}
