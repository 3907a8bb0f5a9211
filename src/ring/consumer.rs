//! The reading side of one ring.

use std::ptr::NonNull;
use std::sync::Arc;

use super::buffer::{RawSlice, RingBuffer};
use super::corrupt::Corrupt;
use super::cursor::Cursor;
use super::fence_elision::FenceElision;
use super::interest::Interest;
use super::notify;
use super::page::Page;

/// Reads from a ring: check what is [`ready`](Consumer::ready), copy it, [`consume`](Consumer::consume).
///
/// The own index is private, as in [`Producer`](super::internals::Producer).
#[derive(Debug)]
pub struct Consumer {
    page: Arc<Page>,
    buffer: RingBuffer,
    cursor: Cursor<false>,
    elision: FenceElision,
}

impl Consumer {
    pub(super) fn new(page: Arc<Page>, buffer: RingBuffer, cons: u32, prod: u32) -> Consumer {
        Consumer { page, buffer, cursor: Cursor::new(cons, prod), elision: FenceElision::default() }
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

    /// Bytes that can be read now, by a fresh check of the peer's index. Fails if that has gone back.
    ///
    /// May be called by any thread, also while another consumes.
    pub fn ready(&self) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let (peers, field) = (&self.page.read_ring().prod, self.page.role.read_prod());
        self.cursor.look(peers, self.size(), &self.page.poison, field)
    }

    /// Bytes that can be read. Checks the peer's index only if fewer than `wanted` are known.
    #[inline]
    pub fn ready_for(&self, wanted: usize) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let known = self.cursor.known();
        if known as usize >= wanted && known <= self.size() {
            return Ok(known);
        }
        self.ready()
    }

    /// Bytes read since the ring was made, modulo 2^32.
    pub fn consumed(&self) -> u32 {
        self.cursor.own()
    }

    /// The next `len` bytes to read, in up to two parts. `len` must be within what is ready.
    #[inline]
    pub fn ready_slices(&self, len: u32) -> [RawSlice; 2] {
        self.buffer.slices(self.cursor.own(), len)
    }

    /// Copies the next bytes without consuming them. They must be ready.
    #[inline]
    pub fn peek(&self, into: &mut [u8]) {
        self.peek_behind(0, into);
    }

    /// As [`peek`](Self::peek), behind `offset` bytes that were copied but not consumed.
    #[inline]
    pub fn peek_behind(&self, offset: u32, into: &mut [u8]) {
        self.buffer.copy_out(self.cursor.own().wrapping_add(offset), into);
    }

    /// Returns `len` bytes to the peer as space. Returns whether the peer asked for an event.
    #[inline]
    #[must_use]
    pub fn consume(&self, len: u32) -> bool {
        let cons = self.cursor.advance(len);
        let notification = self.page.notification(Interest::Writable, &self.elision);
        notify::publish(&self.page.read_ring().cons, cons, notification)
    }
}
