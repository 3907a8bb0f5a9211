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

/// Reads from a ring: look for what is [`ready`](Consumer::ready), take it, [`consume`](Consumer::consume).
///
/// Our own index lives here and is only ever written to the shared page, as in [`Producer`](super::Producer).
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

    /// Where the ring is mapped.
    pub fn start(&self) -> NonNull<u8> {
        self.buffer.start()
    }

    /// The ring's size in bytes.
    pub fn size(&self) -> u32 {
        self.buffer.size()
    }

    /// How many bytes may be read now: a fresh look at the peer's index. It may not have gone back.
    ///
    /// Any thread may ask, also while another consumes.
    pub fn ready(&self) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let (peers, field) = (&self.page.read_ring().prod, self.page.role.read_prod());
        self.cursor.look(peers, self.size(), &self.page.poison, field)
    }

    /// How many bytes may be read, looking at the peer's index only if fewer than `wanted` were known of.
    #[inline]
    pub fn ready_for(&self, wanted: usize) -> Result<u32, Corrupt> {
        self.page.poison.check()?;
        let known = self.cursor.known();
        if known as usize >= wanted && known <= self.size() {
            return Ok(known);
        }
        self.ready()
    }

    /// How many bytes have been read since the ring was made, modulo 2^32.
    pub fn consumed(&self) -> u32 {
        self.cursor.own()
    }

    /// The next `len` bytes to be read, in up to two parts; `len` must be within what is ready.
    #[inline]
    pub fn ready_slices(&self, len: u32) -> [RawSlice; 2] {
        self.buffer.slices(self.cursor.own(), len)
    }

    /// Copies the next bytes into `into`, which must be within what is ready, without consuming them.
    #[inline]
    pub fn peek(&self, into: &mut [u8]) {
        self.peek_behind(0, into);
    }

    /// As [`peek`](Self::peek), behind `offset` bytes that were read but not yet consumed.
    #[inline]
    pub fn peek_behind(&self, offset: u32, into: &mut [u8]) {
        self.buffer.copy_out(self.cursor.own().wrapping_add(offset), into);
    }

    /// Gives `len` bytes back to the peer as space. Says whether the peer has asked to be told, that is, whether
    /// to send an event.
    #[inline]
    #[must_use]
    pub fn consume(&self, len: u32) -> bool {
        let cons = self.cursor.advance(len);
        let notification = self.page.notification(Interest::Writable, &self.elision);
        notify::publish(&self.page.read_ring().cons, cons, notification)
    }
}
