//! Memory: shared between processes, and aligned buffers.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};
use nix::unistd::ftruncate;

use crate::Result;

/// A mapping of an anonymous file.
pub struct Shared {
    start: NonNull<u8>,
    size: usize,
}

impl Shared {
    /// Creates the file, zeroed.
    pub fn create(size: usize) -> Result<OwnedFd> {
        let fd = memfd_create(c"vchan-bench", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&fd, size as i64)?;
        Ok(fd)
    }

    /// Maps it.
    pub fn map(fd: impl AsFd, size: usize) -> Result<Shared> {
        let length = NonZeroUsize::new(size).ok_or("a mapping of nothing")?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let start =
            unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE, fd, 0) }?;
        Ok(Shared { start: start.cast(), size })
    }

    /// The address of the byte at `offset`.
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.size, "offset {offset} in a mapping of {}", self.size);
        // SAFETY: within the mapping.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, of this size. It cannot fail then.
        let _ = unsafe { munmap(self.start.cast(), self.size) };
    }
}

/// A page-aligned buffer, written once so that all pages are allocated.
pub struct Buffer {
    bytes: Vec<u8>,
    offset: usize,
    size: usize,
}

impl Buffer {
    /// A buffer of `size` bytes.
    pub fn new(size: usize) -> Buffer {
        let bytes: Vec<u8> = (0..size + 4096).map(|n| n as u8 | 1).collect();
        let offset = bytes.as_ptr().align_offset(4096);
        Buffer { bytes, offset, size }
    }

    /// The bytes.
    pub fn get(&self) -> &[u8] {
        &self.bytes[self.offset..self.offset + self.size]
    }

    /// The bytes.
    pub fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.offset..self.offset + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_with_a_page() {
        for size in [1, 64, 4096, 100_000] {
            let mut buffer = Buffer::new(size);
            assert_eq!(buffer.get().len(), size);
            assert_eq!(buffer.get().as_ptr() as usize % 4096, 0);
            assert!(buffer.get_mut().iter().all(|&byte| byte != 0));
        }
    }
}
