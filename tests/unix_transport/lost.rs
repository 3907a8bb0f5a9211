//! Waiting servers that lose their name: the root is removed, or old files in it are.

use std::os::fd::AsFd;
use std::thread;

use super::child::Other;
use super::*;
use vchan::{Error, Listener, Vchan};

fn serve(root: &Path) -> Vchan {
    Listener::builder(0, "x").transport(transport(root)).open().unwrap()
}

fn connect(root: &Path) -> Result<Vchan> {
    Vchan::builder(0, "x").transport(transport(root)).connect()
}

fn is_lost(error: &Error) -> bool {
    error.errno() == libc::EIDRM
}

fn remove_all(root: &Path) {
    fs::remove_dir_all(root).unwrap();
}

/// Like systemd-tmpfiles: files are removed by age, directories in use stay.
fn clean(root: &Path) {
    for name in tree(root) {
        let path = root.join(name);
        if !path.is_dir() {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn blocked_server_fails_when_its_name_is_lost() {
    for remove in [remove_all, clean] {
        let temp = private_dir();
        let root = temp.path().join("root");
        let server = serve(&root);
        let waiting = thread::spawn(move || accept(server, Some(LONG)));
        remove(&root);
        let error = waiting.join().unwrap().unwrap_err();
        assert!(is_lost(&error), "{error}");
        let socket = root.join("0");
        assert!(error.to_string().contains(socket.to_str().unwrap()), "{error}");
        drop(serve(&root));
    }
}

#[test]
fn polled_server_fails_when_its_name_is_lost() {
    for before in [false, true] {
        let temp = private_dir();
        let root = temp.path().join("root");
        let server = serve(&root);
        if before {
            remove_all(&root);
        }
        assert_eq!(readable(server.as_fd(), Duration::ZERO), before);
        if !before {
            remove_all(&root);
        }
        assert!(readable(server.as_fd(), LONG), "the loss is not reported");
        let error = server.wait(Some(LONG)).unwrap_err();
        assert!(is_lost(&error), "{error}");
        assert!(is_lost(&server.wait(Some(LONG)).unwrap_err()));
        assert!(readable(server.as_fd(), Duration::ZERO), "a polling program is not woken");
    }
}

/// A persistent server, between two clients.
#[test]
fn persistent_server_fails_when_its_name_is_lost_again() {
    let temp = private_dir();
    let root = temp.path().join("root");
    let builder = Listener::builder(0, "x");
    let server = builder.transport(transport(&root)).persistent(true).open().unwrap();
    let _ = server.as_fd();
    remove_all(&root);
    assert!(is_lost(&server.wait(Some(LONG)).unwrap_err()));
    for _ in 0..3 {
        server.wait(Some(LONG)).expect_err("the name is lost");
    }
}

/// The descriptors of servers without clients stay silent, whatever happens to others.
#[test]
fn server_with_its_name_is_not_woken() {
    let temp = private_dir();
    let (root, other_root) = (temp.path().join("root"), temp.path().join("other"));
    let server = serve(&root);
    let other = serve(&other_root);
    let assert_silent = || assert!(!readable(server.as_fd(), Duration::ZERO), "spurious wake-up");
    let _ = other.as_fd();
    assert_silent();
    for name in ["data/a", "data/b"] {
        let others = Server::start(&root, name).unwrap();
        assert_silent();
        drop((Client::start(&root, name).unwrap(), others));
        assert_silent();
    }
    // Another server of this process gets a client, and one loses its name.
    let third = Listener::builder(0, "third").transport(transport(&root)).open().unwrap();
    let _ = third.as_fd();
    let client = Vchan::builder(0, "third").transport(transport(&root)).connect().unwrap();
    let third = accept(third, Some(LONG)).unwrap();
    assert_silent();
    drop((third, client));
    assert_silent();
    remove_all(&other_root);
    assert!(readable(other.as_fd(), LONG));
    assert!(is_lost(&other.wait(Some(LONG)).unwrap_err()));
    assert_silent();
    // A name is not lost if its files were touched, or its root was moved.
    fs::set_permissions(root.join("0"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(server.wait(Some(Duration::from_millis(1))), Err(Error::TimedOut(_))));
    assert_silent();
    let moved = temp.path().join("moved");
    fs::rename(&root, &moved).unwrap();
    assert_silent();
    let client = connect(&moved).unwrap();
    let server = accept(server, Some(LONG)).unwrap();
    drop((client, server));
    assert_eq!(tree(&moved), [""; 0]);
}

/// A server whose process cannot reach the root any more has not lost its name.
#[test]
fn unreachable_root_is_not_lost() {
    let temp = private_dir();
    let (root, around) = (temp.path().join("around/root"), temp.path().join("around"));
    fs::create_dir(&around).unwrap();
    let server = serve(&root);
    let hide = |mode| fs::set_permissions(&around, fs::Permissions::from_mode(mode)).unwrap();
    hide(0o000);
    let waited = thread::scope(|scope| {
        let look = || {
            modes::drop_dac_override_in_thread();
            let _ = server.as_fd();
            server.wait(Some(Duration::from_millis(1)))
        };
        scope.spawn(look).join().unwrap()
    });
    hide(0o700);
    assert!(matches!(waited, Err(Error::TimedOut(_))), "{waited:?}");
    drop(connect(&root).unwrap());
}

/// The child has its parent's descriptors, and takes the events itself.
pub fn serve_in_a_child(root: &Path) {
    let server = serve(root);
    let _ = server.as_fd();
    // SAFETY: the child continues in its only thread, and exits without running destructors.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let silent = matches!(server.wait(Some(Duration::from_millis(1))), Err(Error::TimedOut(_)));
            remove_all(root);
            let detected = server.wait(Some(LONG)).is_err_and(|error| is_lost(&error));
            // SAFETY: ends the child.
            unsafe { libc::_exit((!silent || !detected).into()) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
    }
}

#[test]
fn forked_child_fails_when_its_name_is_lost() {
    let temp = private_dir();
    let output = Other::run("serve in a child", &temp.path().join("root"));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn listener_publishes_again() {
    for remove in [remove_all, clean] {
        let temp = private_dir();
        let root = temp.path().join("root");
        let listener = Listener::builder(0, "x").transport(transport(&root)).bind().unwrap();
        remove(&root);
        assert!(readable(&listener, LONG));
        let error = listener.accept().unwrap_err();
        assert!(is_lost(&error), "{error}");
        // The next call publishes.
        assert!(readable(&listener, Duration::ZERO));
        assert!(matches!(listener.accept_timeout(Duration::ZERO), Err(Error::TimedOut(_))));
        let _client = connect(&root).unwrap();
        drop(listener.accept_timeout(LONG).unwrap());
    }
}

/// Servers that come and go in other threads use the same inotify instance, and the same list of names.
#[test]
fn lost_name_is_noticed_while_others_come_and_go() {
    let temp = private_dir();
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..4 {
            let other = temp.path().join(format!("other{number}"));
            let over = &over;
            scope.spawn(move || {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let server = serve(&other);
                    let _ = server.as_fd();
                }
            });
        }
        let lost = (0..40).all(|number| {
            let root = temp.path().join(format!("root{number}"));
            let server = serve(&root);
            let _ = server.as_fd();
            remove_all(&root);
            readable(server.as_fd(), Duration::from_secs(5))
                && server.wait(Some(LONG)).is_err_and(|error| is_lost(&error))
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(lost, "a loss is not reported");
    });
}
