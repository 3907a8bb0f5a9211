//! Servers that lose the name under which they wait: the root is removed, or cleaned of what is old.

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

/// As systemd-tmpfiles does it: files go by their age, directories stay where they are in use.
fn clean(root: &Path) {
    for name in tree(root) {
        let path = root.join(name);
        if !path.is_dir() {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_server_that_waits_in_a_call_is_told() {
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
fn a_server_that_is_polled_is_told() {
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
        assert!(readable(server.as_fd(), LONG), "nothing tells of it");
        let error = server.wait(Some(LONG)).unwrap_err();
        assert!(is_lost(&error), "{error}");
        assert!(is_lost(&server.wait(Some(LONG)).unwrap_err()));
        assert!(readable(server.as_fd(), Duration::ZERO), "a program that polls sleeps on");
    }
}

/// One that serves many, between two of them.
#[test]
fn a_persistent_server_is_told_every_time() {
    let temp = private_dir();
    let root = temp.path().join("root");
    let builder = Listener::builder(0, "x");
    let server = builder.transport(transport(&root)).persistent(true).open().unwrap();
    let _ = server.as_fd();
    remove_all(&root);
    assert!(is_lost(&server.wait(Some(LONG)).unwrap_err()));
    for _ in 0..3 {
        server.wait(Some(LONG)).expect_err("it waits on");
    }
}

/// The descriptors of servers that nobody has connected to say nothing, whatever happens to others.
#[test]
fn a_server_with_its_name_stays_silent() {
    let temp = private_dir();
    let (root, other_root) = (temp.path().join("root"), temp.path().join("other"));
    let server = serve(&root);
    let other = serve(&other_root);
    let silent = || assert!(!readable(server.as_fd(), Duration::ZERO), "woken for nothing");
    let _ = other.as_fd();
    silent();
    for name in ["data/a", "data/b"] {
        let others = Server::start(&root, name).unwrap();
        silent();
        drop((Client::start(&root, name).unwrap(), others));
        silent();
    }
    // A server of this process that is met, and one that is lost.
    let third = Listener::builder(0, "third").transport(transport(&root)).open().unwrap();
    let _ = third.as_fd();
    let client = Vchan::builder(0, "third").transport(transport(&root)).connect().unwrap();
    let third = accept(third, Some(LONG)).unwrap();
    silent();
    drop((third, client));
    silent();
    remove_all(&other_root);
    assert!(readable(other.as_fd(), LONG));
    assert!(is_lost(&other.wait(Some(LONG)).unwrap_err()));
    silent();
    // Nor is a name lost whose files were touched, or whose root was moved.
    fs::set_permissions(root.join("0"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(server.wait(Some(Duration::from_millis(1))), Err(Error::TimedOut(_))));
    silent();
    let moved = temp.path().join("moved");
    fs::rename(&root, &moved).unwrap();
    silent();
    let client = connect(&moved).unwrap();
    let server = accept(server, Some(LONG)).unwrap();
    drop((client, server));
    assert_eq!(tree(&moved), [""; 0]);
}

/// A server whose process can't see the root any more has not lost its name.
#[test]
fn a_root_out_of_sight_is_not_lost() {
    let temp = private_dir();
    let (root, around) = (temp.path().join("around/root"), temp.path().join("around"));
    fs::create_dir(&around).unwrap();
    let server = serve(&root);
    let hide = |mode| fs::set_permissions(&around, fs::Permissions::from_mode(mode)).unwrap();
    hide(0o000);
    let waited = thread::scope(|scope| {
        let look = || {
            modes::heed_modes_in_thread();
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
    // SAFETY: the child has the one thread that it goes on in, and leaves without a look at what else it has inherited.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let silent = matches!(server.wait(Some(Duration::from_millis(1))), Err(Error::TimedOut(_)));
            remove_all(root);
            let told = server.wait(Some(LONG)).is_err_and(|error| is_lost(&error));
            // SAFETY: ends the child.
            unsafe { libc::_exit((!silent || !told).into()) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
    }
}

#[test]
fn a_forked_child_that_serves_is_told() {
    let temp = private_dir();
    let output = Other::run("serve in a child", &temp.path().join("root"));
    assert!(output.status.success(), "{output:?}");
}
