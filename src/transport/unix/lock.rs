//! Locked files. Unlike nix's `Flock`, dropping one never panics: if unlocking fails, closing the file
//! releases the lock.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// A file or directory with an exclusive lock, held until this is dropped.
#[derive(Debug)]
pub(super) struct Locked<T: AsFd>(Option<T>);

impl<T: AsFd> Locked<T> {
    /// Locks `file`, or returns it: `EAGAIN` if it is locked elsewhere.
    pub(super) fn try_lock(file: T) -> Result<Locked<T>, (T, Errno)> {
        match flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => Ok(Locked(Some(file))),
            Err(errno) => Err((file, errno)),
        }
    }

    /// Unlocks the file and returns it, if it can be unlocked without closing it.
    pub(super) fn unlock(mut self) -> Option<T> {
        self.0.take().filter(|file| flock(file, libc::LOCK_UN).is_ok())
    }
}

/// Whether the file is not locked exclusively.
pub(super) fn is_free(file: impl AsFd) -> nix::Result<bool> {
    match flock(&file, libc::LOCK_SH | libc::LOCK_NB) {
        Ok(()) => flock(&file, libc::LOCK_UN).map(|()| true),
        Err(Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn flock(file: &impl AsFd, operation: libc::c_int) -> nix::Result<()> {
    loop {
        // SAFETY: an open descriptor.
        match Errno::result(unsafe { libc::flock(file.as_fd().as_raw_fd(), operation) }) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

impl<T: AsFd> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only `unlock` takes it, and with it the value")
    }
}

impl<T: AsFd> Drop for Locked<T> {
    fn drop(&mut self) {
        // Closing is not enough: a forked child can hold the file open.
        if let Some(file) = &self.0 {
            let _ = flock(file, libc::LOCK_UN);
        }
    }
}
