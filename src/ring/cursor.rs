//! The two indices of one ring, from the side that moves one of them.

use super::corrupt::{Corrupt, Field, Poison};
use super::sync::{AtomicU32, Ordering};
use crate::fault::{fault, Fault};

/// This side's index, and the peer's at its last check. `LEADS`: this side's index is the one in front, that of the
/// bytes written.
#[derive(Debug)]
pub(super) struct Cursor<const LEADS: bool> {
    own: AtomicU32,
    /// By any thread.
    seen: AtomicU32,
}

impl<const LEADS: bool> Cursor<LEADS> {
    pub(super) fn new(own: u32, seen: u32) -> Cursor<LEADS> {
        Cursor { own: AtomicU32::new(own), seen: AtomicU32::new(seen) }
    }

    /// Bytes that this side has moved since the ring was made, modulo 2^32.
    #[inline]
    pub(super) fn own(&self) -> u32 {
        self.own.load(Ordering::Relaxed)
    }

    /// Moves this side's index by `len`, and returns it. Only one thread at a time may do this.
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

    /// Bytes in the ring at the last check. More than its size while another thread checks.
    #[inline]
    pub(super) fn known(&self) -> u32 {
        let seen = self.seen.load(Ordering::Acquire);
        Self::filled(self.own(), seen)
    }

    /// Bytes in the ring, by a fresh check of the index `peers`. Fails if that has gone back. Any thread may check,
    /// also while another one moves this side's index.
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
            // All may have moved between the loads.
            let same = self.own() == own && self.seen.load(Ordering::Relaxed) == seen;
            if same || fault(Fault::OneCheck) {
                return Err(poison.set(field, fresh));
            }
        }
    }
}

/// Whether the peer's index has gone back since an earlier check. A count of bytes only grows. Otherwise a packet
/// could be cut in two, and a waiting call could wait for ever.
fn is_behind(index: u32, seen: u32) -> bool {
    (index.wrapping_sub(seen) as i32) < 0
}
