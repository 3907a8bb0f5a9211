//! Opens the [`Lookup`] of the build: through the crate xenstore-rs where that is possible, else through
//! vchan-xenstore.
//!
//! The feature `xenstore-rs` adds that crate as a [`Backend`](vchan_xenstore::Backend). Its limits:
//!
//! * It knows `$XENSTORED_PATH` as a socket, `/run/xenstored/socket` and `/dev/xen/xenbus`. After a failure of the
//!   socket it tries the device, even if `$XENSTORED_PATH` is set. It is used only if vchan-xenstore reached xenstored at
//!   one of these paths.
//! * It has no time limits. It is used only after xenstored answered vchan-xenstore. If xenstored stops answering later,
//!   the look-up does not end.
//! * It keeps no errno: several error names become one [`io::ErrorKind`](std::io::ErrorKind). The name is at the end of
//!   its message, and is taken from there.
//! * It checks no request IDs and no lengths, reads only text, and cannot list more than 4096 bytes of names (E2BIG).

use vchan_xenstore::{Lookup, Nodes, XsClient, XsError};

/// Connects to xenstored.
///
/// # Errors
///
/// As [`XsClient::open`], and any failure but a refusal of the first request.
pub fn open() -> Result<Lookup<'static>, XsError> {
    let client = XsClient::open()?;
    // Any reply shows that xenstored answers, also a refusal.
    match client.read("domid") {
        Ok(_) | Err(XsError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    #[cfg(feature = "xenstore-rs")]
    if xenstore_rs_backend::suits(&client) {
        return Ok(Lookup::over(xenstore_rs_backend::open()?, "xenstore-rs"));
    }
    Ok(Lookup::over(client, "own client"))
}

#[cfg(feature = "xenstore-rs")]
mod xenstore_rs_backend {
    use std::io;

    use vchan_xenstore::{
        errno_of, Backend, Operation, Request, XsClient, XsError, DEVICE, PATH_VARIABLE, SOCKET,
    };
    use xenstore_rs::{unix::XsUnix, Xs};

    struct XenstoreRs(XsUnix);

    pub(super) fn open() -> Result<impl Backend + Send, XsError> {
        XsUnix::new()
            .map(XenstoreRs)
            .map_err(|source| XsError::Unreachable { attempts: format!("xenstore-rs: {source}"), source })
    }

    /// Whether `XsUnix` connects to the endpoint of this client.
    pub(super) fn suits(client: &XsClient) -> bool {
        let path = client.endpoint();
        match std::env::var_os(PATH_VARIABLE) {
            // An empty variable is a path for XsUnix; vchan-xenstore ignores it.
            Some(named) => {
                client.is_socket() && path.as_os_str() == named.as_os_str() && named.to_str().is_some()
            }
            None => path.as_os_str() == SOCKET || path.as_os_str() == DEVICE,
        }
    }

    impl Backend for XenstoreRs {
        fn get(&self, path: &str) -> Result<String, XsError> {
            self.0.read(path).map(String::from).map_err(|error| restore(error, Operation::Read, path))
        }

        fn list(&self, path: &str) -> Result<Vec<String>, XsError> {
            let names = self.0.directory(path).map_err(|error| restore(error, Operation::Directory, path))?;
            Ok(names.into_iter().map(String::from).collect())
        }

        fn remove(&self, path: &str) -> Result<(), XsError> {
            self.0.rm(path).map_err(|error| restore(error, Operation::Rm, path))
        }
    }

    /// The error with its errno: from the name at the end of the message, else from the kind.
    fn restore(error: io::Error, operation: Operation, path: &str) -> XsError {
        let request = Request { operation, path: path.to_owned() };
        if error.raw_os_error().is_some() {
            return XsError::Connection { request, source: error };
        }
        let message = error.to_string();
        let name = message.rsplit(' ').next().unwrap_or_default();
        let (errno, name) = match (errno_of(name), error.kind()) {
            (Some(errno), _) => (errno, name),
            (None, io::ErrorKind::NotFound) => (libc::ENOENT, "ENOENT"),
            (None, io::ErrorKind::PermissionDenied) => (libc::EACCES, "EACCES"),
            // An unknown name. This kind is that of refusals only.
            (None, io::ErrorKind::Other) => (libc::EIO, name),
            (None, _) => return XsError::Connection { request, source: error },
        };
        XsError::Refused { request, name: name.to_owned(), source: io::Error::from_raw_os_error(errno) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn restored(error: io::Error) -> XsError {
            restore(error, Operation::Read, "/a")
        }

        #[test]
        fn refusals_have_their_errno() {
            for (kind, message, errno) in [
                (io::ErrorKind::NotFound, "XS interface error ENOENT", libc::ENOENT),
                (io::ErrorKind::PermissionDenied, "XS interface error EROFS", libc::EROFS),
                (io::ErrorKind::AlreadyExists, "XS interface error EBUSY", libc::EBUSY),
                (io::ErrorKind::Other, "XS interface error EQUOTA", libc::EDQUOT),
                (io::ErrorKind::Other, "XS interface error EWHATEVER", libc::EIO),
                (io::ErrorKind::NotFound, "worded otherwise", libc::ENOENT),
            ] {
                let error = restored(io::Error::new(kind, message));
                assert!(error.refused_with(errno), "{message}: {error:?}");
                assert_eq!(error.path(), Some("/a"));
            }
        }

        #[test]
        fn connection_failure_is_not_a_refusal() {
            for error in [
                io::Error::from_raw_os_error(libc::EPIPE),
                io::ErrorKind::UnexpectedEof.into(),
                io::Error::new(io::ErrorKind::InvalidData, "Got unrelated response"),
            ] {
                assert!(matches!(restored(error), XsError::Connection { .. }));
            }
        }
    }
}
