//! Byte streams between two domains, or two processes, over shared-memory rings: Xen's *vchan* protocol.
//!
//! A vchan is two rings in shared memory (one for each direction), an event channel by which one side wakes the
//! other, and two words of configuration by which the sides find each other. The crate speaks the wire protocol of
//! Xen's libxenvchan and of ocaml-vchan; see `docs/protocol.md` in the repository.
//!
//! * [`Vchan`] is one end of a channel: it reads and writes like a socket. Make one with [`Vchan::server`] or
//!   [`Vchan::client`].
//! * [`transport`] holds what a channel is carried by: the traits [`Memory`](transport::Memory),
//!   [`Events`](transport::Events) and [`Registry`](transport::Registry), and their implementations.
//! * [`ring`] is the shared-memory protocol itself. It makes no system call.
//!
//! ```
//! use std::io::{Read, Write};
//! use vchan::{transport::in_process::InProcess, Vchan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = InProcess::new();
//! let server = Vchan::server(1, "greeting").transport(&machine.domain(0)).listen()?;
//! let mut client = Vchan::client(0, "greeting").transport(&machine.domain(1)).connect()?;
//!
//! let mut server = server.accept(None)?;
//! client.write_all(b"hello")?;
//! client.close();
//! let mut text = String::new();
//! server.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! # Ok(())
//! # }
//! ```

pub mod channel;
mod error;
mod fault;
#[cfg(not(model))]
pub mod fence;
#[cfg(model)]
#[path = "fence_model.rs"]
mod fence;
pub mod ring;
#[doc(hidden)]
pub mod thread;
pub mod transport;

pub use channel::{ClientBuilder, Closer, Reader, ServerBuilder, State, Vchan, Writer};
pub use error::{Error, Result};

/// A Xen domain's number. On transports without Xen it is only a name.
pub type DomId = u16;

/// The README's examples, tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
