//! The error type of the crate.

use std::{fmt, io, time::Duration};

use nix::errno::Errno;
use thiserror::Error;

use crate::wire::Operation;

/// A request, as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The operation.
    pub operation: Operation,
    /// The path. For operations on domains the domain's number, for those on transactions a description.
    pub path: String,
}

impl Request {
    pub(crate) fn new(operation: Operation, path: &str) -> Self {
        Self { operation, path: path.to_owned() }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {} in xenstore", self.operation.verb(), self.path)
    }
}

/// Why a request to xenstored failed.
///
/// Each error has an errno, see [`errno`](XsError::errno). After `TimedOut`, `Connection` and `Protocol` the connection is
/// closed: every later request fails with `Closed`.
///
/// ```no_run
/// use vchan_xenstore::{Nodes, XsClient, XsError};
///
/// let xs = XsClient::open()?;
/// match xs.read_text("data/greeting") {
///     Ok(text) => println!("{text}"),
///     Err(error) if error.refused_with(libc::ENOENT) => println!("no greeting"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), XsError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum XsError {
    /// No socket and no device leads to xenstored.
    #[error("cannot reach xenstored: {attempts}; run as root where xenstored or a Xen kernel is, or set XENSTORED_PATH")]
    Unreachable {
        /// Each candidate with its error.
        attempts: String,
        /// The first error other than a missing file, or the last error.
        source: io::Error,
    },
    /// xenstored refused the request.
    #[error("{request}: xenstored answers {name}{}", hint(source))]
    Refused {
        /// The request.
        request: Request,
        /// The error name in the reply.
        name: String,
        /// The error as an errno; EIO for an unknown name.
        source: io::Error,
    },
    /// The request breaks a rule of xenstored and was not sent.
    #[error("{request}: {reason}")]
    Invalid {
        /// The request.
        request: Request,
        /// The rule.
        reason: String,
    },
    /// No reply within the time limit. The connection is closed.
    #[error("{request}: xenstored gave no answer within {limit:?}; see whether it runs, then connect again")]
    TimedOut {
        /// The request.
        request: Request,
        /// The time limit.
        limit: Duration,
    },
    /// Reading or writing failed. The connection is closed.
    #[error(
        "{request}: the connection to xenstored failed: {source}; see whether it runs, then connect again"
    )]
    Connection {
        /// The request.
        request: Request,
        /// The failure.
        source: io::Error,
    },
    /// The reply breaks the protocol. The connection is closed.
    #[error("{request}: xenstored broke the protocol: {detail}; connect again")]
    Protocol {
        /// The request.
        request: Request,
        /// The violation.
        detail: String,
    },
    /// The reply is well-formed, but its value does not have the requested form.
    #[error("{request}: its value {reason}")]
    BadValue {
        /// The request.
        request: Request,
        /// The reason.
        reason: String,
    },
    /// An earlier failure closed the connection.
    #[error("{request}: the connection failed earlier ({cause}); connect again")]
    Closed {
        /// The request.
        request: Request,
        /// The earlier failure.
        cause: String,
    },
    /// Every attempt of the transaction met a conflicting change.
    #[error(
        "{request}: it met conflicting changes {attempts} times in a row; try again when xenstore is quieter"
    )]
    Conflict {
        /// The transaction.
        request: Request,
        /// The number of attempts.
        attempts: u32,
        /// The last refusal.
        source: Box<XsError>,
    },
    /// Waiting for watch events failed.
    #[error("cannot wait for watch events from xenstored: {source}")]
    Wait {
        /// The failure.
        #[from]
        source: io::Error,
    },
    /// More watch events came than the queue keeps. The state of every watched node is unknown.
    #[error("more watch events came from xenstored than the {kept} kept; look again at all that is watched")]
    EventsLost {
        /// The number of events kept.
        kept: usize,
    },
}

impl XsError {
    /// The request, if the error is about one.
    fn request(&self) -> Option<&Request> {
        match self {
            Self::Refused { request, .. }
            | Self::Invalid { request, .. }
            | Self::TimedOut { request, .. }
            | Self::Connection { request, .. }
            | Self::Protocol { request, .. }
            | Self::BadValue { request, .. }
            | Self::Closed { request, .. }
            | Self::Conflict { request, .. } => Some(request),
            Self::Unreachable { .. } | Self::Wait { .. } | Self::EventsLost { .. } => None,
        }
    }

    /// The operation of the request, if the error is about one.
    pub fn operation(&self) -> Option<Operation> {
        self.request().map(|request| request.operation)
    }

    /// The path of the request, if the error is about one.
    pub fn path(&self) -> Option<&str> {
        self.request().map(|request| request.path.as_str())
    }

    /// The errno of this error, for callers in C.
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Self::Refused { source, .. }
            | Self::Unreachable { source, .. }
            | Self::Connection { source, .. }
            | Self::Wait { source } => return source.raw_os_error().unwrap_or(Errno::EIO as i32),
            Self::Invalid { .. } => Errno::EINVAL,
            Self::TimedOut { .. } => Errno::ETIMEDOUT,
            Self::Protocol { .. } | Self::BadValue { .. } => Errno::EPROTO,
            Self::Closed { .. } => Errno::ENOTCONN,
            Self::Conflict { .. } => Errno::EAGAIN,
            Self::EventsLost { .. } => Errno::EOVERFLOW,
        };
        errno as i32
    }

    /// Whether xenstored refused the request with this errno.
    pub fn refused_with(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { .. }) && self.errno() == errno
    }

    /// Whether the node may appear later: it does not exist, or is not readable yet (ENOENT, EACCES).
    pub fn is_not_yet(&self) -> bool {
        self.refused_with(Errno::ENOENT as i32) || self.refused_with(Errno::EACCES as i32)
    }

    /// Whether the error closes the connection.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Connection { .. } | Self::Protocol { .. })
    }
}

impl From<XsError> for io::Error {
    /// Keeps this error as the inner error. The kind is that of its errno.
    fn from(error: XsError) -> Self {
        io::Error::new(io::Error::from_raw_os_error(error.errno()).kind(), error)
    }
}

/// Advice for a refusal, for its message.
fn hint(refusal: &io::Error) -> &'static str {
    match Errno::from_raw(refusal.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT => " (the node does not exist)",
        Errno::EACCES => " (this domain may not; ask the node's owner or dom0 for the permission)",
        Errno::ENOSPC | Errno::EDQUOT => {
            " (this domain's quota is used up; remove nodes or raise it in dom0)"
        }
        Errno::EAGAIN => " (another client changed the same nodes; try again)",
        Errno::E2BIG => " (too much for one message)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn error_has_request_advice_and_source() {
        let request = Request::new(Operation::Read, "/a/b");
        let error = XsError::Refused { request, name: "EACCES".into(), source: Errno::EACCES.into() };
        assert_eq!(error.errno(), libc::EACCES);
        assert_eq!(error.path(), Some("/a/b"));
        assert_eq!(error.operation(), Some(Operation::Read));
        assert!(error.is_not_yet());
        let text = error.to_string();
        assert!(
            text.contains("read /a/b") && text.contains("EACCES") && text.contains("permission"),
            "{text}"
        );
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.raw_os_error(), Some(libc::EACCES));

        let io = io::Error::from(error);
        assert_eq!(io.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(io.downcast::<XsError>().unwrap().path(), Some("/a/b"));
    }
}
