//! The writing side of one ring.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering as Private};
use std::sync::Arc;

use super::buffer::{RawSlice, RingBuffer};
use super::corrupt::Corrupt;
use super::endpoint::Shared;
use super::notify::{self, Want};
use super::sync::Ordering;

/// Writes into a ring: look for [`space`](Producer::space), fill it, [`commit`](Producer::commit).
///
/// Our own index lives here and is only ever written to the shared page, never read back, so the peer can't move
/// it. One thread at a time should produce; more than one at once mix up their data, but nothing worse.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    buffer: RingBuffer,
    prod: AtomicU32,
    /// The peer's index when it was last looked at.
    cons_seen: AtomicU32,
}

impl Producer {
    pub(super) fn new(shared: Arc<Shared>, buffer: RingBuffer, prod: u32, cons: u32) -> Producer {
        Producer { shared, buffer, prod: AtomicU32::new(prod), cons_seen: AtomicU32::new(cons) }
    }

    /// Where the ring is mapped.
    pub fn start(&self) -> NonNull<u8> {
        self.buffer.start()
    }

    /// The ring's size in bytes.
    pub fn size(&self) -> u32 {
        self.buffer.size()
    }

    /// How many bytes may be written now: a fresh look at the peer's index.
    pub fn space(&self) -> Result<u32, Corrupt> {
        self.shared.poison.check()?;
        let cons = self.shared.written_ring().cons.load(Ordering::Acquire);
        let used = self.prod.load(Private::Relaxed).wrapping_sub(cons);
        if used > self.size() {
            return Err(self.shared.poison.set(self.shared.role.written_cons(), cons));
        }
        self.cons_seen.store(cons, Private::Relaxed);
        Ok(self.size() - used)
    }

    /// How many bytes may be written, looking at the peer's index only if fewer than `wanted` were known of.
    #[inline]
    pub fn space_for(&self, wanted: usize) -> Result<u32, Corrupt> {
        self.shared.poison.check()?;
        let used = self.prod.load(Private::Relaxed).wrapping_sub(self.cons_seen.load(Private::Relaxed));
        let known = self.size().wrapping_sub(used);
        if known as usize >= wanted && known <= self.size() {
            return Ok(known);
        }
        self.space()
    }

    /// How many bytes the peer has not consumed yet.
    pub fn pending(&self) -> Result<u32, Corrupt> {
        Ok(self.size() - self.space()?)
    }

    /// The next `len` bytes to be written, in up to two parts; `len` must be within the space.
    #[inline]
    pub fn free_slices(&self, len: u32) -> [RawSlice; 2] {
        self.buffer.slices(self.prod.load(Private::Relaxed), len)
    }

    /// Copies `data` into the free space, which it must fit, without publishing it.
    #[inline]
    pub fn fill(&self, data: &[u8]) {
        self.buffer.copy_in(self.prod.load(Private::Relaxed), data);
    }

    /// Publishes `len` bytes. Says whether the peer has asked to be told, that is, whether to send an event.
    #[inline]
    #[must_use]
    pub fn commit(&self, len: u32) -> bool {
        let prod = self.prod.load(Private::Relaxed).wrapping_add(len);
        self.prod.store(prod, Private::Relaxed);
        notify::publish(&self.shared.written_ring().prod, prod, self.shared.own_notify(), Want::Data)
    }
}
