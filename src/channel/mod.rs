//! One end of a channel: connecting, reading, writing, waiting, leaving.
//!
//! [`Vchan`] is what programs use; it splits into a [`Reader`] and a [`Writer`] for two threads. [`Channel`] is the
//! same without their modes, for interfaces in other languages.

mod builder;
mod call_gate;
// The type gives the file its name.
#[allow(clippy::module_inception)]
#[allow(clippy::missing_errors_doc)]
mod channel;
mod closer;
#[allow(clippy::missing_errors_doc)]
mod fd_io;
mod half;
#[allow(clippy::missing_errors_doc)]
mod io;
mod listener;
#[cfg(all(test, model))]
mod model;
#[allow(clippy::missing_errors_doc)]
mod readiness;
mod serve;
mod vchan;
mod vectored;
pub(crate) mod wait;

/// For the C interface, whose callers may be cancelled by `pthread_cancel`.
///
/// A call that waits and ends as [interrupted](crate::Error::Interrupted) may be one that only wants its caller to look whether the
/// thread was cancelled, with nothing of this crate on the stack, and to make the call again.
#[cfg(not(model))]
pub mod cancellation {
    pub use super::wait::cancel::{hold, Held};
    pub use super::wait::signals::{forget_look, is_look_requested, note_look, take_look_request};
}

pub use builder::{ClientBuilder, ListenerBuilder};
pub use call_gate::{CallGate, Own};
pub use channel::Channel;
pub use closer::Closer;
pub use half::{Reader, Writer};
pub use io::{Progress, Wait};
pub use listener::{Incoming, Listener};
pub use vchan::Vchan;

/// Where the peer is.
///
/// ```
/// use vchan::{transport::in_process::InProcess, Listener, State, Vchan};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
/// let client = Vchan::builder(0, "x").transport(machine.domain(1)).connect()?;
/// let server = listener.accept()?;
/// assert_eq!(client.state()?, State::Connected);
/// server.close();
/// assert_eq!(client.state()?, State::PeerClosed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No client has come yet. An end that was accepted or connected is never in this state.
    Waiting,
    /// The peer is there.
    Connected,
    /// The peer has left. What it wrote before can still be read.
    PeerClosed,
    /// The peer's process has ended without leaving in order. What it wrote before can still be read.
    PeerDied,
}
