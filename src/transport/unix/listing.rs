//! What a directory holds. Neither nix's `Dir`, which forgets its descriptor where it can't begin, nor that of the
//! standard library, which panics where closing fails.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;

struct Listing(NonNull<libc::DIR>);

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this. The descriptor is closed also where this fails.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// The names in a directory, just opened. Names that are not UTF-8 are none of ours and left out.
pub(super) fn names(directory: OwnedFd) -> nix::Result<Vec<String>> {
    // SAFETY: an open descriptor.
    let opened = unsafe { libc::fdopendir(directory.as_raw_fd()) };
    let listing = Listing(NonNull::new(opened).ok_or_else(Errno::last)?);
    // It belongs to the listing now.
    let _ = directory.into_raw_fd();
    let mut names = Vec::new();
    loop {
        // The end and a failure differ in nothing else.
        Errno::clear();
        // SAFETY: it is open, and the entry is not used beyond the next call.
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
