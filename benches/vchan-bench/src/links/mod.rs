//! One end of any transport, behind one trait, so that all peers run the same loops.

pub mod files;
pub mod libxenvchan;
pub mod rust;
pub mod spin;

use std::os::fd::BorrowedFd;

use crate::Result;

/// The time limit of the set-up.
pub const PEER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// One end.
pub trait Link {
    /// Writes everything, blocking.
    fn write_all(&mut self, data: &[u8]) -> Result<()>;

    /// Writes `data` `count` times.
    fn write_times(&mut self, data: &[u8], count: usize) -> Result<()> {
        for _ in 0..count {
            self.write_all(data)?;
        }
        Ok(())
    }

    /// Reads at least one byte, blocking.
    fn read(&mut self, into: &mut [u8]) -> Result<usize>;

    /// Reads messages of the buffer's size, into it or buffers like it, blocking for the first; returns the
    /// number of bytes.
    fn read_times(&mut self, into: &mut [u8], _count: usize) -> Result<usize> {
        self.read(into)
    }

    /// Fills the buffer.
    fn read_exact(&mut self, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < into.len() {
            done += self.read(&mut into[done..])?;
        }
        Ok(())
    }

    /// Switches to non-blocking mode; only the functions below are used after that.
    fn set_nonblocking(&mut self) -> Result<()>;

    /// Writes what fits, possibly nothing.
    fn try_write(&mut self, data: &[u8]) -> Result<usize>;

    /// Reads what is available, possibly nothing.
    fn try_read(&mut self, into: &mut [u8]) -> Result<usize>;

    /// Waits after a short transfer: to read, to write, or either.
    fn wait(&mut self, to_read: bool, to_write: bool) -> Result<()>;

    /// The descriptor to poll.
    fn fd(&self) -> Result<BorrowedFd<'_>>;

    /// Called when the descriptor was readable, before the next attempt.
    fn acknowledge(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The error for a peer that is gone.
pub fn gone() -> crate::Error {
    "the other process has gone".into()
}
