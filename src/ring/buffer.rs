//! The bytes of a ring. The only place that copies data from and into shared memory.

#[cfg(not(loom))]
use std::ptr;
use std::ptr::NonNull;

/// A contiguous part of a ring, for calls that take an address and a length (`readv`, `writev`).
///
/// The peer may change the bytes at any time, so this is not a `&[u8]`. Copy them before looking at them.
#[derive(Clone, Copy, Debug)]
pub struct RawSlice {
    /// The first byte.
    pub start: NonNull<u8>,
    /// The number of bytes.
    pub len: usize,
}

/// The bytes of one ring. Their number is a power of two.
#[derive(Debug)]
pub(super) struct RingBuffer {
    start: NonNull<u8>,
    size: u32,
}

// SAFETY: the bytes belong to no thread; all access is by raw copies, which races with the peer anyway.
unsafe impl Send for RingBuffer {}
// SAFETY: as above.
unsafe impl Sync for RingBuffer {}

impl RingBuffer {
    /// # Safety
    ///
    /// `start` must point at `size` bytes, a power of two, that stay mapped for as long as the value lives.
    pub(super) unsafe fn new(start: NonNull<u8>, size: u32) -> RingBuffer {
        debug_assert!(size.is_power_of_two());
        RingBuffer { start, size }
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The `len` bytes of the stream from index `at`, in up to two parts. `len` is limited to the ring's size, so the
    /// parts never reach outside.
    #[inline]
    pub(super) fn slices(&self, at: u32, len: u32) -> [RawSlice; 2] {
        let len = len.min(self.size);
        let offset = at & (self.size - 1);
        let first = len.min(self.size - offset);
        // SAFETY: offset < size.
        let start = unsafe { self.start.cast::<Byte>().add(offset as usize) }.cast();
        [RawSlice { start, len: first as usize }, RawSlice { start: self.start, len: (len - first) as usize }]
    }

    /// Copies `data` to the stream's index `at`, at most one ring of it.
    #[inline]
    pub(super) fn copy_in(&self, at: u32, data: &[u8]) {
        let [first, second] = self.slices(at, u32::try_from(data.len()).unwrap_or(u32::MAX));
        // SAFETY: `slices` cut both parts to the ring, and together to the length of `data`.
        unsafe { copy_to_shared(data.as_ptr(), first.start, first.len) };
        if second.len > 0 {
            // SAFETY: as above.
            unsafe { copy_to_shared(data.as_ptr().add(first.len), second.start, second.len) };
        }
    }

    /// Copies from the stream's index `at`, at most one ring.
    #[inline]
    pub(super) fn copy_out(&self, at: u32, into: &mut [u8]) {
        let [first, second] = self.slices(at, u32::try_from(into.len()).unwrap_or(u32::MAX));
        // SAFETY: `slices` cut both parts to the ring, and together to the length of `into`.
        unsafe { copy_from_shared(first.start, into.as_mut_ptr(), first.len) };
        if second.len > 0 {
            // SAFETY: as above.
            unsafe { copy_from_shared(second.start, into.as_mut_ptr().add(first.len), second.len) };
        }
    }
}

/// One byte of a ring.
#[cfg(not(loom))]
type Byte = u8;
/// In a model: a cell that detects a write while another thread may read.
#[cfg(loom)]
pub(crate) type Byte = loom::cell::UnsafeCell<u8>;

/// # Safety
///
/// Both ranges must be mapped, and must not overlap.
#[cfg(not(loom))]
#[inline]
unsafe fn copy_to_shared(from: *const u8, to: NonNull<u8>, len: usize) {
    // SAFETY: the caller's.
    unsafe { shared_copy(from, to.as_ptr(), len) };
}

/// # Safety
///
/// Both ranges must be mapped, and must not overlap.
#[cfg(not(loom))]
#[inline]
unsafe fn copy_from_shared(from: NonNull<u8>, to: *mut u8, len: usize) {
    // SAFETY: the caller's.
    unsafe { shared_copy(from.as_ptr(), to, len) };
}

/// # Safety
///
/// `from` must be `len` bytes and `to` as many cells.
#[cfg(loom)]
unsafe fn copy_to_shared(from: *const u8, to: NonNull<u8>, len: usize) {
    for at in 0..len {
        // SAFETY: the caller's.
        unsafe { to.cast::<Byte>().add(at).as_ref().with_mut(|byte| *byte = *from.add(at)) };
    }
}

/// # Safety
///
/// `from` must be `len` cells and `to` as many bytes.
#[cfg(loom)]
unsafe fn copy_from_shared(from: NonNull<u8>, to: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: the caller's.
        unsafe { from.cast::<Byte>().add(at).as_ref().with(|byte| *to.add(at) = *byte) };
    }
}

#[cfg(not(loom))]
type Memcpy = unsafe extern "C" fn(*mut libc::c_void, *const libc::c_void, usize) -> *mut libc::c_void;

/// The C library's memcpy behind a pointer that is read volatile. To the compiler it is a foreign function with two
/// addresses, so accesses to the shared bytes are neither repeated nor elided.
#[cfg(not(loom))]
static MEMCPY: Memcpy = libc::memcpy;

/// Copies `len` bytes. The peer may write one side at the same time.
///
/// # Safety
///
/// Both ranges must be mapped, and must not overlap.
#[cfg(not(loom))]
#[inline]
unsafe fn shared_copy(from: *const u8, to: *mut u8, len: usize) {
    // memcpy requires valid addresses for 0 bytes, too. Those of an empty slice are not.
    if len == 0 {
        return;
    }
    // SAFETY: the static is initialised and never changes.
    let memcpy = unsafe { ptr::read_volatile(&raw const MEMCPY) };
    // SAFETY: the caller's.
    unsafe { memcpy(to.cast(), from.cast(), len) };
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    /// Every part of every small ring, from every index around the wrap, and lengths beyond the ring.
    #[test]
    fn parts_are_the_bytes_of_the_stream() {
        // Miri runs the first of eight times as many cases per order.
        for order in 0..=if cfg!(miri) { 3 } else { 7 } {
            let size = 1u32 << order;
            let mut memory = vec![0u8; size as usize];
            let start = NonNull::new(memory.as_mut_ptr()).unwrap();
            // SAFETY: all of `memory`, which outlives the buffer.
            let ring = unsafe { RingBuffer::new(start, size) };
            for at in (0..4 * size).map(|step| step.wrapping_sub(2 * size)) {
                for len in (0..=size + 2).chain([u32::MAX]) {
                    let parts = ring.slices(at, len);
                    let offset = |part: &RawSlice| part.start.as_ptr() as usize - start.as_ptr() as usize;
                    let bytes =
                        parts.iter().flat_map(|part| (0..part.len).map(|n| (offset(part) + n) as u32));
                    let expected = (0..len.min(size)).map(|n| at.wrapping_add(n) % size);
                    assert!(bytes.eq(expected), "{size} {at} {len}: {parts:?}");
                }
            }
        }
    }

    #[test]
    fn copies_wrap_and_never_leave_the_ring() {
        let mut memory = [0xEEu8; 48];
        let start = NonNull::new(memory.as_mut_ptr()).unwrap();
        // SAFETY: 16 bytes from the 16th are inside `memory`, which outlives the buffer.
        let ring = unsafe { RingBuffer::new(start.add(16), 16) };
        for at in [0u32, 5, 15, u32::MAX - 3, u32::MAX] {
            for len in 0..=16 {
                let data: Vec<u8> = (0..len as u8).collect();
                ring.copy_in(at, &data);
                let mut out = vec![0; len];
                ring.copy_out(at, &mut out);
                assert_eq!(out, data, "at {at} len {len}");
            }
        }
        ring.copy_in(3, &[7; 40]);
        ring.copy_out(9, &mut [0; 40]);
        assert!(memory[..16].iter().chain(&memory[32..]).all(|&b| b == 0xEE));
        assert!(memory[16..32].iter().all(|&b| b == 7));
    }
}
