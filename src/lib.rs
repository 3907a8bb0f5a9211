//! Byte streams between two domains, or two processes, over shared-memory rings: Xen's *vchan* protocol.
//!
//! A vchan is two rings in shared memory (one for each direction), an event channel by which one side wakes the
//! other, and two words of configuration by which the sides find each other. The crate speaks the wire protocol of
//! Xen's libxenvchan and of ocaml-vchan; see `docs/protocol.md` in the repository.
//!
//! * [`Vchan`] is one end of a channel: it reads and writes like a socket. A server gets one for each client from a
//!   [`Listener`], a client by [`Vchan::connect`].
//! * [`transport`] holds what a channel is carried by: the traits [`Memory`](transport::Memory),
//!   [`Events`](transport::Events) and [`Registry`](transport::Registry), and their implementations.
//! * [`ring`] holds the types of the shared-memory protocol that the rest names.
//!
//! ```
//! use std::io::{Read, Write};
//! use vchan::{transport::in_process::InProcess, Listener, Vchan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = InProcess::new();
//! let listener = Listener::builder(1, "greeting").transport(machine.domain(0)).bind()?;
//! let mut client = Vchan::builder(0, "greeting").transport(machine.domain(1)).connect()?;
//! let mut server = listener.accept()?;
//!
//! client.write_all(b"hello")?;
//! client.close();
//! let mut text = String::new();
//! server.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! # Ok(())
//! # }
//! ```

// Not for what is behind `unstable`.
#![warn(missing_debug_implementations, clippy::missing_errors_doc)]

mod channel;
mod error;
mod fault;
#[cfg(not(model))]
mod fence;
#[cfg(model)]
#[path = "fence_model.rs"]
mod fence;
pub mod ring;
mod thread;
pub mod transport;
#[doc(hidden)]
pub mod unstable;

pub use channel::{ClientBuilder, Closer, Incoming, Listener, ListenerBuilder, Reader, State, Vchan, Writer};
pub use error::{Error, Result};

/// A Xen domain's number. On transports without Xen it is only a name.
pub type DomId = u16;

/// The README's examples, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
