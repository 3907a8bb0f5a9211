//! One end of a channel: connecting, reading, writing, waiting, leaving.
//!
//! [`Vchan`] is what programs use; it splits into a [`Reader`] and a [`Writer`] for two threads. [`Channel`] is the
//! same without their modes, for interfaces in other languages.

mod bells;
mod builder;
mod call_gate;
#[cfg_attr(model, allow(dead_code))]
pub(crate) mod cancel;
mod closer;
mod descriptor;
mod half;
#[cfg(not(model))]
mod interrupt;
#[cfg(model)]
#[path = "interrupt_model.rs"]
mod interrupt;
mod limit;
mod linger;
#[cfg(all(test, model))]
mod model;
mod moment;
mod nudge;
mod outside;
mod polling;
mod promise;
mod seldom;
mod shared;
mod sleep;
mod spin;
mod sync;
mod transfer;
mod vchan;
mod vectored;
mod waiting;
mod yielding;

/// For the C interface, whose callers may be cancelled by `pthread_cancel`.
///
/// A call that waits and ends as [interrupted](crate::Error::Interrupted) may be one that only wants its caller to look whether the
/// thread was cancelled, with nothing of this crate on the stack, and to make the call again.
#[cfg(not(model))]
#[doc(hidden)]
pub mod cancellation {
    pub use super::cancel::{hold, Held};
    pub use super::interrupt::{forget_look, goes_on, has_looked, take_goes_on};
}

pub use builder::{ClientBuilder, ServerBuilder};
#[doc(hidden)]
pub use call_gate::{CallGate, Own};
pub use closer::Closer;
pub use half::{Reader, Writer};
pub use shared::Channel;
pub use transfer::{Progress, Wait};
pub use vchan::Vchan;

/// Where the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No client has come yet (server only). Writing is possible.
    Waiting,
    /// The peer is there.
    Connected,
    /// The peer has left. What it wrote before can still be read.
    PeerClosed,
    /// The peer's process has ended without leaving in order. What it wrote before can still be read.
    PeerDied,
}
