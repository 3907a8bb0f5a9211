//! What can go wrong between us and xenstored.

use std::{fmt, io, time::Duration};

use nix::errno::Errno;
use thiserror::Error;

use super::wire::Operation;

/// What was asked of xenstored, for the error to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The operation.
    pub operation: Operation,
    /// The path, or for the operations on domains and transactions what they are about.
    pub path: String,
}

impl Request {
    pub(super) fn new(operation: Operation, path: &str) -> Self {
        Self { operation, path: path.to_owned() }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {} in xenstore", self.operation.verb(), self.path)
    }
}

/// A failed attempt to do something with xenstored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum XsError {
    /// No socket and no device leads to xenstored.
    #[error("cannot reach xenstored: {attempts}; run as root where xenstored or a Xen kernel is, or set XENSTORED_PATH")]
    Unreachable {
        /// Each place tried, and its error.
        attempts: String,
        /// The first error other than the place's absence, or the last of all.
        source: io::Error,
    },
    /// xenstored answered with an error.
    #[error("{request}: xenstored answers {name}{}", hint(*errno))]
    Refused {
        /// What was asked.
        request: Request,
        /// The error's name as sent.
        name: String,
        /// The error as an errno; EIO for names unknown to us.
        #[source]
        errno: Errno,
    },
    /// The request breaks xenstored's rules and was not sent.
    #[error("{request}: {reason}")]
    Invalid {
        /// What was asked.
        request: Request,
        /// Which rule.
        reason: String,
    },
    /// No answer in time. The connection is of no use any more.
    #[error("{request}: xenstored gave no answer within {limit:?}; see whether it runs, then connect again")]
    TimedOut {
        /// What was asked.
        request: Request,
        /// The time allowed.
        limit: Duration,
    },
    /// Reading or writing failed. The connection is of no use any more.
    #[error(
        "{request}: the connection to xenstored failed: {source}; see whether it runs, then connect again"
    )]
    Connection {
        /// What was asked.
        request: Request,
        /// The failure.
        source: io::Error,
    },
    /// The answer breaks the protocol. The connection is of no use any more.
    #[error("{request}: xenstored broke the protocol: {detail}; connect again")]
    Protocol {
        /// What was asked.
        request: Request,
        /// How.
        detail: String,
    },
    /// The answer is well-formed, but not what the node should hold.
    #[error("{request}: its value {reason}")]
    BadValue {
        /// What was asked.
        request: Request,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier failure closed the connection.
    #[error("{request}: the connection failed earlier ({cause}); connect again")]
    Closed {
        /// What was asked.
        request: Request,
        /// The earlier failure.
        cause: String,
    },
    /// Others kept changing what the transaction touched.
    #[error(
        "{request}: it met conflicting changes {attempts} times in a row; try again when xenstore is quieter"
    )]
    Conflict {
        /// The transaction.
        request: Request,
        /// How often it was tried.
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
    /// More watch events came than are kept: whatever is watched must be looked at again.
    #[error("more watch events came from xenstored than the {kept} kept; look again at all that is watched")]
    EventsLost {
        /// How many are kept.
        kept: usize,
    },
}

impl XsError {
    /// What was asked, where the error is about one request.
    pub fn request(&self) -> Option<&Request> {
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

    /// The operation, where the error is about one request.
    pub fn operation(&self) -> Option<Operation> {
        self.request().map(|request| request.operation)
    }

    /// The path, where the error is about one request.
    pub fn path(&self) -> Option<&str> {
        self.request().map(|request| request.path.as_str())
    }

    /// The errno that fits best, for callers of C.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::Unreachable { source, .. } | Self::Connection { source, .. } | Self::Wait { source } => {
                source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
            }
            Self::Invalid { .. } => Errno::EINVAL,
            Self::TimedOut { .. } => Errno::ETIMEDOUT,
            Self::Protocol { .. } | Self::BadValue { .. } => Errno::EPROTO,
            Self::Closed { .. } => Errno::ENOTCONN,
            Self::Conflict { .. } => Errno::EAGAIN,
            Self::EventsLost { .. } => Errno::EOVERFLOW,
        }
    }

    /// Whether the daemon itself refused with this errno.
    pub fn refused_with(&self, wanted: Errno) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == wanted)
    }

    /// Whether a node may yet appear: it is absent, or made but not yet ours to read.
    pub fn is_not_yet(&self) -> bool {
        self.refused_with(Errno::ENOENT) || self.refused_with(Errno::EACCES)
    }

    /// Whether the connection survived the error.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Connection { .. } | Self::Protocol { .. })
    }
}

impl From<XsError> for io::Error {
    /// Keeps the whole error inside, under the kind of its errno.
    fn from(error: XsError) -> Self {
        io::Error::new(io::Error::from(error.errno()).kind(), error)
    }
}

/// What to do about a refusal.
fn hint(errno: Errno) -> &'static str {
    match errno {
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
    fn an_error_names_operation_path_and_remedy_and_keeps_its_source() {
        let request = Request::new(Operation::Read, "/a/b");
        let error = XsError::Refused { request, name: "EACCES".into(), errno: Errno::EACCES };
        assert_eq!(error.errno(), Errno::EACCES);
        assert_eq!(error.path(), Some("/a/b"));
        assert_eq!(error.operation(), Some(Operation::Read));
        assert!(error.is_not_yet());
        let text = error.to_string();
        assert!(
            text.contains("read /a/b") && text.contains("EACCES") && text.contains("permission"),
            "{text}"
        );
        assert_eq!(error.source().unwrap().downcast_ref::<Errno>(), Some(&Errno::EACCES));

        let io = io::Error::from(error);
        assert_eq!(io.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(io.downcast::<XsError>().unwrap().path(), Some("/a/b"));
    }
}
