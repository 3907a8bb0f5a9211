//! The writing side of one ring.

use std::ptr::NonNull;
use std::sync::Arc;

use super::buffer::{RawSlice, RingBuffer};
use super::corrupt::Corrupt;
use super::cursor::Cursor;
use super::fence_elision::FenceElision;
use super::interest::Interest;
use super::notify;
use super::page::Page;

/// Writes into a ring: check the [`space`](Producer::space), fill it, [`commit`](Producer::commit).
///
/// The own index is private and only copied to the shared page, never read back, so the peer cannot move it. One
/// thread at a time may produce. Several at once mix up their data but touch no other memory.
#[derive(Debug)]
pub struct Producer {
    page: Arc<Page>,
    buffer: RingBuffer,
    cursor: Cursor<true>,
    elision: FenceElision,
}

impl Producer {
    pub(super) fn new(page: Arc<Page>, buffer: RingBuffer, prod: u32, cons: u32) -> Producer {
        Producer { page, buffer, cursor: Cursor::new(prod, cons), elision: FenceElision::default() }
    }

    pub(super) fn elides(&self) -> bool {
        self.elision.is_active()
    }

    pub(super) fn stop_eliding(&self) {
        self.elision.end();
    }

    /// The first byte of the mapped ring.
    pub fn start(&self) -> NonNull<u8> {
        self.buffer.start()
    }

    /// The ring's size in bytes.
    pub fn size(&self) -> u32 {
        self.buffer.size()
    }

    /// Bytes that can be written now, by a fresh check of the peer's index. Fails if that has gone back.
    ///
    /// May be called by any thread, also while another produces.
    pub fn space(&self) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let (peers, field) = (&self.page.written_ring().cons, self.page.role.written_cons());
        Ok(self.size() - self.cursor.look(peers, self.size(), &self.page.poison, field)?)
    }

    /// Bytes that can be written. Checks the peer's index only if fewer than `wanted` are known.
    #[inline]
    pub fn space_for(&self, wanted: usize) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let known = self.size().wrapping_sub(self.cursor.known());
        if known as usize >= wanted && known <= self.size() {
            return Ok(known);
        }
        self.space()
    }

    /// Bytes that the peer has not consumed yet.
    pub fn pending(&self) -> Result<u32, Corrupt> {
        Ok(self.size() - self.space()?)
    }

    /// Bytes written since the ring was made, modulo 2^32.
    pub fn written(&self) -> u32 {
        self.cursor.own()
    }

    /// The next `len` bytes to write, in up to two parts. `len` must be within the space.
    #[inline]
    pub fn free_slices(&self, len: u32) -> [RawSlice; 2] {
        self.buffer.slices(self.cursor.own(), len)
    }

    /// Copies `data` into the free space without publishing it. It must fit.
    #[inline]
    pub fn fill(&self, data: &[u8]) {
        self.fill_behind(0, data);
    }

    /// As [`fill`](Self::fill), behind `offset` bytes that were filled but not published.
    #[inline]
    pub fn fill_behind(&self, offset: u32, data: &[u8]) {
        self.buffer.copy_in(self.cursor.own().wrapping_add(offset), data);
    }

    /// Publishes `len` bytes. Returns whether the peer asked for an event.
    #[inline]
    #[must_use]
    pub fn commit(&self, len: u32) -> bool {
        let prod = self.cursor.advance(len);
        let notification = self.page.notification(Interest::Readable, &self.elision);
        notify::publish(&self.page.written_ring().prod, prod, notification)
    }
}
