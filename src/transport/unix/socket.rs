//! The sockets behind event channels: creation, look-up, and the check of their owners. Paths can have any
//! length, though a socket's address holds only 107 bytes: sockets are addressed through an open descriptor.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{open, OFlag};
use nix::sys::socket::{
    accept4, bind, connect, getsockopt, listen, socket, sockopt, AddressFamily, Backlog, SockFlag, SockType,
};
use nix::sys::stat::{fchmodat, fstat, FchmodatFlags, Mode};
use nix::unistd::geteuid;

use super::descriptor::{address_failed, by_address, by_descriptor};
use super::dir::Dir;
use super::mode;
use super::side::ClientSide;
use super::slot::Slot;
use super::sweep::unfinished_socket;
use crate::{Error, Result};

/// With this backlog one client can wait to be accepted, and a second one gets an error.
const ONE_CLIENT: i32 = 0;
/// For one client after another: how many can have come and gone before the server looks.
pub(super) const MANY_CLIENTS: i32 = 128;

fn new_socket() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .map_err(|errno| Error::os("create a socket", errno))
}

/// A socket that listens under the slot's name. It gets that name after `listen`, so a client that sees it
/// appear can connect.
pub(super) fn listen_in(slot: &Slot) -> Result<OwnedFd> {
    let (dir, name) = (slot.existing_dir()?, slot.socket_name());
    let unfinished = unfinished_socket(slot.number());
    let socket = new_socket()?;
    let listening = listen_as(&dir, &unfinished, &socket)
        .map_err(|errno| address_failed("listen at", &dir.path_of(&name), errno))
        .and_then(|()| match dir.kind(&name)? {
            None => dir.rename(&unfinished, &name),
            Some(_) => Err(dir.failed("listen at", &name, Errno::EADDRINUSE)),
        });
    match listening {
        Ok(()) => Ok(socket),
        Err(error) => {
            // The sweep of the slot would remove it, too.
            let _ = dir.remove(&unfinished);
            Err(error)
        }
    }
}

/// Sets how many clients can wait to be accepted: one or many.
pub(super) fn set_backlog(listener: &OwnedFd, many: bool) -> Result<()> {
    Backlog::new(if many { MANY_CLIENTS } else { ONE_CLIENT })
        .and_then(|backlog| listen(listener, backlog))
        .map_err(|errno| Error::os("set a socket's backlog", errno))
}

fn listen_as(dir: &Dir, name: &str, socket: &OwnedFd) -> nix::Result<()> {
    let named = format!("{}/{name}", by_descriptor(dir));
    by_address(&named, &dir.path_of(name), |address| bind(socket.as_raw_fd(), address))?;
    // Fails if the path led elsewhere.
    fchmodat(dir, name, mode::FILE, FchmodatFlags::FollowSymlink)?;
    listen(socket, Backlog::new(ONE_CLIENT)?)
}

/// Accepts the next client of this user, if one waits. Connections of other users are closed.
pub(super) fn accept_own(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let accepted = match accept4(listener.as_raw_fd(), flags) {
            // SAFETY: the call succeeded, so this is a new descriptor without another owner.
            Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(errno) => return Err(Error::os("accept the client", errno)),
        };
        if user_behind(&accepted)? == geteuid().as_raw() {
            return Ok(Some(accepted));
        }
    }
}

/// Connects to the socket at `path`, on behalf of a client.
pub(super) fn connect_to(path: &str, side: &ClientSide) -> Result<OwnedFd> {
    let target = match open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(target) => target,
        // A server that has its client does not listen any more, but its page still exists and shows the
        // client.
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            return Err(match side.page() {
                Some(page) if !page.is_current()? => side.no_server("the server went away"),
                Some(page) if page.has_had_client()? => side.has_another_client(),
                Some(_) => side.no_server(format!("its socket {path} is gone")),
                None => side.no_server(format!("there is no socket {path}")),
            })
        }
        Err(errno) => return Err(Error::os(format!("open the socket {path}"), errno)),
    };
    let stat = fstat(&target).map_err(|errno| Error::os(format!("look at the socket {path}"), errno))?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(Error::Refused(format!("the event channel {path} is not a socket")));
    }
    let socket = new_socket()?;
    match by_address(&by_descriptor(&target), path, |address| connect(socket.as_raw_fd(), address)) {
        Ok(()) => {}
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => {
            return Err(side.no_server(format!("no process listens at the socket {path}")))
        }
        Err(Errno::EAGAIN) => return Err(side.has_another_client()),
        Err(errno) => return Err(address_failed("connect to the socket", path, errno)),
    }
    let (theirs, ours) = (user_behind(&socket)?, geteuid().as_raw());
    if theirs != ours {
        return Err(Error::Refused(format!(
            "the server at {path} runs as user {theirs}, not as user {ours}; run both as the same user"
        )));
    }
    Ok(socket)
}

/// The user of the peer's process at the time of its `connect` or `listen`.
fn user_behind(socket: &OwnedFd) -> Result<libc::uid_t> {
    let peer = getsockopt(socket, sockopt::PeerCredentials)
        .map_err(|errno| Error::os("get the peer's credentials", errno))?;
    Ok(peer.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use crate::transport::unix::root::Root;
    use crate::transport::unix::side::{Exported, RendezvousSource};
    use crate::transport::Rendezvous;
    use std::fs::{set_permissions, Permissions};
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;

    const NOBODY: libc::uid_t = 65534;

    /// Runs `act` in a thread with another user ID than the process. Requires root.
    fn as_other_user<T: Send>(act: impl FnOnce() -> T + Send) -> Option<T> {
        if !geteuid().is_root() {
            println!("skipped: not root");
            return None;
        }
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: the raw system call changes only this thread, which ends with `act`.
                let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
                assert_eq!(result, 0);
                act()
            });
            Some(thread.join().unwrap())
        })
    }

    fn client_side(root: &Path) -> ClientSide {
        let rendezvous = Rendezvous { ring_ref: 0, event_channel: "/nowhere".into() };
        let root = Root::new(root.to_str().unwrap(), false);
        ClientSide::new(root, RendezvousSource::Exported(Exported::new(rendezvous, None)))
    }

    fn open_to_all(temp: &tempfile::TempDir, mode: u32) {
        set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn client_of_another_user_is_disconnected() {
        let temp = private_dir();
        let path = temp.path().join("0");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        open_to_all(&temp, 0o711);
        set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let Some(theirs) = as_other_user(|| UnixStream::connect(&path).unwrap()) else { return };
        let _own = UnixStream::connect(&path).unwrap();
        let accepted = accept_own(listener.as_fd()).unwrap().expect("our own client, behind the other");
        assert_eq!(user_behind(&accepted).unwrap(), geteuid().as_raw());
        assert!(accept_own(listener.as_fd()).unwrap().is_none());
        let mut byte = [0];
        assert_eq!(
            std::io::Read::read(&mut &theirs, &mut byte).unwrap(),
            0,
            "the other one is still connected"
        );
    }

    #[test]
    fn server_of_another_user_is_refused() {
        let temp = private_dir();
        let path = temp.path().join("0");
        open_to_all(&temp, 0o777);
        let Some(_listener) = as_other_user(|| UnixListener::bind(&path).unwrap()) else { return };
        let error = connect_to(path.to_str().unwrap(), &client_side(temp.path())).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert!(error.to_string().contains("runs as user 65534"), "{error}");
    }

    #[test]
    fn directory_of_another_user_is_refused() {
        let temp = private_dir();
        let path = temp.path().join("root");
        open_to_all(&temp, 0o777);
        let made = as_other_user(|| nix::unistd::mkdir(&path, Mode::S_IRWXU).unwrap());
        if made.is_none() {
            return;
        }
        let error = Dir::open_root(path.to_str().unwrap(), false).unwrap_err().to_string();
        assert!(error.contains("belongs to user 65534") && error.contains("XEN_ROOT"), "{error}");
    }

    #[test]
    fn only_one_client_can_wait_to_be_accepted() {
        let temp = private_dir();
        let slot = Slot::claim(&Root::new(temp.path().to_str().unwrap(), false)).unwrap();
        let _listener = listen_in(&slot).unwrap();
        let side = client_side(temp.path());
        let _first = connect_to(&slot.socket_path(), &side).unwrap();
        let second = connect_to(&slot.socket_path(), &side).unwrap_err();
        assert!(matches!(second, Error::InUse { serving: false, .. }), "{second}");
    }

    #[test]
    fn second_listener_in_a_slot_fails() {
        let temp = private_dir();
        let slot = Slot::claim(&Root::new(temp.path().to_str().unwrap(), false)).unwrap();
        let _listener = listen_in(&slot).unwrap();
        assert_eq!(listen_in(&slot).unwrap_err().errno(), libc::EADDRINUSE);
        connect_to(&slot.socket_path(), &client_side(temp.path())).unwrap();
        assert_eq!(slot.existing_dir().unwrap().kind(&unfinished_socket(0)).unwrap(), None);
    }
}
