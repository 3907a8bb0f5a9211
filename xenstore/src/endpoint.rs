//! The way to xenstored: its socket in dom0, the kernel's device in other domains.

use std::{
    env,
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    sys::{
        socket::{connect, socket, AddressFamily, SockFlag, SockType, UnixAddr},
        stat::Mode,
    },
};

use crate::{error::XsError, wait::Deadline};

/// The environment variable that names the socket or device to use, instead of all others.
pub const PATH_VARIABLE: &str = "XENSTORED_PATH";
/// The usual socket of xenstored.
pub const SOCKET: &str = "/run/xenstored/socket";
/// The kernel's device for Xenstore.
pub const DEVICE: &str = "/dev/xen/xenbus";
const PLACES: [&str; 4] = [SOCKET, "/var/run/xenstored/socket", DEVICE, "/proc/xen/xenbus"];

/// Pause between two attempts to connect while the daemon's accept queue is full.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// A descriptor that leads to xenstored, non-blocking and close-on-exec.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub fd: OwnedFd,
    pub is_socket: bool,
    pub path: PathBuf,
}

/// The candidates, in order.
fn places(variable: Option<OsString>) -> Vec<PathBuf> {
    match variable {
        Some(path) if !path.is_empty() => vec![path.into()],
        _ => PLACES.iter().map(PathBuf::from).collect(),
    }
}

/// Opens the first candidate that answers.
pub(crate) fn open_default(limit: Duration) -> Result<Endpoint, XsError> {
    open_first(&places(env::var_os(PATH_VARIABLE)), limit)
}

/// Opens the first of `places` that answers. The error lists the failure of each.
pub(crate) fn open_first(places: &[PathBuf], limit: Duration) -> Result<Endpoint, XsError> {
    let mut attempts = Vec::new();
    let mut reported: Option<io::Error> = None;
    for place in places {
        match open_at(place, limit) {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => {
                attempts.push(format!("{}: {error}", place.display()));
                if reported.as_ref().is_none_or(|known| known.kind() == io::ErrorKind::NotFound) {
                    reported = Some(error);
                }
            }
        }
    }
    let source = reported.unwrap_or_else(|| io::ErrorKind::NotFound.into());
    Err(XsError::Unreachable { attempts: attempts.join(", "), source })
}

fn open_at(path: &Path, limit: Duration) -> io::Result<Endpoint> {
    let is_socket = path.metadata()?.file_type().is_socket();
    let fd = if is_socket {
        connect_socket(path, limit)?
    } else {
        open(path, OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty())?
    };
    Ok(Endpoint { fd, is_socket, path: path.to_owned() })
}

/// Connects without blocking: with a full accept queue, a blocking connect to a stopped daemon would never return.
fn connect_socket(path: &Path, limit: Duration) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    let deadline = Deadline::after(Some(limit));
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) | Err(Errno::EISCONN) => return Ok(fd),
            Err(Errno::EINTR) => {}
            // poll does not report room in the accept queue of a Unix socket.
            Err(Errno::EAGAIN) if !deadline.is_over() => thread::sleep(CONNECT_PAUSE),
            Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{listen, Backlog};

    use super::*;

    #[test]
    fn variable_replaces_the_defaults() {
        assert_eq!(places(Some("/x/socket".into())), [Path::new("/x/socket")]);
        assert_eq!(places(None).len(), PLACES.len());
        assert_eq!(places(Some("".into())).len(), PLACES.len());
    }

    #[test]
    fn error_names_every_candidate() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join("dead");
        drop(UnixListener::bind(&dead).unwrap());
        let places = [dir.path().join("absent"), dead];
        let error = open_first(&places, Duration::from_secs(5)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("absent: No such file") && text.contains("dead: Connection refused"), "{text}");
        assert_eq!(error.errno(), libc::ECONNREFUSED);
    }

    #[test]
    fn full_accept_queue_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let limit = Duration::from_millis(50);
        let mut queued = Vec::new();
        let refused = loop {
            match open_first(std::slice::from_ref(&path), limit) {
                Ok(endpoint) => queued.push(endpoint),
                Err(error) => break error,
            }
            assert!(queued.len() < 100, "the queue never fills");
        };
        assert_eq!(refused.errno(), libc::ETIMEDOUT);
    }
}
