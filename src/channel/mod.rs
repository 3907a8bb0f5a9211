//! One end of a channel: connecting, reading, writing, waiting, leaving.
//!
//! [`Vchan`] is what programs use; it splits into a [`Reader`] and a [`Writer`] for two threads. [`Channel`] is the
//! same without their modes, for interfaces in other languages.

mod builder;
mod call_gate;
// The type gives the file its name.
#[allow(clippy::module_inception)]
mod channel;
mod closer;
mod fd_io;
mod half;
mod io;
#[cfg(all(test, model))]
mod model;
mod vchan;
mod vectored;
pub(crate) mod wait;

/// For the C interface, whose callers may be cancelled by `pthread_cancel`.
///
/// A call that waits and ends as [interrupted](crate::Error::Interrupted) may be one that only wants its caller to look whether the
/// thread was cancelled, with nothing of this crate on the stack, and to make the call again.
#[cfg(not(model))]
#[doc(hidden)]
pub mod cancellation {
    pub use super::wait::cancel::{hold, Held};
    pub use super::wait::signals::{forget_look, has_looked, is_look_requested, take_look_request};
}

pub use builder::{ClientBuilder, ServerBuilder};
#[doc(hidden)]
pub use call_gate::{CallGate, Own};
pub use channel::Channel;
pub use closer::Closer;
pub use half::{Reader, Writer};
pub use io::{Progress, Wait};
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
