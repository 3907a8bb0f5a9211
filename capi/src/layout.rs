//! `struct libxenvchan` as compiled programs know it, byte for byte.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use vchan::transport::Role;
use vchan::unstable::ring::{Endpoint, SharedPage};

use crate::event::EventHandle;

/// One direction of a channel.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct libxenvchan_ring {
    /// The direction's indices in the shared page.
    pub shr: *mut c_void,
    /// The ring's bytes.
    pub buffer: *mut c_void,
    /// log2 of the ring's size.
    pub order: c_int,
}

/// The public part of a channel. Programs can read all of it and write `flags`, at any time and without a
/// lock.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct libxenvchan {
    /// A libxengnttab handle in Xen's library; always NULL here.
    pub gntshr: *mut c_void,
    /// The shared page.
    pub ring: *mut SharedPage,
    /// A libxenevtchn handle, or a structure with the same beginning.
    pub event: *mut EventHandle,
    /// The local event port.
    pub event_port: u32,
    /// The bit fields `is_server`, `server_persist` and `blocking`.
    pub flags: u32,
    /// The ring that this side reads.
    pub read: libxenvchan_ring,
    /// The ring that this side writes.
    pub write: libxenvchan_ring,
    /// The configuration path.
    pub xs_path: *mut c_char,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<libxenvchan>() == 88);
    assert!(offset_of!(libxenvchan, ring) == 8);
    assert!(offset_of!(libxenvchan, event) == 16);
    assert!(offset_of!(libxenvchan, event_port) == 24);
    assert!(offset_of!(libxenvchan, flags) == 28);
    assert!(offset_of!(libxenvchan, read) == 32);
    assert!(offset_of!(libxenvchan, write) == 56);
    assert!(offset_of!(libxenvchan, xs_path) == 80);
    assert!(offset_of!(libxenvchan_ring, order) == 16);
};

/// The offsets of the left and the right ring's indices in the shared page.
const LEFT_OFFSET: usize = 0;
const RIGHT_OFFSET: usize = 8;

const IS_SERVER: u32 = 1;
const SERVER_PERSIST: u32 = 2;
const BLOCKING: u32 = 4;

/// A snapshot of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Reads the flags, which the program can write at the same time.
    ///
    /// # Safety
    ///
    /// `ctrl` must point to a live `struct libxenvchan`.
    #[inline]
    pub(crate) unsafe fn read(ctrl: *mut libxenvchan) -> Flags {
        // SAFETY: the caller's; the field is aligned, and C writes it with a plain store of a word or a byte.
        let flags = unsafe { AtomicU32::from_ptr(&raw mut (*ctrl).flags) };
        Flags(flags.load(Ordering::Relaxed))
    }

    pub(crate) fn blocking(self) -> bool {
        self.0 & BLOCKING != 0
    }

    pub(crate) fn persistent(self) -> bool {
        self.0 & SERVER_PERSIST != 0
    }
}

impl libxenvchan {
    /// Sets the flags that a program can set.
    pub(crate) fn set_flags(&mut self, blocking: bool, persistent: bool) {
        let bit = |set, bit| if set { bit } else { 0 };
        self.flags |= bit(blocking, BLOCKING) | bit(persistent, SERVER_PERSIST);
    }

    /// The public part of one end of a channel, except `event` and `xs_path`.
    pub(crate) fn describing(ring: &Endpoint, event_port: u32) -> libxenvchan {
        let page = ring.page().as_ptr();
        let (read_at, write_at) = match ring.role() {
            Role::Server => (LEFT_OFFSET, RIGHT_OFFSET),
            Role::Client => (RIGHT_OFFSET, LEFT_OFFSET),
        };
        let part = |offset, start: NonNull<u8>, size: u32| libxenvchan_ring {
            shr: page.wrapping_byte_add(offset).cast(),
            buffer: start.as_ptr().cast(),
            order: size.trailing_zeros() as c_int,
        };
        libxenvchan {
            gntshr: ptr::null_mut(),
            ring: page,
            event: ptr::null_mut(),
            event_port,
            flags: if ring.role() == Role::Server { IS_SERVER } else { 0 },
            read: part(read_at, ring.consumer.start(), ring.consumer.size()),
            write: part(write_at, ring.producer.start(), ring.producer.size()),
            xs_path: ptr::null_mut(),
        }
    }
}
