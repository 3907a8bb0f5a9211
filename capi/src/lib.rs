//! A drop-in libxenvchan: the C interface to the `vchan` crate.
//!
//! Every entry does the same three things: it checks its pointers, calls the Rust API, and has the `Result` turned
//! into a C return by `errors`. There is no protocol in here.
//!
//! * `layout` is what C programs see of a channel, `handle` what they don't.
//! * `init`, `io`, `state` and `close` are `libxenvchan.h`; the `ext_` modules are `vchan-rs.h`.
//! * `event` and `logger` are the two places where Xen's other libraries are met, if they are there, which `symbol` finds out.

mod cancelled;
mod close;
mod errors;
mod event;
mod ext_end;
mod ext_info;
mod ext_init;
mod ext_io;
mod ext_ring;
mod handle;
mod init;
mod io;
mod kinds;
mod layout;
mod logger;
mod state;
mod symbol;
