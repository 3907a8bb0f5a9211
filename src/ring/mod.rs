//! The vchan protocol in shared memory: layout, orders, producer, consumer, notification. No I/O.
//!
//! The caller of an [`Endpoint`] provides the memory, and sends an event when [`Producer::commit`] or
//! [`Consumer::consume`] returns that the peer asked for one. The peer may write anything anywhere in that memory at
//! any time. So each of its fields is read once, checked, and used from the copy. An impossible value poisons the
//! endpoint, see [`Corrupt`].

mod buffer;
mod consumer;
mod corrupt;
mod cursor;
mod endpoint;
mod fence_elision;
mod interest;
mod layout;
mod notify;
mod order;
mod page;
mod producer;
mod role;
mod stream_end;
mod sync;
#[cfg(all(test, not(model)))]
mod tests;

#[cfg(loom)]
pub(crate) use buffer::Byte;
pub use buffer::RawSlice;
pub use consumer::Consumer;
pub use corrupt::{Corrupt, Field};
pub use endpoint::{Endpoint, PeerLive};
pub(crate) use endpoint::{Rings, WAITING};
pub use interest::Interest;
pub use layout::{SharedPage, MAX_GRANTS, PAGE_SIZE};
pub use order::{Order, OrderTable, Orders};
pub use producer::Producer;
pub use role::Role;
