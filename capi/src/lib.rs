//! A drop-in libxenvchan: the C interface to the `vchan` crate.
//!
//! Every function does the same three things: it checks its pointers, calls the Rust API, and lets `errors`
//! convert the `Result` to a C return value. There is no protocol code here.
//!
//! * `layout` is the public part of a channel, `handle` the private one.
//! * `init`, `io`, `state` and `close` are `libxenvchan.h`; the `ext_` modules are `vchan-rs.h`.
//! * `event` and `logger` use Xen's other libraries, if `symbol` finds them.

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
