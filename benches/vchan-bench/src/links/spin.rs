//! The upper bound for shared memory, not a transport: two rings of bytes between two processes, a cache line
//! for each index, no protocol except the indices, no sleeping.

use std::hint;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Link;
use crate::memory::Shared;
use crate::Result;

/// The maximum number of bytes per publication.
const PART: usize = 16 * 1024;
/// The offset of the rings' bytes. Before them each index has its own page.
const HEAD: usize = 4 * 4096;

/// The size of the memory for two rings of `ring` bytes.
pub fn size(ring: usize) -> usize {
    HEAD + 2 * ring
}

/// One direction, from one side's view.
struct Half {
    memory: Shared,
    number: usize,
    ring: usize,
    own: u64,
    seen: u64,
}

impl Half {
    fn index(&self, which: usize) -> &AtomicU64 {
        // SAFETY: within the head, aligned, initially zero, and only used as an atomic.
        unsafe { self.memory.at((2 * self.number + which) * 4096).cast().as_ref() }
    }

    fn produced(&self) -> &AtomicU64 {
        self.index(0)
    }

    fn consumed(&self) -> &AtomicU64 {
        self.index(1)
    }

    /// The next bytes before the ring's end, at most `len`.
    fn place(&self, len: usize) -> (*mut u8, usize) {
        let offset = self.own as usize & (self.ring - 1);
        let len = len.min(self.ring - offset).min(PART);
        (self.memory.at(HEAD + self.number * self.ring + offset).as_ptr(), len)
    }

    #[inline]
    fn write(&mut self, data: &[u8]) -> usize {
        let mut done = 0;
        while done < data.len() {
            let wanted = (data.len() - done).min(PART);
            let mut space = self.ring - (self.own - self.seen) as usize;
            if space < wanted {
                self.seen = self.consumed().load(Ordering::Acquire);
                space = self.ring - (self.own - self.seen) as usize;
                if space == 0 {
                    break;
                }
            }
            let (to, len) = self.place(wanted.min(space));
            // SAFETY: `place` stays in the ring, and the other side does not access unpublished bytes.
            unsafe { ptr::copy_nonoverlapping(data[done..].as_ptr(), to, len) };
            self.own += len as u64;
            self.produced().store(self.own, Ordering::Release);
            done += len;
        }
        done
    }

    #[inline]
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let wanted = (into.len() - done).min(PART);
            let mut ready = (self.seen - self.own) as usize;
            if ready < wanted {
                self.seen = self.produced().load(Ordering::Acquire);
                ready = (self.seen - self.own) as usize;
                if ready == 0 {
                    break;
                }
            }
            let (from, len) = self.place(wanted.min(ready));
            // SAFETY: `place` stays in the ring, and the other side does not access unconsumed bytes.
            unsafe { ptr::copy_nonoverlapping(from, into[done..].as_mut_ptr(), len) };
            self.own += len as u64;
            self.consumed().store(self.own, Ordering::Release);
            done += len;
        }
        done
    }
}

/// An end.
pub struct SpinLink {
    written: Half,
    read: Half,
}

impl SpinLink {
    /// The end that writes into direction `writes` (0 or 1).
    pub fn new(fd: impl AsFd, ring: usize, writes: usize) -> Result<SpinLink> {
        let half = |number| -> Result<Half> {
            Ok(Half { memory: Shared::map(fd.as_fd(), size(ring))?, number, ring, own: 0, seen: 0 })
        };
        Ok(SpinLink { written: half(writes)?, read: half(1 - writes)? })
    }
}

impl Link for SpinLink {
    #[inline]
    fn write_all(&mut self, data: &[u8]) -> Result<()> {
        let mut done = self.written.write(data);
        while done < data.len() {
            hint::spin_loop();
            done += self.written.write(&data[done..]);
        }
        Ok(())
    }

    #[inline]
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            match self.read.read(into) {
                0 => hint::spin_loop(),
                count => return Ok(count),
            }
        }
    }

    fn set_nonblocking(&mut self) -> Result<()> {
        Ok(())
    }

    fn try_write(&mut self, data: &[u8]) -> Result<usize> {
        Ok(self.written.write(data))
    }

    fn try_read(&mut self, into: &mut [u8]) -> Result<usize> {
        Ok(self.read.read(into))
    }

    fn wait(&mut self, _to_read: bool, _to_write: bool) -> Result<()> {
        hint::spin_loop();
        Ok(())
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        Err("a spinning ring has no descriptor".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_round_the_end_in_order() {
        let fd = Shared::create(size(4096)).unwrap();
        let (mut one, mut other) =
            (SpinLink::new(&fd, 4096, 0).unwrap(), SpinLink::new(&fd, 4096, 1).unwrap());
        let mut sent = 0u8;
        for len in [1, 100, 4095, 4096, 3000, 2000, 4096] {
            let data: Vec<u8> = (0..len).map(|n| (n as u8).wrapping_add(sent)).collect();
            sent = sent.wrapping_add(1);
            one.write_all(&data).unwrap();
            let mut got = vec![0; len];
            other.read_exact(&mut got).unwrap();
            assert_eq!(got, data);
        }
        assert_eq!(one.try_write(&[1; 5000]).unwrap(), 4096);
        assert_eq!(one.try_write(&[1]).unwrap(), 0);
        assert_eq!(other.try_write(&[2; 3]).unwrap(), 3);
        assert_eq!(one.read(&mut [0; 9]).unwrap(), 3);
    }
}
