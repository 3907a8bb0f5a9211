//! Directory listings. nix's `Dir` leaks its descriptor if `fdopendir` fails, and that of the standard
//! library panics if closing fails.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::unistd::{lseek64, Whence};

struct Listing(NonNull<libc::DIR>);

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used after this. The descriptor is closed even if this fails.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// The names in a directory that was just opened. Names that are not UTF-8 are not ours and are skipped.
pub(super) fn names(directory: OwnedFd) -> nix::Result<Vec<String>> {
    // SAFETY: an open descriptor.
    let opened = unsafe { libc::fdopendir(directory.as_raw_fd()) };
    let listing = Listing(NonNull::new(opened).ok_or_else(Errno::last)?);
    // The listing owns it now.
    let _ = directory.into_raw_fd();
    let mut names = Vec::new();
    loop {
        // Only errno distinguishes the end from a failure.
        Errno::clear();
        // SAFETY: it is open, and the entry is not used after the next call.
        let name = unsafe {
            match NonNull::new(libc::readdir(listing.0.as_ptr())) {
                Some(entry) => CStr::from_ptr((*entry.as_ptr()).d_name.as_ptr()),
                None if Errno::last_raw() == 0 => return Ok(names),
                None => return Err(Errno::last()),
            }
        };
        if let Ok(name) = name.to_str() {
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
    }
}

/// Up to `count` names from the position `from`, and the position after them: 0 at the end, and if `from` is
/// not a position (any more). One system call, however large the directory is.
pub(super) fn some_names(directory: OwnedFd, from: i64, count: usize) -> nix::Result<(Vec<String>, i64)> {
    const NAME: usize = std::mem::offset_of!(libc::dirent64, d_name);
    if lseek64(&directory, from, Whence::SeekSet).is_err() {
        return Ok((Vec::new(), 0));
    }
    let mut buffer = [0_u8; 512];
    // SAFETY: an open descriptor, and a buffer of the given length.
    let filled = Errno::result(unsafe {
        libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    })?;
    let mut rest = &buffer[..usize::try_from(filled).unwrap_or_default()];
    let (mut names, mut position) = (Vec::new(), 0);
    while names.len() < count && rest.len() > NAME {
        let field = |at: usize, length: usize| &rest[at..at + length];
        let offset = field(std::mem::offset_of!(libc::dirent64, d_off), 8);
        let length = field(std::mem::offset_of!(libc::dirent64, d_reclen), 2);
        position = offset.try_into().map_or(0, i64::from_ne_bytes);
        let length = length.try_into().map_or(0, u16::from_ne_bytes).into();
        let Some(entry) = rest.get(..length).filter(|_| length > NAME) else { break };
        rest = &rest[length..];
        let name = CStr::from_bytes_until_nul(&entry[NAME..]).ok().and_then(|name| name.to_str().ok());
        names.extend(name.filter(|name| ![".", ".."].contains(name)).map(str::to_owned));
    }
    Ok((names, position))
}
