//! Looking up, listing and removing nodes through one trait, whoever implements it.
//!
//! With the cargo feature `xenstore-rs` the trait is that crate's [`Xs`] and its `XsUnix` does the work, where it can:
//!
//! * It knows `$XENSTORED_PATH` as a socket, `/run/xenstored/socket` and (on Linux) `/dev/xen/xenbus`, nothing else,
//!   and when the socket fails it goes on to the device without a word, even if `$XENSTORED_PATH` was set. So it is used
//!   only where our own client found xenstored in one of these places.
//! * It has no time-outs. So it is used only after xenstored answered our own client; one that stops answering just then
//!   still holds it.
//! * It keeps no errno: several names become one [`io::ErrorKind`], though the name stands in the message, from where
//!   it is recovered here.
//! * It checks neither paths nor request ids nor lengths, reads only text, and cannot list a directory of more than
//!   4096 bytes of names (E2BIG). The paths are checked here; for the rest there is our own client.
//!
//! Without the feature the trait is our own, of the same shape, and our client serves alone.

use std::io;

use nix::errno::Errno;
#[cfg(feature = "xenstore-rs")]
pub use xenstore_rs::Xs;

use super::{
    client::XsClient,
    error::{Request, XsError},
    nodes::Nodes,
    path::check_node,
    transaction::Transaction,
    wire::{errno_of, Operation},
};

/// What every way to xenstore can do. The same shape as the trait of the crate xenstore-rs, which replaces it when the
/// feature of that name is on.
#[cfg(not(feature = "xenstore-rs"))]
pub trait Xs {
    /// The names of a node's children.
    fn directory(&self, path: &str) -> io::Result<Vec<Box<str>>>;
    /// The value of a node that holds text.
    fn read(&self, path: &str) -> io::Result<Box<str>>;
    /// Sets the value of a node.
    fn write(&self, path: &str, data: &str) -> io::Result<()>;
    /// Removes a node and all below it.
    fn rm(&self, path: &str) -> io::Result<()>;
}

/// Our client and its transactions behind the common trait; the [`XsError`] stays inside the [`io::Error`].
macro_rules! xs_through_nodes {
    ($($type:ty),*) => {$(
        impl Xs for $type {
            fn directory(&self, path: &str) -> io::Result<Vec<Box<str>>> {
                Ok(Nodes::directory(self, path)?.into_iter().map(String::into_boxed_str).collect())
            }

            fn read(&self, path: &str) -> io::Result<Box<str>> {
                let mut text = Nodes::read_text(self, path)?;
                // Some writers store a terminator; the other implementation hides it too.
                if text.ends_with('\0') {
                    text.pop();
                }
                Ok(text.into_boxed_str())
            }

            fn write(&self, path: &str, data: &str) -> io::Result<()> {
                Ok(Nodes::write(self, path, data)?)
            }

            fn rm(&self, path: &str) -> io::Result<()> {
                Ok(Nodes::rm(self, path)?)
            }
        }
    )*};
}

xs_through_nodes!(XsClient, &XsClient, Transaction<'_>, &Transaction<'_>);

/// Reads, lists and removes through an implementation of [`Xs`], with full errors.
pub struct Lookup<'a> {
    xs: Box<dyn Xs + Send + 'a>,
    backend: &'static str,
}

impl Lookup<'static> {
    /// Connects to xenstored: by the crate xenstore-rs if that is built in and gets there, else by our own client.
    pub fn open() -> Result<Self, XsError> {
        let client = XsClient::open()?;
        // Any answer will do, also a refusal: it shows that xenstored is alive.
        match Nodes::read(&client, "domid") {
            Ok(_) | Err(XsError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        #[cfg(feature = "xenstore-rs")]
        if suits_xenstore_rs(&client) {
            let xs = xenstore_rs::unix::XsUnix::new().map_err(|source| XsError::Unreachable {
                attempts: format!("xenstore-rs: {source}"),
                source,
            })?;
            return Ok(Self::over(xs, "xenstore-rs"));
        }
        Ok(Self::over(client, "own client"))
    }
}

impl<'a> Lookup<'a> {
    /// Uses this implementation; the name is for diagnostics.
    pub fn over(xs: impl Xs + Send + 'a, backend: &'static str) -> Self {
        Self { xs: Box::new(xs), backend }
    }

    /// Which implementation is at work.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// The value of a node that holds text.
    pub fn read(&self, path: &str) -> Result<String, XsError> {
        self.run(Operation::Read, path, |xs| xs.read(path)).map(String::from)
    }

    /// The names of a node's children.
    pub fn directory(&self, path: &str) -> Result<Vec<String>, XsError> {
        let names = self.run(Operation::Directory, path, |xs| xs.directory(path))?;
        Ok(names.into_iter().map(String::from).collect())
    }

    /// Removes a node and all below it. A node that is missing is no error if its parent exists.
    pub fn remove(&self, path: &str) -> Result<(), XsError> {
        self.run(Operation::Rm, path, |xs| xs.rm(path))
    }

    fn run<T>(
        &self,
        operation: Operation,
        path: &str,
        action: impl FnOnce(&dyn Xs) -> io::Result<T>,
    ) -> Result<T, XsError> {
        let request = Request::new(operation, path);
        if let Err(reason) = check_node(path) {
            return Err(XsError::Invalid { request, reason });
        }
        action(self.xs.as_ref()).map_err(|error| restore(error, request))
    }
}

impl std::fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// Whether `XsUnix` goes where our client went.
#[cfg(feature = "xenstore-rs")]
fn suits_xenstore_rs(client: &XsClient) -> bool {
    use super::endpoint::{DEVICE, PATH_VARIABLE, SOCKET};

    let path = client.endpoint();
    match std::env::var_os(PATH_VARIABLE) {
        // An empty variable means nothing to us, but a socket without a name to XsUnix.
        Some(named) => {
            client.is_socket() && path.as_os_str() == named.as_os_str() && named.to_str().is_some()
        }
        None => path.as_os_str() == SOCKET || path.as_os_str() == DEVICE,
    }
}

/// The full error: our own as it went in; xenstore-rs's from the name at the end of its message, or else its kind.
fn restore(error: io::Error, request: Request) -> XsError {
    let error = match error.downcast::<XsError>() {
        Ok(own) => return own,
        Err(other) => other,
    };
    if error.raw_os_error().is_some() {
        return XsError::Connection { request, source: error };
    }
    let message = error.to_string();
    let name = message.rsplit(' ').next().unwrap_or_default();
    let (errno, name) = match (errno_of(name), error.kind()) {
        (Some(errno), _) => (errno, name),
        (None, io::ErrorKind::NotFound) => (Errno::ENOENT, "ENOENT"),
        (None, io::ErrorKind::PermissionDenied) => (Errno::EACCES, "EACCES"),
        // A name unknown to us: message and kind say that the daemon refused, but not why.
        (None, io::ErrorKind::Other) => (Errno::EIO, name),
        (None, _) => return XsError::Connection { request, source: error },
    };
    XsError::Refused { request, name: name.to_owned(), errno }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(error: io::Error) -> XsError {
        restore(error, Request::new(Operation::Read, "/a"))
    }

    #[test]
    fn the_errno_of_a_foreign_error_is_recovered() {
        for (kind, message, errno) in [
            (io::ErrorKind::NotFound, "XS interface error ENOENT", Errno::ENOENT),
            (io::ErrorKind::PermissionDenied, "XS interface error EROFS", Errno::EROFS),
            (io::ErrorKind::AlreadyExists, "XS interface error EBUSY", Errno::EBUSY),
            (io::ErrorKind::Other, "XS interface error EQUOTA", Errno::EDQUOT),
            (io::ErrorKind::Other, "XS interface error EWHATEVER", Errno::EIO),
            (io::ErrorKind::NotFound, "worded otherwise", Errno::ENOENT),
        ] {
            let error = restored(io::Error::new(kind, message));
            assert!(error.refused_with(errno), "{message}: {error:?}");
            assert_eq!(error.path(), Some("/a"));
        }
    }

    #[test]
    fn a_failed_connection_is_no_refusal() {
        for error in [
            io::Error::from_raw_os_error(libc::EPIPE),
            io::ErrorKind::UnexpectedEof.into(),
            io::Error::new(io::ErrorKind::InvalidData, "Got unrelated response"),
        ] {
            assert!(matches!(restored(error), XsError::Connection { .. }));
        }
    }

    #[test]
    fn our_own_error_comes_back_whole() {
        let request = Request::new(Operation::Rm, "/b");
        let own = XsError::Refused { request, name: "EPERM".into(), errno: Errno::EPERM };
        let back = restored(own.into());
        assert_eq!((back.errno(), back.path()), (Errno::EPERM, Some("/b")));
    }
}
