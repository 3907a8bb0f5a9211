//! A set of descriptors to poll.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// The events for which a descriptor in an [`EventSet`] is polled.
///
/// ```
/// use vchan::transport::Readiness;
/// assert_ne!(Readiness::READABLE, Readiness::READABLE.on_edges());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness(EpollFlags);

impl Readiness {
    /// None: the descriptor stays in the set and only reports errors.
    pub const NONE: Readiness = Readiness(EpollFlags::empty());
    /// The descriptor is readable.
    pub const READABLE: Readiness = Readiness(EpollFlags::EPOLLIN);
    /// The descriptor is writable.
    pub const WRITABLE: Readiness = Readiness(EpollFlags::EPOLLOUT);

    /// The same, edge-triggered: each change is reported once, however long it lasts.
    #[must_use]
    pub const fn on_edges(self) -> Readiness {
        Readiness(self.0.union(EpollFlags::EPOLLET))
    }
}

/// A set of descriptors that are polled together: an epoll instance. It does not keep the descriptors open.
///
/// The set has its own descriptor ([`AsFd`]), which is readable while one of the others is ready.
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use vchan::transport::{EventSet, Readiness};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut here, there) = UnixStream::pair()?;
/// let set = EventSet::new()?;
/// set.add(&there, Readiness::READABLE, 7)?;
/// here.write_all(b"x")?;
/// set.remove(&there)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventSet {
    epoll: Epoll,
}

impl EventSet {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// The error of the system call, such as too many open descriptors.
    pub fn new() -> io::Result<EventSet> {
        Ok(EventSet { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Adds a descriptor; `token` identifies it when it is ready.
    ///
    /// # Errors
    ///
    /// The error of the system call: the descriptor is in the set already, or cannot be polled, or memory is
    /// short.
    pub fn add(&self, fd: impl AsFd, readiness: Readiness, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(readiness.0, token))?)
    }

    /// Changes the events and the token of a descriptor in the set. Needs no memory.
    ///
    /// # Errors
    ///
    /// The error of the system call: the descriptor is not in the set.
    pub fn modify(&self, fd: impl AsFd, readiness: Readiness, token: u64) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(readiness.0, token))?)
    }

    /// Removes a descriptor from the set.
    ///
    /// # Errors
    ///
    /// The error of the system call: the descriptor is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    pub(crate) fn epoll(&self) -> &Epoll {
        &self.epoll
    }
}

impl AsFd for EventSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl AsRawFd for EventSet {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
