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

/// Writes into a ring: look for [`space`](Producer::space), fill it, [`commit`](Producer::commit).
///
/// Our own index lives here and is only ever written to the shared page, never read back, so the peer can't move
/// it. One thread at a time should produce; more than one at once mix up their data, but nothing worse.
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

    /// Where the ring is mapped.
    pub fn start(&self) -> NonNull<u8> {
        self.buffer.start()
    }

    /// The ring's size in bytes.
    pub fn size(&self) -> u32 {
        self.buffer.size()
    }

    /// How many bytes may be written now: a fresh look at the peer's index. It may not have gone back.
    ///
    /// Any thread may ask, also while another produces.
    pub fn space(&self) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let (peers, field) = (&self.page.written_ring().cons, self.page.role.written_cons());
        Ok(self.size() - self.cursor.look(peers, self.size(), &self.page.poison, field)?)
    }

    /// How many bytes may be written, looking at the peer's index only if fewer than `wanted` were known of.
    #[inline]
    pub fn space_for(&self, wanted: usize) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let known = self.size().wrapping_sub(self.cursor.known());
        if known as usize >= wanted && known <= self.size() {
            return Ok(known);
        }
        self.space()
    }

    /// How many bytes the peer has not consumed yet.
    pub fn pending(&self) -> Result<u32, Corrupt> {
        Ok(self.size() - self.space()?)
    }

    /// How many bytes have been written since the ring was made, modulo 2^32.
    pub fn written(&self) -> u32 {
        self.cursor.own()
    }

    /// The next `len` bytes to be written, in up to two parts; `len` must be within the space.
    #[inline]
    pub fn free_slices(&self, len: u32) -> [RawSlice; 2] {
        self.buffer.slices(self.cursor.own(), len)
    }

    /// Copies `data` into the free space, which it must fit, without publishing it.
    #[inline]
    pub fn fill(&self, data: &[u8]) {
        self.fill_behind(0, data);
    }

    /// As [`fill`](Self::fill), behind `offset` bytes that were filled but not yet published.
    #[inline]
    pub fn fill_behind(&self, offset: u32, data: &[u8]) {
        self.buffer.copy_in(self.cursor.own().wrapping_add(offset), data);
    }

    /// Publishes `len` bytes. Says whether the peer has asked to be told, that is, whether to send an event.
    #[inline]
    #[must_use]
    pub fn commit(&self, len: u32) -> bool {
        let prod = self.cursor.advance(len);
        let notification = self.page.notification(Interest::Readable, &self.elision);
        notify::publish(&self.page.written_ring().prod, prod, notification)
    }
}
