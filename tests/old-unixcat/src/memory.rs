//! Shared memory: one file per block, named by the grant references of its pages.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU8, Ordering};

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// A mapped file. Every access is checked against its length.
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(file: &File, len: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh shared mapping at an address of the kernel's choice touches no memory
        // that Rust knows about; `file` is open for the duration of the call.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Mapping { base, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn at(&self, offset: usize, len: usize) -> Result<*mut u8, String> {
        match offset.checked_add(len) {
            // SAFETY: the range lies inside the mapping, which lives as long as `self`.
            Some(end) if end <= self.len => Ok(unsafe { self.base.as_ptr().add(offset) }),
            _ => Err(format!("index out of bounds: {len} bytes at {offset} of {}", self.len)),
        }
    }

    /// The 8-bit field at `offset`.
    pub fn u8(&self, offset: usize) -> Result<&AtomicU8, String> {
        let field = self.at(offset, 1)?;
        // SAFETY: in bounds, and any alignment does for a byte; the mapping outlives the borrow.
        Ok(unsafe { AtomicU8::from_ptr(field) })
    }

    /// Reads the 16-bit field at `offset`, which must be even.
    pub fn load_u16(&self, offset: usize) -> Result<u16, String> {
        Ok(u16::from_le(self.u16(offset)?.load(Ordering::Acquire)))
    }

    /// Writes the 16-bit field at `offset`, which must be even.
    pub fn store_u16(&self, offset: usize, value: u16) -> Result<(), String> {
        self.u16(offset)?.store(value.to_le(), Ordering::Release);
        Ok(())
    }

    /// Reads the 32-bit field at `offset`, which must be a multiple of four.
    pub fn load_u32(&self, offset: usize) -> Result<u32, String> {
        Ok(u32::from_le(self.u32(offset)?.load(Ordering::Acquire)))
    }

    /// Writes the 32-bit field at `offset`, which must be a multiple of four.
    pub fn store_u32(&self, offset: usize, value: u32) -> Result<(), String> {
        self.u32(offset)?.store(value.to_le(), Ordering::Release);
        Ok(())
    }

    fn u16(&self, offset: usize) -> Result<&AtomicU16, String> {
        assert_eq!(offset % 2, 0, "fields are aligned");
        let field = self.at(offset, 2)?;
        // SAFETY: in bounds and aligned, since the base is; the mapping outlives the borrow.
        Ok(unsafe { AtomicU16::from_ptr(field.cast()) })
    }

    fn u32(&self, offset: usize) -> Result<&AtomicU32, String> {
        assert_eq!(offset % 4, 0, "fields are aligned");
        let field = self.at(offset, 4)?;
        // SAFETY: in bounds and aligned, since the base is; the mapping outlives the borrow.
        Ok(unsafe { AtomicU32::from_ptr(field.cast()) })
    }

    /// Copies `data` into the mapping.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), String> {
        let to = self.at(offset, data.len())?;
        // SAFETY: both ranges are valid and cannot overlap. The copy is the C library's, opaque to
        // the compiler, because the other process may touch the same bytes.
        unsafe { libc::memcpy(to.cast(), data.as_ptr().cast(), data.len()) };
        Ok(())
    }

    /// Appends `len` bytes of the mapping to `out`.
    pub fn read(&self, offset: usize, len: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let from = self.at(offset, len)?;
        let start = out.len();
        out.resize(start + len, 0);
        // SAFETY: as in `write`; `out` has just been given room for `len` bytes.
        unsafe { libc::memcpy(out[start..].as_mut_ptr().cast(), from.cast(), len) };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A block that this process shares, with the references of its pages.
pub struct Share {
    /// In the order in which they are named and published.
    pub grants: Vec<u32>,
    /// The pages.
    pub mapping: Mapping,
    path: PathBuf,
}

impl Share {
    /// Removes the name; existing mappings of the block remain.
    pub fn unshare(&self) -> Result<(), String> {
        std::fs::remove_file(&self.path).map_err(|e| format!("removing {}: {e}", self.path.display()))
    }
}

/// Hands out grant references and makes the files.
pub struct Granter {
    dir: PathBuf,
    next: u32,
}

impl Granter {
    /// Blocks go to `dir`; the first reference is 0.
    pub fn new(dir: PathBuf) -> Granter {
        Granter { dir, next: 0 }
    }

    /// Shares `pages` new pages. A file of that name is emptied and used, even when another
    /// server has it mapped.
    pub fn share(&mut self, pages: u32) -> Result<Share, String> {
        let grants = take_grants(&mut self.next, pages);
        let path = self.dir.join(block_name(&grants));
        let say = |e: io::Error| format!("sharing {}: {e}", path.display());
        let size = pages as usize * PAGE;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(say)?;
        file.set_len(size as u64).map_err(say)?;
        let mapping = Mapping::new(&file, size).map_err(say)?;
        Ok(Share { grants, mapping, path })
    }
}

/// Maps the whole of the block that `grants` name, in the order given.
pub fn map(dir: &Path, grants: &[u32]) -> Result<Mapping, String> {
    let path = dir.join(block_name(grants));
    let say = |e: io::Error| format!("mapping {}: {e}", path.display());
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(say)?;
    let len = file.metadata().map_err(say)?.len() as usize;
    Mapping::new(&file, len).map_err(say)
}

/// The references of a block descend: the list is built from its end.
fn take_grants(next: &mut u32, pages: u32) -> Vec<u32> {
    let first = *next;
    *next += pages;
    (first..*next).rev().collect()
}

/// References are signed 32-bit numbers to the historical program.
fn block_name(grants: &[u32]) -> String {
    let names: Vec<String> = grants.iter().map(|&grant| (grant as i32).to_string()).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_descend_within_a_block() {
        let mut next = 0;
        assert_eq!(block_name(&take_grants(&mut next, 1)), "0");
        assert_eq!(block_name(&take_grants(&mut next, 4)), "4,3,2,1");
        assert_eq!(block_name(&take_grants(&mut next, 2)), "6,5");
    }

    #[test]
    fn access_outside_a_block_fails() {
        let dir = tempfile::tempdir().unwrap();
        let share = Granter::new(dir.path().to_path_buf()).share(1).unwrap();
        share.mapping.write(PAGE - 2, b"ok").unwrap();
        assert!(share.mapping.write(PAGE - 1, b"no").is_err());
        let mut out = Vec::new();
        assert!(share.mapping.read(usize::MAX, 2, &mut out).is_err());
        map(dir.path(), &[0]).unwrap().read(PAGE - 2, 2, &mut out).unwrap();
        assert_eq!(out, b"ok");
    }
}
