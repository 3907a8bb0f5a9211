//! The shared page: the offset of each field. `docs/protocol.md` has the table.

use super::sync::{AtomicU16, AtomicU32, AtomicU8};

/// The size of a page, and of the shared page, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// The most grant references a shared page holds: both rings of order 20.
#[cfg(not(model))]
pub const MAX_GRANTS: usize = 2 * (1 << (20 - 12));
/// A model shares no pages.
#[cfg(model)]
pub const MAX_GRANTS: usize = 0;

/// Offset of the grant references.
#[cfg(not(model))]
pub(crate) const GRANTS_OFFSET: usize = 24;

/// One direction's indices. Both count bytes since the ring was made, modulo 2^32.
#[repr(C)]
#[derive(Debug)]
pub struct Indices {
    /// Bytes consumed; written by the reading side.
    pub(crate) cons: AtomicU32,
    /// Bytes produced; written by the writing side.
    pub(crate) prod: AtomicU32,
}

/// The head of the page that both sides map. All fields are little-endian; so is every machine that Xen runs on.
#[repr(C)]
#[derive(Debug)]
pub struct SharedPage {
    /// Client to server.
    pub(crate) left: Indices,
    /// Server to client.
    pub(crate) right: Indices,
    pub(crate) left_order: AtomicU16,
    pub(crate) right_order: AtomicU16,
    pub(crate) cli_live: AtomicU8,
    pub(crate) srv_live: AtomicU8,
    /// Events that the client must send. The server sets bits, the client clears them.
    pub(crate) cli_notify: AtomicU8,
    /// Events that the server must send. The client sets bits, the server clears them.
    pub(crate) srv_notify: AtomicU8,
    /// Grant references of the left ring's pages, then of the right ring's. In-page rings lie over the unused end.
    pub(crate) grants: [AtomicU32; MAX_GRANTS],
}

impl SharedPage {
    /// Offset of the client's live byte, for crash notices.
    pub const CLI_LIVE_OFFSET: usize = 20;
    /// Offset of the server's live byte, for crash notices.
    pub const SRV_LIVE_OFFSET: usize = 21;

    /// A page of zeroes, made of the model checker's atomics.
    #[cfg(model)]
    pub(crate) fn zeroed() -> SharedPage {
        let indices = || Indices { cons: AtomicU32::new(0), prod: AtomicU32::new(0) };
        let byte = || AtomicU8::new(0);
        SharedPage {
            left: indices(),
            right: indices(),
            left_order: AtomicU16::new(0),
            right_order: AtomicU16::new(0),
            cli_live: byte(),
            srv_live: byte(),
            cli_notify: byte(),
            srv_notify: byte(),
            grants: [],
        }
    }
}

#[cfg(target_endian = "big")]
compile_error!("the shared page is little-endian and read in place");

#[cfg(not(model))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(offset_of!(SharedPage, left) == 0);
    assert!(offset_of!(Indices, prod) == 4);
    assert!(offset_of!(SharedPage, right) == 8);
    assert!(offset_of!(SharedPage, left_order) == 16);
    assert!(offset_of!(SharedPage, right_order) == 18);
    assert!(offset_of!(SharedPage, cli_live) == SharedPage::CLI_LIVE_OFFSET);
    assert!(offset_of!(SharedPage, srv_live) == SharedPage::SRV_LIVE_OFFSET);
    assert!(offset_of!(SharedPage, cli_notify) == 22);
    assert!(offset_of!(SharedPage, srv_notify) == 23);
    assert!(offset_of!(SharedPage, grants) == GRANTS_OFFSET);
    assert!(size_of::<SharedPage>() == 2072);
};
