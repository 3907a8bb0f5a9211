//! The reading side of one ring.

use std::ptr::NonNull;
use std::sync::Arc;

use super::buffer::{RawSlice, RingBuffer};
use super::corrupt::Corrupt;
use super::endpoint::{is_behind, Shared};
use super::notify::{self, Want};
use super::reliance::Reliance;
use super::sync::{AtomicU32, Ordering};
use crate::fault::{fault, Fault};

/// Reads from a ring: look for what is [`ready`](Consumer::ready), take it, [`consume`](Consumer::consume).
///
/// Our own index lives here and is only ever written to the shared page, as in [`Producer`](super::Producer).
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    buffer: RingBuffer,
    cons: AtomicU32,
    /// The peer's index when it was last looked at, by whichever thread.
    prod_seen: AtomicU32,
    reliance: Reliance,
}

impl Consumer {
    pub(super) fn new(shared: Arc<Shared>, buffer: RingBuffer, cons: u32, prod: u32) -> Consumer {
        Consumer {
            shared,
            buffer,
            cons: AtomicU32::new(cons),
            prod_seen: AtomicU32::new(prod),
            reliance: Reliance::default(),
        }
    }

    pub(super) fn relies(&self) -> bool {
        self.reliance.is_there()
    }

    pub(super) fn stop_relying(&self) {
        self.reliance.end();
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
        self.shared.poison.check()?;
        loop {
            let seen = self.prod_seen.load(Ordering::Acquire);
            let cons = self.cons.load(Ordering::Acquire);
            let prod = self.shared.read_ring().prod.load(Ordering::Acquire);
            let ready = prod.wrapping_sub(cons);
            if ready <= self.size() && !is_behind(prod, seen) {
                self.prod_seen.store(prod, Ordering::Release);
                return Ok(ready);
            }
            // All may have moved on between the looks.
            let same =
                self.cons.load(Ordering::Relaxed) == cons && self.prod_seen.load(Ordering::Relaxed) == seen;
            if same || fault(Fault::OneLook) {
                return Err(self.shared.poison.set(self.shared.role.read_prod(), prod));
            }
        }
    }

    /// How many bytes may be read, looking at the peer's index only if fewer than `wanted` were known of.
    #[inline]
    pub fn ready_for(&self, wanted: usize) -> Result<u32, Corrupt> {
        self.shared.poison.check()?;
        let known = self.prod_seen.load(Ordering::Acquire).wrapping_sub(self.cons.load(Ordering::Relaxed));
        if known as usize >= wanted && known <= self.size() {
            return Ok(known);
        }
        self.ready()
    }

    /// How many bytes have been read since the ring was made, modulo 2^32.
    pub fn consumed(&self) -> u32 {
        self.cons.load(Ordering::Relaxed)
    }

    /// The next `len` bytes to be read, in up to two parts; `len` must be within what is ready.
    #[inline]
    pub fn ready_slices(&self, len: u32) -> [RawSlice; 2] {
        self.buffer.slices(self.cons.load(Ordering::Relaxed), len)
    }

    /// Copies the next bytes into `into`, which must be within what is ready, without consuming them.
    #[inline]
    pub fn peek(&self, into: &mut [u8]) {
        self.peek_behind(0, into);
    }

    /// As [`peek`](Self::peek), behind `offset` bytes that were read but not yet consumed.
    #[inline]
    pub fn peek_behind(&self, offset: u32, into: &mut [u8]) {
        self.buffer.copy_out(self.cons.load(Ordering::Relaxed).wrapping_add(offset), into);
    }

    /// Gives `len` bytes back to the peer as space. Says whether the peer has asked to be told, that is, whether
    /// to send an event.
    #[inline]
    #[must_use]
    pub fn consume(&self, len: u32) -> bool {
        let cons = self.cons.load(Ordering::Relaxed).wrapping_add(len);
        self.cons.store(cons, Ordering::Release);
        let asked = self.shared.asked(Want::Space, &self.reliance);
        notify::publish(&self.shared.read_ring().cons, cons, asked)
    }
}
