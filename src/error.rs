//! The one error type of the crate.

use std::borrow::Cow;
use std::io;

use crate::ring::Corrupt;

/// The result of a fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Fails. An [`Error`] is much larger than the value of a successful call. Moving a result of this size, as `?` and `match` do, waits for
/// the store before it. The data path therefore moves no result before a call fails.
#[cold]
#[inline(never)]
pub(crate) fn fail<T>(error: Error) -> Result<T> {
    Err(error)
}

/// Why a call failed.
///
/// Each kind has an errno, see [`Error::errno`]; the conversion into [`io::Error`] keeps it by way of the matching
/// [`io::ErrorKind`], and keeps this error as its inner error. An [`io::Error`] holds either an errno or an inner error: its
/// [`raw_os_error`](io::Error::raw_os_error) is `None`, and the inner error has the errno.
///
/// ```
/// use std::io;
/// let error = io::Error::from(vchan::Error::PeerDied);
/// assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
/// let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<vchan::Error>());
/// assert_eq!(inner.unwrap().errno(), libc::ECONNRESET);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer closed its end, and all its bytes were read (`EPIPE`).
    #[error("the peer closed the channel")]
    PeerClosed,
    /// The peer's process or domain ended without closing the channel (`ECONNRESET`).
    #[error("the peer died without closing the channel")]
    PeerDied,
    /// The peer ended its stream, and all its bytes were read. It still reads (`EPIPE`).
    #[error("the peer ended its stream")]
    PeerFinished,
    /// The peer left because of a failure: it may not have processed all bytes (`ECONNABORTED`).
    #[error("the peer left because of a failure on its side")]
    PeerAborted,
    /// This end was closed, perhaps by another thread (`ESHUTDOWN`).
    #[error("the channel was closed on this side")]
    Closed,
    /// The peer wrote an invalid value into the shared page. The channel is unusable from then on (`EPROTO`).
    #[error("the shared memory is corrupt: {0}")]
    Corrupt(#[from] Corrupt),
    /// The time allowed for the call ran out (`ETIMEDOUT`).
    #[error("timed out after {0:?}")]
    TimedOut(std::time::Duration),
    /// The channel is non-blocking, and the call would wait (`EAGAIN`).
    #[error("nothing can be moved at the moment")]
    WouldBlock,
    /// A signal came before anything was moved (`EINTR`), and its handler was installed without `SA_RESTART`.
    #[error("interrupted by a signal")]
    Interrupted,
    /// The packet is larger than the ring (`EMSGSIZE`).
    #[error("a packet of {size} bytes does not fit into a ring of {ring} bytes")]
    PacketTooLarge {
        /// The packet's size in bytes.
        size: usize,
        /// The ring's size in bytes.
        ring: usize,
    },
    /// An invalid argument (`EINVAL`).
    #[error("{0}")]
    Invalid(String),
    /// There is no server under that name (`ENOENT`).
    #[error("no server at {path}: {why}")]
    NoServer {
        /// The configuration path that was looked up.
        path: String,
        /// What was missing.
        why: String,
    },
    /// The name or the channel is in use (`EADDRINUSE` for a server, `EBUSY` for a client).
    #[error("{path} is in use: {why}")]
    InUse {
        /// The configuration path.
        path: String,
        /// Its user.
        why: String,
        /// Whether a server failed, not a client.
        serving: bool,
    },
    /// Refused as unsafe: a directory, file or process is not of the required kind or owner (`EACCES`).
    #[error("refused: {0}")]
    Refused(String),
    /// A part of the transport failed with an error of its own type.
    #[error("{part}: {source}")]
    Transport {
        /// The part of the transport, such as its configuration store.
        part: &'static str,
        /// The errno of the failure.
        errno: i32,
        /// The transport's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Os {
        /// The failed operation.
        doing: Cow<'static, str>,
        /// The error of the system.
        source: io::Error,
    },
}

impl Error {
    /// An error of the operating system, with the failed operation.
    pub fn os(doing: impl Into<Cow<'static, str>>, source: impl Into<io::Error>) -> Error {
        Error::Os { doing: doing.into(), source: source.into() }
    }

    /// An error of a part of the transport, with its errno.
    ///
    /// ```
    /// use std::error::Error as _;
    ///
    /// let error = vchan::Error::transport("registry", libc::EACCES, "the node is not readable");
    /// assert_eq!(error.errno(), libc::EACCES);
    /// assert_eq!(error.to_string(), "registry: the node is not readable");
    /// assert!(error.source().is_some());
    /// ```
    pub fn transport(
        part: &'static str,
        errno: i32,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Transport { part, errno, source: source.into() }
    }

    /// The errno that a C program gets for this error.
    ///
    /// ```
    /// assert_eq!(vchan::Error::PeerClosed.errno(), libc::EPIPE);
    /// ```
    pub fn errno(&self) -> i32 {
        match self {
            Error::PeerClosed => libc::EPIPE,
            Error::PeerFinished => libc::EPIPE,
            Error::PeerAborted => libc::ECONNABORTED,
            Error::PeerDied => libc::ECONNRESET,
            Error::Closed => libc::ESHUTDOWN,
            Error::Corrupt(_) => libc::EPROTO,
            Error::TimedOut(_) => libc::ETIMEDOUT,
            Error::WouldBlock => libc::EAGAIN,
            Error::Interrupted => libc::EINTR,
            Error::PacketTooLarge { .. } => libc::EMSGSIZE,
            Error::Invalid(_) => libc::EINVAL,
            Error::NoServer { .. } => libc::ENOENT,
            Error::InUse { serving: true, .. } => libc::EADDRINUSE,
            Error::InUse { serving: false, .. } => libc::EBUSY,
            Error::Refused(_) => libc::EACCES,
            Error::Transport { errno, .. } => *errno,
            Error::Os { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// Whether a client that waits for its server should try again when something changes.
    pub(crate) fn is_not_yet(&self) -> bool {
        matches!(self, Error::NoServer { .. } | Error::InUse { serving: false, .. })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        // Only `io::Error::from_raw_os_error` knows the errno's kind, and only `io::Error::new` keeps the source.
        let kind = io::Error::from_raw_os_error(error.errno()).kind();
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn an_io_error_keeps_kind_and_source() {
        let error = io::Error::from(Error::PeerClosed);
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error.get_ref().unwrap().is::<Error>());
        assert_eq!(io::Error::from(Error::WouldBlock).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(io::Error::from(Error::Interrupted).kind(), io::ErrorKind::Interrupted);
        assert_eq!(io::Error::from(Error::PeerDied).kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(io::Error::from(Error::TimedOut(Default::default())).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_os_error_has_its_errno_and_chain() {
        let error = Error::os("open /x", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(error.errno(), libc::EMFILE);
        assert!(error.source().is_some());
        assert!(error.to_string().starts_with("open /x: "));
    }
}
