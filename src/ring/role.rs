//! The two ends of a channel.

use super::corrupt::Field;

/// Which end of a channel this is. The server owns the memory and the name. The client connects to it.
///
/// ```
/// use vchan::{transport::{in_process::InProcess, Role}, Listener, Vchan};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
/// let client = Vchan::builder(0, "x").transport(machine.domain(1)).connect()?;
/// assert_eq!((listener.accept()?.role(), client.role()), (Role::Server, Role::Client));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Shares the memory, publishes the rendezvous, waits for the client.
    Server,
    /// Looks up the rendezvous, maps the memory, wakes the server.
    Client,
}

impl Role {
    pub(super) fn written_cons(self) -> Field {
        match self {
            Role::Server => Field::RightCons,
            Role::Client => Field::LeftCons,
        }
    }

    pub(super) fn read_prod(self) -> Field {
        match self {
            Role::Server => Field::LeftProd,
            Role::Client => Field::RightProd,
        }
    }
}
