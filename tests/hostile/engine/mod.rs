//! A hostile peer against the library, both driven by a script of bytes. The fuzzer of `fuzz/` and the bounded run of
//! `tests/hostile` share it.
//!
//! In a *lockstep* run one thread plays both sides in turn, and the peer also acts wherever the library uses the event
//! channel: the same script does the same every time, and every byte that the victim writes is checked. In a *racing*
//! run the peer has a thread of its own, and so has each direction of the victim.

mod daemon;
mod guarded;
mod page;
mod peer;
mod pure;
mod race;
mod script;
mod step;
mod tally;
mod victim;

pub use daemon::ask_daemon;
pub use guarded::{Hook, Machine};
pub use peer::{Peer, ACTS, CLIENT, PORT, RARE_ACTS, SERVER, TRUNCATE};
pub use pure::pure;
pub use race::{race, race_against, server};
pub use script::Script;
pub use step::step;
pub use tally::{count, Tally};
pub use victim::{BOTH, ENDING, READING, WRITING};
