//! The peer's view of the shared memory, with a copy of what the peer wrote, to detect writes of the victim
//! outside its own fields.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicU8, Ordering::SeqCst};

use vchan::transport::{Mapping, Role};
use vchan::unstable::ring::PAGE_SIZE;

#[path = "../../support/offsets.rs"]
mod offsets;
pub use offsets::*;

/// The offset of the grants.
pub const GRANTS: usize = 24;

/// Bits of the notify bytes, besides the requests.
const FENCE_OFFER: u8 = 4;
const FENCE_RELIANCE: u8 = 8 | 16;
/// The bits for half-close and abort.
const HALF_CLOSE: u8 = 32 | 64 | 128;

/// The location of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// 0 for the shared page, 1 for the left ring's pages, 2 for the right ring's.
    block: usize,
    start: usize,
    pub size: u32,
}

impl Ring {
    /// The location of a ring of an order; `block` contains its own pages, if it has some.
    fn of(order: u16, block: usize) -> Ring {
        match order {
            10 => Ring { block: 0, start: 1024, size: 1024 },
            11 => Ring { block: 0, start: 2048, size: 2048 },
            _ => Ring { block, start: 0, size: 1 << order },
        }
    }
}

/// The memory that the peer can write: everything that it has mapped.
pub struct Pages {
    victim: Role,
    blocks: [Option<Box<dyn Mapping>>; 3],
    copies: [Vec<u8>; 3],
    /// The victim's indices that the peer has overwritten since the victim's last store.
    overwritten: [bool; 2],
    /// The expected values of the victim's indices at the last comparison.
    moved: [u32; 2],
    /// The ring that the victim reads, and the one that it writes.
    pub read: Ring,
    pub written: Ring,
}

/// The ring that a victim reads, and the one that it writes.
fn read_and_written(victim: Role, left: Ring, right: Ring) -> (Ring, Ring) {
    match victim {
        Role::Server => (left, right),
        Role::Client => (right, left),
    }
}

impl Pages {
    /// `orders` are the real orders of the rings, left and right.
    pub fn new(victim: Role, blocks: [Option<Box<dyn Mapping>>; 3], orders: [u16; 2]) -> Pages {
        let (read, written) = read_and_written(victim, Ring::of(orders[0], 1), Ring::of(orders[1], 2));
        let mut pages = Pages {
            victim,
            blocks,
            copies: Default::default(),
            overwritten: [false; 2],
            moved: [0; 2],
            read,
            written,
        };
        for number in 0..3 {
            pages.copies[number] = pages.bytes(number);
        }
        pages
    }

    /// Computes the rings as a client does from the current page: with wrong orders or grants the client
    /// writes elsewhere. Does nothing if the client has to refuse the page.
    pub fn believe_published(&mut self) {
        let orders = [LEFT_ORDER, RIGHT_ORDER].map(|at| self.u16(at));
        if !orders.iter().all(|order| (10..=20).contains(order)) {
            return;
        }
        let [left, right] = orders.map(|order| if order < 12 { 0 } else { 1 << (order - 12) });
        let ring = |order: u16, pages: usize, first: usize| match pages {
            0 => Some(Ring::of(order, 0)),
            _ => Some(Ring::of(order, self.block_of(self.u32(GRANTS + 4 * first), pages)?)),
        };
        if let (Some(left), Some(right)) = (ring(orders[0], left, 0), ring(orders[1], right, left)) {
            (self.read, self.written) = read_and_written(self.victim, left, right);
        }
    }

    /// The block of `pages` pages that begins with this grant.
    fn block_of(&self, grant: u32, pages: usize) -> Option<usize> {
        self.blocks.iter().position(|block| {
            block.as_ref().is_some_and(|block| block.pages() == pages && block.grants()[0] == grant)
        })
    }

    /// Whether the ring that the victim writes overlaps the indices, which happens if the page itself was
    /// published as the ring's memory.
    pub fn is_over_indices(&self) -> bool {
        self.written.block == 0 && self.written.start == 0
    }

    /// The same with the rings' own pages, once they are known.
    pub fn with_rings(
        self,
        left: Option<Box<dyn Mapping>>,
        right: Option<Box<dyn Mapping>>,
        orders: [u16; 2],
    ) -> Pages {
        let [page, ..] = self.blocks;
        Pages::new(self.victim, [page, left, right], orders)
    }

    /// Reads a block by words, to be compared with its copy after each call.
    fn bytes(&self, number: usize) -> Vec<u8> {
        let len = self.blocks[number].as_ref().map_or(0, |block| block.pages() * PAGE_SIZE);
        let mut bytes = vec![0; len];
        for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&self.word(number, at * 8).load(SeqCst).to_ne_bytes());
        }
        bytes
    }

    fn word(&self, block: usize, at: usize) -> &AtomicU64 {
        let block = self.blocks[block].as_ref().expect("a mapped block");
        assert!(at + 8 <= block.pages() * PAGE_SIZE && at % 8 == 0);
        // SAFETY: as in `cell`, and aligned.
        unsafe { block.base().add(at).cast().as_ref() }
    }

    fn cell(&self, block: usize, at: usize) -> &AtomicU8 {
        let block = self.blocks[block].as_ref().expect("a mapped block");
        assert!(at < block.pages() * PAGE_SIZE);
        // SAFETY: inside the block, which is mapped while `self` lives; accessed only as atomics here.
        unsafe { block.base().add(at).cast().as_ref() }
    }

    fn page<T>(&self, at: usize) -> &T {
        let block = self.blocks[0].as_ref().expect("the shared page");
        assert!(at + size_of::<T>() <= PAGE_SIZE && at % size_of::<T>() == 0);
        // SAFETY: inside the page, mapped while `self` lives, aligned; `T` is one of the atomics below.
        unsafe { block.base().add(at).cast().as_ref() }
    }

    pub fn u32(&self, at: usize) -> u32 {
        self.page::<AtomicU32>(at).load(SeqCst)
    }

    pub fn u16(&self, at: usize) -> u16 {
        self.page::<AtomicU16>(at).load(SeqCst)
    }

    pub fn set_u32(&mut self, at: usize, value: u32) {
        self.mark_overwritten(at, 4);
        self.page::<AtomicU32>(at).store(value, SeqCst);
        self.copies[0][at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub fn set_u16(&mut self, at: usize, value: u16) {
        self.mark_overwritten(at, 2);
        self.page::<AtomicU16>(at).store(value, SeqCst);
        self.copies[0][at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub fn set_u8(&mut self, at: usize, value: u8) {
        self.mark_overwritten(at, 1);
        self.put(0, at, value);
    }

    fn mark_overwritten(&mut self, at: usize, len: usize) {
        for (index, overwritten) in self.victims_indices().into_iter().zip(&mut self.overwritten) {
            *overwritten |= at < index + 4 && index < at + len;
        }
    }

    fn put(&mut self, block: usize, at: usize, value: u8) {
        self.cell(block, at).store(value, SeqCst);
        self.copies[block][at] = value;
    }

    /// Stores a byte into a ring, at an index of the stream.
    pub fn set_ring(&mut self, ring: Ring, index: u32, value: u8) {
        self.put(ring.block, ring.start + (index & (ring.size - 1)) as usize, value);
    }

    /// The offsets of the victim's indices: of the ring that it writes, and of the one that it reads.
    pub fn victims_indices(&self) -> [usize; 2] {
        match self.victim {
            Role::Server => [RIGHT_PROD, LEFT_CONS],
            Role::Client => [LEFT_PROD, RIGHT_CONS],
        }
    }

    /// The offsets of the peer's indices: of the ring that it writes, and of the one that it reads.
    pub fn peers_indices(&self) -> [usize; 2] {
        match self.victim {
            Role::Server => [LEFT_PROD, RIGHT_CONS],
            Role::Client => [RIGHT_PROD, LEFT_CONS],
        }
    }

    /// The offsets of the victim's live byte and the peer's.
    pub fn live(&self) -> [usize; 2] {
        match self.victim {
            Role::Server => [SRV_LIVE, CLI_LIVE],
            Role::Client => [CLI_LIVE, SRV_LIVE],
        }
    }

    /// Panics if the victim wrote anything except its indices, its ring, requests to the peer and its live
    /// byte.
    pub fn check_victim(&mut self) {
        let own = self.victims_indices();
        for number in 0..3 {
            let now = self.bytes(number);
            if now == self.copies[number] {
                continue;
            }
            for (at, (&is, &was)) in now.iter().zip(&self.copies[number]).enumerate() {
                if is != was && !self.may_write(number, at, own, is, was) {
                    panic!("the victim wrote {is} over {was} at {at} of block {number}");
                }
            }
            self.copies[number] = now;
        }
    }

    /// Panics if the victim's indices differ from `moved`, unless the peer has overwritten them. After a call
    /// in which the peer was `quiet`, the victim's next store must have corrected that.
    pub fn check_moved(&mut self, moved: [u32; 2], quiet: bool) {
        for (number, at) in self.victims_indices().into_iter().enumerate() {
            let (is, must) = (self.u32(at), moved[number]);
            self.overwritten[number] &= !(quiet && must != self.moved[number]);
            self.moved[number] = must;
            assert!(
                is == must || self.overwritten[number],
                "the victim's index at {at} is {is}, expected {must}"
            );
            self.overwritten[number] &= is != must;
        }
    }

    fn may_write(&self, block: usize, at: usize, own: [usize; 2], is: u8, was: u8) -> bool {
        let ring = self.written;
        if block == ring.block && (ring.start..ring.start + ring.size as usize).contains(&at) {
            return true;
        }
        let [own_notify, peers_notify] = match self.victim {
            Role::Server => [SRV_NOTIFY, CLI_NOTIFY],
            Role::Client => [CLI_NOTIFY, SRV_NOTIFY],
        };
        let live = self.live()[0];
        block == 0
            && (own.iter().any(|&index| (index..index + 4).contains(&at))
                // Requests are only set there, and only cleared here; a client that announces itself sets
                // one. A fence offer and the half-close bits are set there; that this side relies on an offer
                // is set here.
                || at == peers_notify && (is & !was & !(3 | FENCE_OFFER | HALF_CLOSE) == 0 || is & !HALF_CLOSE == 1)
                || at == own_notify && is & !was & !FENCE_RELIANCE == 0
                || at == live && (is == 0 || self.victim == Role::Client && is == 1))
    }
}
