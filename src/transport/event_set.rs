//! A set of descriptors to wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// What a descriptor in an [`EventSet`] is watched for.
///
/// ```
/// use vchan::transport::Readiness;
/// assert_ne!(Readiness::READABLE, Readiness::READABLE.on_edges());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness(EpollFlags);

impl Readiness {
    /// For nothing: the descriptor stays in the set and is silent, but for errors.
    pub const NONE: Readiness = Readiness(EpollFlags::empty());
    /// That it can be read.
    pub const READABLE: Readiness = Readiness(EpollFlags::EPOLLIN);
    /// That it can be written.
    pub const WRITABLE: Readiness = Readiness(EpollFlags::EPOLLOUT);

    /// The same, but each change is told once, however long it lasts.
    #[must_use]
    pub const fn on_edges(self) -> Readiness {
        Readiness(self.0.union(EpollFlags::EPOLLET))
    }
}

/// A set of descriptors, to be waited for together: an epoll instance. It keeps no descriptor open.
///
/// The set has a descriptor of its own ([`AsFd`]), which is readable while one of the others is ready.
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
    /// What the system says where no descriptor is free.
    pub fn new() -> io::Result<EventSet> {
        Ok(EventSet { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Adds a descriptor; `token` says later which one is ready.
    ///
    /// # Errors
    ///
    /// What the system says where the descriptor is in the set already, or can't be watched, or memory is short.
    pub fn add(&self, fd: impl AsFd, readiness: Readiness, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(readiness.0, token))?)
    }

    /// Watches a descriptor of the set for something else, under another token. Needs no memory.
    ///
    /// # Errors
    ///
    /// What the system says where the descriptor isn't in the set.
    pub fn modify(&self, fd: impl AsFd, readiness: Readiness, token: u64) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(readiness.0, token))?)
    }

    /// Takes a descriptor out of the set.
    ///
    /// # Errors
    ///
    /// What the system says where the descriptor isn't in the set.
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
