//! Names for what is open, by /proc, and what is done where that is not mounted.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::UnixAddr;

use crate::Error;

/// The name of an open file. It is short, and stays that of this file whatever becomes of paths.
pub(super) fn by_descriptor(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Makes a call on such a name, or on the path, where there is no /proc. Somebody may have exchanged what that leads to.
pub(super) fn by_either<T>(name: &str, path: &str, call: impl Fn(&str) -> nix::Result<T>) -> nix::Result<T> {
    match call(name) {
        Err(_) if !Path::new("/proc/self/fd").exists() => call(path),
        result => result,
    }
}

/// The same for a call on a socket's address, which holds 107 bytes.
pub(super) fn by_address<T>(
    name: &str,
    path: &str,
    call: impl Fn(&UnixAddr) -> nix::Result<T>,
) -> nix::Result<T> {
    by_either(name, path, |name| call(&UnixAddr::new(name)?))
}

/// The error for such a call.
pub(super) fn address_failed(doing: &str, path: &str, errno: Errno) -> Error {
    match errno {
        Errno::ENAMETOOLONG => {
            let why = "it has more than 107 bytes, which takes /proc, and that is not mounted";
            Error::os(format!("{doing} {path} ({why})"), errno)
        }
        errno => Error::os(format!("{doing} {path}"), errno),
    }
}
