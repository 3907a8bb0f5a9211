//! A hostile peer against the library, both driven by a script of bytes. Shared by the fuzzer in `fuzz/` and
//! the bounded run in `tests/hostile`.
//!
//! In a *lockstep* run one thread runs both sides in turn, and the peer also acts whenever the library uses
//! the event channel: a script is deterministic, and every byte that the victim writes is checked. In a
//! *racing* run the peer and each direction of the victim have their own threads.

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
