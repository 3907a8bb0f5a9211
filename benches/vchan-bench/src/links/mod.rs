//! One end of whatever carries the bytes, behind one trait, so that all peers run the same loops.

pub mod files;
pub mod libxenvchan;
pub mod rust;
pub mod spin;

use std::os::fd::BorrowedFd;

use crate::Result;

/// How long a set-up may take.
pub const PEER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// One end.
pub trait Link {
    /// Writes everything, waiting.
    fn write_all(&mut self, data: &[u8]) -> Result<()>;

    /// Writes `data` `count` times.
    fn write_times(&mut self, data: &[u8], count: usize) -> Result<()> {
        for _ in 0..count {
            self.write_all(data)?;
        }
        Ok(())
    }

    /// Reads at least one byte, waiting.
    fn read(&mut self, into: &mut [u8]) -> Result<usize>;

    /// Reads messages of the buffer's size, each into it or into one like it, waiting for the first; says how many bytes.
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

    /// From now on only the calls below are used.
    fn set_nonblocking(&mut self) -> Result<()>;

    /// Writes what fits, perhaps nothing.
    fn try_write(&mut self, data: &[u8]) -> Result<usize>;

    /// Reads what there is, perhaps nothing.
    fn try_read(&mut self, into: &mut [u8]) -> Result<usize>;

    /// Waits, after the calls above have moved less than they were asked for: to read, to write, or either.
    fn wait(&mut self, to_read: bool, to_write: bool) -> Result<()>;

    /// What to poll.
    fn fd(&self) -> Result<BorrowedFd<'_>>;

    /// To be called when the descriptor was readable, before the next try.
    fn acknowledge(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The error for a peer that went away.
pub fn gone() -> crate::Error {
    "the other process has gone".into()
}
