//! A client of Xenstore, the configuration store that all domains of a Xen machine share.
//!
//! [`XsClient`] connects to the socket of xenstored in dom0, and through the kernel's device in other domains. It
//! implements the wire protocol itself and needs no library of Xen.
//!
//! * [`Nodes`]: nodes and their permissions, of a client and of a transaction.
//! * [`XsClient::transaction`]: several changes as one step, repeated after a conflict.
//! * [`XsClient::watch`], [`XsClient::next_event`]: watches. The client is a descriptor that polls readable when there
//!   is an event.
//! * [`Lookup`]: reading, listing and removing through a trait, so that another client can take its place.
//!
//! Every reply has a time limit, and its length, type and request ID are checked. Every failure is an [`XsError`] with
//! the request, an errno and a source.
//!
//! ```no_run
//! use vchan_xenstore::{Access, Nodes, Perm, XsClient};
//!
//! let xs = XsClient::open()?;
//! let own = xs.own_domid()?;
//! xs.transaction(|t| {
//!     t.write("data/greeting", "hello")?;
//!     t.set_perms("data/greeting", Perm::new(own, Access::None), &[Perm::new(3, Access::Read)])
//! })?;
//! # Ok::<(), vchan_xenstore::XsError>(())
//! ```

mod ask;
mod client;
mod connection;
mod endpoint;
mod error;
mod events;
#[cfg(test)]
mod hostile;
mod lookup;
mod nodes;
mod path;
mod perms;
mod transaction;
mod wait;
mod wire;

pub use ask::Ask;
pub use client::{XsClient, DEFAULT_TIMEOUT};
pub use endpoint::{DEVICE, PATH_VARIABLE, SOCKET};
pub use error::{Request, XsError};
pub use events::WatchEvent;
pub use lookup::{Backend, Lookup};
pub use nodes::Nodes;
pub use perms::{Access, Perm};
pub use transaction::Transaction;
pub use wire::{errno_of, Operation, PAYLOAD_MAX};

/// The README's examples, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
