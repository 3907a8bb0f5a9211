//! Names for open files through /proc, and the fallback without it.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::UnixAddr;

use crate::Error;

/// The /proc name of an open file. It is short and does not depend on later renames.
pub(super) fn by_descriptor(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Calls `call` with such a name, or with the path if /proc is not mounted. The path can lead to another file
/// by then.
pub(super) fn by_either<T>(name: &str, path: &str, call: impl Fn(&str) -> nix::Result<T>) -> nix::Result<T> {
    match call(name) {
        Err(_) if !Path::new("/proc/self/fd").exists() => call(path),
        result => result,
    }
}

/// The same for a call with a socket's address, which holds 107 bytes.
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
            let why = "it is longer than 107 bytes, which requires /proc, and that is not mounted";
            Error::os(format!("{doing} {path} ({why})"), errno)
        }
        errno => Error::os(format!("{doing} {path}"), errno),
    }
}
