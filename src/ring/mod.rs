//! The vchan protocol in shared memory: sizes, and what a peer can do wrong. It makes no system call.
//!
//! The caller of an `Endpoint` provides the memory, and sends an event when `Producer::commit` or
//! `Consumer::consume` returns that the peer asked for one. The peer may write anything anywhere in that memory at
//! any time. So each of its fields is read once, checked, and used from the copy. An impossible value poisons the
//! endpoint, see [`Corrupt`].

mod buffer;
#[allow(clippy::missing_errors_doc)]
mod consumer;
mod corrupt;
mod cursor;
#[allow(clippy::missing_errors_doc)]
mod endpoint;
mod fence_elision;
mod interest;
mod layout;
mod notify;
mod order;
mod page;
#[allow(clippy::missing_errors_doc)]
mod producer;
mod role;
mod stream_end;
mod sync;
#[cfg(all(test, not(model)))]
mod tests;

#[cfg(loom)]
pub(crate) use buffer::Byte;
pub use corrupt::{Corrupt, Field};
pub(crate) use endpoint::{Rings, WAITING};
pub(crate) use internals::{Endpoint, Interest, PeerLive, RawSlice, Role, SharedPage, PAGE_SIZE};
pub use order::{Order, OrderTable, Orders};

/// What [`unstable`](crate::unstable) shows.
pub(crate) mod internals {
    pub use super::buffer::RawSlice;
    pub use super::consumer::Consumer;
    pub use super::endpoint::{Endpoint, PeerLive};
    pub use super::interest::Interest;
    pub use super::layout::{SharedPage, MAX_GRANTS, PAGE_SIZE};
    pub use super::producer::Producer;
    pub use super::role::Role;
}
