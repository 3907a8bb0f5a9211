//! The standard streams as inherited by this process.
//!
//! Rust's runtime opens /dev/null for closed ones before `main`, so they are checked earlier.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{fstat, SFlag};

/// One bit per closed stream.
static CLOSED: AtomicU8 = AtomicU8::new(0);

extern "C" fn record_closed() {
    for fd in 0..3 {
        // SAFETY: reads a descriptor flag and touches no memory.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << fd, Relaxed);
        }
    }
}

#[used]
#[link_section = ".init_array"]
static BEFORE_MAIN: extern "C" fn() = record_closed;

fn unless_closed(number: u8, stream: impl AsFd) -> Result<OwnedFd, Errno> {
    if CLOSED.load(Relaxed) & (1 << number) != 0 {
        return Err(Errno::EBADF);
    }
    stream.as_fd().try_clone_to_owned().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// A duplicate of standard input; EBADF if it was closed.
pub fn input() -> Result<OwnedFd, Errno> {
    unless_closed(0, stdin())
}

/// A duplicate of standard output; EBADF if it was closed.
pub fn output() -> Result<OwnedFd, Errno> {
    unless_closed(1, stdout())
}

/// Whether `output` has a reader that can go away: it is a pipe or a socket.
pub fn has_reader(output: impl AsFd) -> bool {
    let kind =
        fstat(output).map_or(SFlag::empty(), |stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK
}

/// Whether the errno of a read means that `input` is unusable: not open for reading, or a hung-up terminal.
pub fn is_no_input(input: impl AsFd, errno: Errno) -> bool {
    let device = || {
        fstat(input)
            .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR)
    };
    errno == Errno::EBADF || errno == Errno::EIO && device()
}
