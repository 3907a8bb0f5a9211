//! A small client of xenstore, the configuration store that all domains of a machine share.
//!
//! [`XsClient`] speaks the protocol itself, to xenstored's socket in dom0 or through the kernel's device elsewhere. It has
//! permissions, transactions and watches, keeps errnos, checks and bounds every reply, and never waits for one without
//! end. [`Lookup`] reads, lists and removes through whichever implementation of [`lookup::Xs`] the build has.
//!
//! ```no_run
//! use vchan::transport::xen::xenstore::{Access, Nodes, Perm, XsClient};
//!
//! let xs = XsClient::open()?;
//! let own = xs.own_domid()?;
//! xs.transaction(|t| {
//!     t.write("data/vchan/3/port/ring-ref", "8")?;
//!     t.set_perms("data/vchan/3/port/ring-ref", Perm::new(own, Access::None), &[Perm::new(3, Access::Read)])
//! })?;
//! # Ok::<(), vchan::transport::xen::xenstore::XsError>(())
//! ```

mod client;
mod connection;
mod endpoint;
mod error;
mod events;
#[cfg(test)]
mod hostile;
pub mod lookup;
mod nodes;
mod path;
mod perms;
mod transaction;
mod wait;
mod wire;

pub use client::{Ask, XsClient, DEFAULT_TIMEOUT};
pub use endpoint::PATH_VARIABLE;
pub use error::{Request, XsError};
pub use events::WatchEvent;
pub use lookup::Lookup;
pub use nodes::Nodes;
pub use path::{ABSOLUTE_MAX, RELATIVE_MAX};
pub use perms::{Access, Perm};
pub use transaction::{Transaction, TRANSACTION_ATTEMPTS};
pub use wire::{Operation, PAYLOAD_MAX};
