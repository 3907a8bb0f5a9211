//! `vchan-rs.h`: the kinds of errors.

use std::ffi::c_int;

use vchan::{transport::xen::XENSTORE, Error};

/// No call has failed in this thread.
pub const VCHAN_RS_ERROR_NONE: c_int = 0;
/// A system call failed; errno is its error.
pub const VCHAN_RS_ERROR_SYSTEM: c_int = 1;
/// Xenstore refused something, or could not be reached.
pub const VCHAN_RS_ERROR_XENSTORE: c_int = 2;
/// Invalid argument or environment variable.
pub const VCHAN_RS_ERROR_INVALID: c_int = 3;
/// Refused for security: a file or directory has the wrong owner, mode or type.
pub const VCHAN_RS_ERROR_REFUSED: c_int = 4;
/// No server has published there.
pub const VCHAN_RS_ERROR_NO_SERVER: c_int = 5;
/// Another server uses the path (errno EADDRINUSE), or the server has another client (EBUSY).
pub const VCHAN_RS_ERROR_IN_USE: c_int = 6;
/// The peer has closed the channel.
pub const VCHAN_RS_ERROR_PEER_CLOSED: c_int = 7;
/// The peer's process or domain has ended without closing the channel.
pub const VCHAN_RS_ERROR_PEER_DIED: c_int = 8;
/// The peer wrote invalid data into the shared page.
pub const VCHAN_RS_ERROR_CORRUPT: c_int = 9;
/// This side has closed or left the channel.
pub const VCHAN_RS_ERROR_CLOSED: c_int = 10;
/// The timeout expired.
pub const VCHAN_RS_ERROR_TIMED_OUT: c_int = 11;
/// The call would block.
pub const VCHAN_RS_ERROR_WOULD_BLOCK: c_int = 12;
/// Interrupted by a signal.
pub const VCHAN_RS_ERROR_INTERRUPTED: c_int = 13;
/// The packet is larger than the ring.
pub const VCHAN_RS_ERROR_TOO_LARGE: c_int = 14;

/// The peer has ended its stream (half-close), and still reads.
pub const VCHAN_RS_ERROR_PEER_FINISHED: c_int = 15;
/// The peer has left because of a failure.
pub const VCHAN_RS_ERROR_PEER_ABORTED: c_int = 16;

/// The kind of an error, for C.
pub(crate) fn kind_of(error: &Error) -> c_int {
    match error {
        Error::PeerClosed => VCHAN_RS_ERROR_PEER_CLOSED,
        Error::PeerFinished => VCHAN_RS_ERROR_PEER_FINISHED,
        Error::PeerAborted => VCHAN_RS_ERROR_PEER_ABORTED,
        Error::PeerDied => VCHAN_RS_ERROR_PEER_DIED,
        Error::Closed => VCHAN_RS_ERROR_CLOSED,
        Error::Corrupt(_) => VCHAN_RS_ERROR_CORRUPT,
        Error::TimedOut(_) => VCHAN_RS_ERROR_TIMED_OUT,
        Error::WouldBlock => VCHAN_RS_ERROR_WOULD_BLOCK,
        Error::Interrupted => VCHAN_RS_ERROR_INTERRUPTED,
        Error::PacketTooLarge { .. } => VCHAN_RS_ERROR_TOO_LARGE,
        Error::Invalid(_) => VCHAN_RS_ERROR_INVALID,
        Error::NoServer { .. } => VCHAN_RS_ERROR_NO_SERVER,
        Error::InUse { .. } => VCHAN_RS_ERROR_IN_USE,
        Error::Refused(_) => VCHAN_RS_ERROR_REFUSED,
        Error::Transport { part: XENSTORE, .. } => VCHAN_RS_ERROR_XENSTORE,
        _ => VCHAN_RS_ERROR_SYSTEM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_xenstore_has_its_kind() {
        let error = |part| Error::transport(part, libc::EACCES, "refused");
        assert_eq!(kind_of(&error(XENSTORE)), VCHAN_RS_ERROR_XENSTORE);
        assert_eq!(kind_of(&error("another part")), VCHAN_RS_ERROR_SYSTEM);
    }
}
