//! Sharing pages by `/dev/xen/gntalloc`, mapping a peer's pages by `/dev/xen/gntdev`.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};

use super::device::{request, Device, GNTALLOC, GNTDEV};
use crate::ring::PAGE_SIZE;
use crate::transport::{CrashNotice, Mapping, Memory};
use crate::{DomId, Error, Result};

/// Memory shared with, or by, one peer domain.
#[derive(Debug)]
pub(super) struct XenMemory {
    peer: DomId,
    gntalloc: OpenOnce,
    gntdev: OpenOnce,
}

impl XenMemory {
    pub(super) fn new(peer: DomId) -> XenMemory {
        XenMemory { peer, gntalloc: OpenOnce::of(GNTALLOC), gntdev: OpenOnce::of(GNTDEV) }
    }
}

/// A device shared by all mappings of a channel, open while there are any: closing gntdev returns its grants.
#[derive(Debug)]
struct OpenOnce {
    device: Device,
    open: Mutex<Weak<File>>,
}

impl OpenOnce {
    fn of(device: Device) -> OpenOnce {
        OpenOnce { device, open: Mutex::default() }
    }

    fn get(&self) -> Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = open.upgrade() {
            return Ok(device);
        }
        let device = Arc::new(self.device.open()?);
        *open = Arc::downgrade(&device);
        Ok(device)
    }
}

impl Memory for XenMemory {
    fn share(&self, pages: usize, crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>> {
        let device = self.gntalloc.get()?;
        let count = page_count(pages)?;
        let head = request::AllocGref { domid: self.peer, flags: request::WRITABLE, count, index: 0 };
        let mut buffer = WithTail::new(head, pages);
        // SAFETY: the buffer has room for as many references as the head's count says.
        unsafe { request::gntalloc_alloc_gref(device.as_raw_fd(), buffer.head()) }
            .map_err(|errno| GNTALLOC.explain("share pages by", errno))?;
        let (index, grants) = (buffer.index(), buffer.tail(pages));
        let dealloc = || {
            let mut dealloc = request::DeallocGref { index, count };
            // SAFETY: the structure is the request's. The kernel frees the grants when they are not mapped
            // any more.
            unsafe { request::gntalloc_dealloc_gref(device.as_raw_fd(), &mut dealloc) }
                .map_err(|errno| GNTALLOC.explain("free pages of", errno))
        };
        let mapped = map(&device, GNTALLOC, pages, index).and_then(|mapped| {
            if let Some(notice) = crash {
                let mut notify = unmap_notify(index, notice);
                // SAFETY: the structure is the request's.
                unsafe { request::gntalloc_set_unmap_notify(device.as_raw_fd(), &mut notify) }
                    .map_err(|errno| GNTALLOC.explain("request a crash notice of", errno))?;
            }
            Ok(mapped)
        });
        // The mapping keeps the pages alive; without one they are freed now.
        dealloc()?;
        Ok(Box::new(XenMapping { mapped: mapped?, grants, gntdev: None, device }))
    }

    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>> {
        let device = self.gntdev.get()?;
        let count = page_count(grants.len())?;
        let mut buffer = WithTail::new(request::MapGrantRef { count, pad: 0, index: 0 }, 2 * grants.len());
        for (pair, &grant) in buffer.tail_mut().chunks_exact_mut(2).zip(grants) {
            pair.copy_from_slice(&[self.peer.into(), grant]);
        }
        // SAFETY: as many pairs follow the head as its count says.
        unsafe { request::gntdev_map_grant_ref(device.as_raw_fd(), buffer.head()) }
            .map_err(|errno| GNTDEV.explain("map the peer's pages by", errno))?;
        let index = buffer.index();
        match map(&device, GNTDEV, grants.len(), index) {
            Ok(mapped) => {
                Ok(Box::new(XenMapping { mapped, grants: grants.to_vec(), gntdev: Some(index), device }))
            }
            Err(Error::Os { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                Err(Error::NoServer {
                    path: format!("grants {grants:?} of domain {}", self.peer),
                    why: "they are not shared with this domain (any more)".into(),
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn page_count(pages: usize) -> Result<u32> {
    u32::try_from(pages)
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| Error::Invalid(format!("cannot share {pages} pages, expected at least 1")))
}

fn unmap_notify(index: u64, notice: CrashNotice) -> request::UnmapNotify {
    request::UnmapNotify {
        index: index + notice.offset as u64,
        action: request::CLEAR_BYTE | request::SEND_EVENT,
        event_channel_port: notice.port,
    }
}

fn map(device: &File, which: Device, pages: usize, index: u64) -> Result<Mapped> {
    let length =
        NonZeroUsize::new(pages * PAGE_SIZE).ok_or_else(|| Error::Invalid("no pages to map".into()))?;
    let offset = libc::off_t::try_from(index)
        .map_err(|_| Error::Invalid(format!("{} returned the invalid index {index}", which.path)))?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, device.as_fd(), offset) }
        .map_err(|errno| which.explain("map pages of", errno))?;
    Ok(Mapped { start: start.cast(), length: length.get() })
}

/// A request whose structure ends in an array: the head `H`, followed by `u32` elements.
struct WithTail<H> {
    /// `u64` for the alignment.
    words: Vec<u64>,
    head: std::marker::PhantomData<H>,
}

impl<H> WithTail<H> {
    const HEAD: usize = 16;

    fn new(head: H, tail: usize) -> WithTail<H> {
        const { assert!(size_of::<H>() == 16 && align_of::<H>() <= 8) };
        let mut words = vec![0u64; (Self::HEAD + 4 * tail).div_ceil(8)];
        // SAFETY: the buffer is at least as large and aligned as the head.
        unsafe { words.as_mut_ptr().cast::<H>().write(head) };
        WithTail { words, head: std::marker::PhantomData }
    }

    fn head(&mut self) -> *mut H {
        self.words.as_mut_ptr().cast()
    }

    /// Both heads have the index after their first 8 bytes.
    fn index(&self) -> u64 {
        self.words[1]
    }

    fn tail_mut(&mut self) -> &mut [u32] {
        let rest = &mut self.words[Self::HEAD / 8..];
        // SAFETY: two u32 in each u64, any bits are valid.
        unsafe { std::slice::from_raw_parts_mut(rest.as_mut_ptr().cast(), rest.len() * 2) }
    }

    fn tail(&mut self, count: usize) -> Vec<u32> {
        self.tail_mut()[..count].to_vec()
    }
}

/// An address range, unmapped when dropped.
struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, and no pointers into it remain (contract of `Mapping`). The kernel refuses
        // only ranges that are not mapped.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}

// SAFETY: an address range belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

/// Our shared pages, or the peer's mapped pages. The mapping is dropped before the device.
struct XenMapping {
    mapped: Mapped,
    grants: Vec<u32>,
    /// gntdev's index of the pages, if they are the peer's.
    gntdev: Option<u64>,
    device: Arc<File>,
}

// SAFETY: `mapped` stays mapped while the value lives, and page-aligned as all mappings are.
unsafe impl Mapping for XenMapping {
    fn base(&self) -> NonNull<u8> {
        self.mapped.start
    }

    fn pages(&self) -> usize {
        self.mapped.length / PAGE_SIZE
    }

    fn grants(&self) -> &[u32] {
        &self.grants
    }

    fn on_crash(&self, notice: CrashNotice) -> Result<()> {
        let Some(index) = self.gntdev else { return Ok(()) };
        let mut notify = unmap_notify(index, notice);
        // SAFETY: the structure is the request's.
        unsafe { request::gntdev_set_unmap_notify(self.device.as_raw_fd(), &mut notify) }
            .map_err(|errno| GNTDEV.explain("request a crash notice of", errno))?;
        Ok(())
    }
}
