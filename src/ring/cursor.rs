//! One ring's two indices, as the side knows them that moves one of them.

use super::corrupt::{Corrupt, Field, Poison};
use super::sync::{AtomicU32, Ordering};
use crate::fault::{fault, Fault};

/// This side's index, which only it moves, and the peer's when it was last looked at. `LEADS` says whether this side's is the one
/// in front: that of the bytes written.
#[derive(Debug)]
pub(super) struct Cursor<const LEADS: bool> {
    own: AtomicU32,
    /// By whichever thread.
    seen: AtomicU32,
}

impl<const LEADS: bool> Cursor<LEADS> {
    pub(super) fn new(own: u32, seen: u32) -> Cursor<LEADS> {
        Cursor { own: AtomicU32::new(own), seen: AtomicU32::new(seen) }
    }

    /// This side's index: how many bytes it has moved since the ring was made, modulo 2^32.
    #[inline]
    pub(super) fn own(&self) -> u32 {
        self.own.load(Ordering::Relaxed)
    }

    /// Moves this side's index by `len`, and returns it. One thread at a time may do this.
    #[inline]
    pub(super) fn advance(&self, len: u32) -> u32 {
        let own = self.own().wrapping_add(len);
        self.own.store(own, Ordering::Release);
        own
    }

    #[inline]
    fn filled(own: u32, peers: u32) -> u32 {
        if LEADS {
            own.wrapping_sub(peers)
        } else {
            peers.wrapping_sub(own)
        }
    }

    /// How many bytes were in the ring at the last look. More than its size where another thread looks just now.
    #[inline]
    pub(super) fn known(&self) -> u32 {
        let seen = self.seen.load(Ordering::Acquire);
        Self::filled(self.own(), seen)
    }

    /// How many bytes are in the ring: a fresh look at the `peers` index, which may not have gone back. Any thread may look, also
    /// while another one moves this side's index.
    pub(super) fn look(
        &self,
        peers: &AtomicU32,
        size: u32,
        poison: &Poison,
        field: Field,
    ) -> Result<u32, Corrupt> {
        loop {
            let seen = self.seen.load(Ordering::Acquire);
            let own = self.own.load(Ordering::Acquire);
            let fresh = peers.load(Ordering::Acquire);
            let filled = Self::filled(own, fresh);
            if filled <= size && !is_behind(fresh, seen) {
                self.seen.store(fresh, Ordering::Release);
                return Ok(filled);
            }
            // All may have moved on between the looks.
            let same = self.own() == own && self.seen.load(Ordering::Relaxed) == seen;
            if same || fault(Fault::OneLook) {
                return Err(poison.set(field, fresh));
            }
        }
    }
}

/// Whether the peer's index has gone back since an earlier look, which it never does: a count of bytes only grows. Bytes
/// or space that were there and then are not would cut packets in two and keep waiting calls waiting.
fn is_behind(index: u32, seen: u32) -> bool {
    (index.wrapping_sub(seen) as i32) < 0
}
