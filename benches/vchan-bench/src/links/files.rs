//! Pipes and sockets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::unistd::pipe2;

use super::{gone, Link};
use crate::Result;

/// An end: the descriptors to read from and to write to.
pub struct FileLink {
    from: File,
    to: File,
}

/// The descriptors that one of the two processes inherits: to read from and to write to.
pub type Ends = [OwnedFd; 2];

/// Two pipes that hold `size` bytes each.
pub fn pipes(size: usize) -> Result<(Ends, Ends)> {
    let one = || -> Result<(OwnedFd, OwnedFd)> {
        let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&to, FcntlArg::F_SETPIPE_SZ(size as i32))?;
        Ok((from, to))
    };
    let ((from, to), (back_from, back_to)) = (one()?, one()?);
    Ok(([back_from, to], [from, back_to]))
}

/// A pair of connected Unix sockets.
pub fn unix() -> Result<(Ends, Ends)> {
    let (one, other) = UnixStream::pair()?;
    Ok((both(one.into())?, both(other.into())?))
}

/// A connection over the loopback interface, with TCP_NODELAY.
pub fn tcp() -> Result<(Ends, Ends)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok((both(one.into())?, both(other.into())?))
}

fn both(fd: OwnedFd) -> Result<Ends> {
    Ok([fd.try_clone()?, fd])
}

impl FileLink {
    /// An end on two descriptors.
    pub fn new([from, to]: Ends) -> FileLink {
        FileLink { from: from.into(), to: to.into() }
    }
}

fn unless_blocked(result: io::Result<usize>) -> Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => Ok(other?),
    }
}

impl Link for FileLink {
    fn write_all(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.to.write_all(data)?)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self.from.read(into)? {
            0 => Err(gone()),
            count => Ok(count),
        }
    }

    fn set_nonblocking(&mut self) -> Result<()> {
        for file in [&self.from, &self.to] {
            let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
            fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    fn try_write(&mut self, data: &[u8]) -> Result<usize> {
        unless_blocked(self.to.write(data))
    }

    fn try_read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self.from.read(into) {
            Ok(0) => Err(gone()),
            other => unless_blocked(other),
        }
    }

    fn wait(&mut self, to_read: bool, to_write: bool) -> Result<()> {
        let wanted = |wanted, flags| if wanted { flags } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(self.from.as_fd(), wanted(to_read, PollFlags::POLLIN)),
            PollFd::new(self.to.as_fd(), wanted(to_write, PollFlags::POLLOUT)),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        Ok(())
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        Err(format!("descriptor {} is not polled together with others", self.from.as_raw_fd()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_transfers_bytes_both_ways() {
        for (one, other) in [pipes(65536).unwrap(), unix().unwrap(), tcp().unwrap()] {
            let (mut one, mut other) = (FileLink::new(one), FileLink::new(other));
            let mut got = [0; 4];
            one.write_all(b"ping").unwrap();
            other.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"ping");
            other.set_nonblocking().unwrap();
            assert_eq!(other.try_read(&mut got).unwrap(), 0);
            assert_eq!(other.try_write(b"pong").unwrap(), 4);
            one.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"pong");
            drop(one);
            assert!(other.try_read(&mut got).is_err());
        }
    }
}
