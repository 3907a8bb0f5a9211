//! Other users of the machine: their access to our roots, and files that they have prepared.
//!
//! Requires root, to change the user ID temporarily.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{chown, symlink, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use vchan::Error;

const NOBODY: libc::uid_t = 65534;

/// Reports skipped tests, bypassing the capture of test output.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let line = format!("SKIPPED {name}: only root can be another user else\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    root
}

/// Runs `act` in a thread with another user and group than the process.
fn as_other_user<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the raw system calls change only this thread, which ends with `act`.
            let results = unsafe {
                [
                    libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()),
                    libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY),
                    libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY),
                ]
            };
            assert_eq!(results, [0; 3]);
            act()
        });
        thread.join().unwrap()
    })
}

/// A world-writable directory, like /tmp with the sticky bit, or without it.
fn public_dir(mode: u32) -> TempDir {
    let dir = private_dir();
    set_mode(dir.path(), mode);
    dir
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Both roles are refused with the text `why`; nothing changes below `around`.
#[track_caller]
fn refused(root: &Path, why: &str, around: &Path) {
    let before = tree(around);
    let server = Server::start(root, "data/x").err().expect("a server is not refused");
    let client = Client::start(root, "data/x").err().expect("a client is not refused");
    for error in [server, client] {
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert_eq!(error.errno(), libc::EACCES);
        let text = error.to_string();
        assert!(text.contains(why) && text.contains(root.to_str().unwrap()), "{text}");
    }
    assert_eq!(tree(around), before);
}

/// Nothing that another user tries on a root succeeds, and its server is not affected.
#[test]
fn other_user_cannot_enter_a_root() {
    if !is_root() {
        return;
    }
    let public = public_dir(0o1777);
    let root = public.path().join("root");
    let server = Server::start(&root, "data/x").unwrap();
    let before = tree(public.path());
    let denied = |what: &str, result: std::io::Result<()>| {
        let kind = result.expect_err(what).kind();
        assert_eq!(kind, ErrorKind::PermissionDenied, "{what}");
    };
    as_other_user(|| {
        for role in ["connect", "serve"] {
            let error = match role {
                "connect" => Client::start(&root, "data/x").err(),
                _ => Server::start(&root, "data/y").err(),
            };
            let text = error.unwrap().to_string();
            // The kernel denies access first.
            assert!(text.contains("Permission denied") && text.contains(root.to_str().unwrap()), "{text}");
        }
        denied("connecting", UnixStream::connect(root.join("0")).map(drop));
        denied("listing", fs::read_dir(&root).map(drop));
        for name in &before {
            let path = public.path().join(name);
            let elsewhere = public.path().join("stolen");
            if path != root {
                denied("reading", fs::File::open(&path).map(drop));
                denied("removing", fs::remove_file(&path));
                denied("linking", fs::hard_link(&path, &elsewhere));
                denied("swapping in", fs::write(path.join("planted"), "x"));
            }
            denied("moving away", fs::rename(&path, &elsewhere));
            denied("removing a directory", fs::remove_dir(&path));
            denied("opening up", fs::set_permissions(&path, fs::Permissions::from_mode(0o777)));
        }
        for name in ["1", "locks/1", "memory/1024", "local/x"] {
            denied("creating", fs::write(root.join(name), "x"));
            denied("listening", UnixListener::bind(root.join(name)).map(drop));
            denied("linking", symlink("/etc/passwd", root.join(name)));
        }
    });
    assert_eq!(tree(public.path()), before);
    Client::start(&root, "data/x").unwrap();
    drop(server);
    assert_eq!(tree(public.path()), ["root"]);
}

#[test]
fn root_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let public = public_dir(0o1777);
    let at = |name: &str| public.path().join(name);
    let own = private_dir();
    let plant = |name: &str, how: &(dyn Fn(&Path) + Sync)| as_other_user(|| how(&at(name)));
    for mode in [0o700, 0o777, 0o1777] {
        let name = format!("dir{mode:o}");
        plant(&name, &|path| {
            fs::create_dir(path).unwrap();
            set_mode(path, mode);
        });
        refused(&at(&name), "belongs to user 65534", public.path());
    }
    // Even with all files of a channel.
    plant("whole", &|path| drop(Server::start(path, "data/z").unwrap()));
    refused(&at("whole"), "belongs to user 65534", public.path());
    plant("to-own", &|path| symlink(own.path(), path).unwrap());
    plant("to-theirs", &|path| symlink(at("dir700"), path).unwrap());
    plant("to-nowhere", &|path| symlink(at("made"), path).unwrap());
    plant("file", &|path| fs::write(path, "").unwrap());
    plant("socket", &|path| drop(UnixListener::bind(path).unwrap()));
    plant("fifo", &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap());
    for name in ["to-own", "to-theirs", "to-nowhere", "file", "socket", "fifo"] {
        refused(&at(name), "is not itself a directory", public.path());
    }
    // A trailing slash would follow a symbolic link.
    let slash = format!("{}/", at("to-own").display());
    assert!(matches!(Server::start(slash.as_ref(), "data/x"), Err(Error::Refused(_))));
    assert_eq!(tree(own.path()), [""; 0]);
}

#[test]
fn root_of_wrong_mode_is_refused_for_both_roles() {
    let temp = private_dir();
    let root = temp.path().join("root");
    fs::create_dir(&root).unwrap();
    for mode in [0o701, 0o710, 0o755, 0o770, 0o707, 0o777, 0o1777] {
        set_mode(&root, mode);
        refused(&root, &format!("has mode {mode:o}"), temp.path());
    }
}

/// The root's directory was accessible for a moment, and another user has created files.
#[test]
fn files_of_another_user_in_a_root_are_refused() {
    if !is_root() {
        return;
    }
    for (name, is_dir) in [
        ("locks", true),
        ("memory", true),
        ("local", true),
        ("local/domain", true),
        ("local/domain/0/data/x", true),
        ("locks/0", false),
        ("locks/7", false),
        ("local/domain/0/data/x/ring-ref", false),
        ("local/domain/0/data/x/event-channel", false),
    ] {
        let root = private_dir();
        let path = root.path().join(name);
        let parent = if is_dir { &path } else { path.parent().unwrap() };
        fs::create_dir_all(parent).unwrap();
        if !is_dir {
            fs::write(&path, "0").unwrap();
        }
        chown(&path, Some(NOBODY), None).unwrap();
        let before = tree(root.path());
        let result = Server::start(root.path(), "data/x");
        if name.ends_with("event-channel") || name.ends_with("ring-ref") {
            // A publication is replaced as a whole, whatever its owner. Nothing of it is trusted.
            let server = result.unwrap();
            let ring_ref = fs::metadata(root.path().join("local/domain/0/data/x/ring-ref")).unwrap();
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&ring_ref), 0);
            Client::start(root.path(), "data/x").unwrap();
            drop(server);
            continue;
        }
        let text = result.err().unwrap_or_else(|| panic!("{name} is trusted")).to_string();
        assert!(text.starts_with("refused: ") && text.contains("belongs to user 65534"), "{name}: {text}");
        assert!(text.contains(name), "{name}: {text}");
        // An empty directory in a root can be removed, whatever its owner.
        assert!(tree(root.path()).iter().all(|entry| before.contains(entry)), "{name}");
    }
}

/// The files that a client uses: the page, the publication, the socket.
#[test]
fn client_refuses_everything_of_another_user() {
    if !is_root() {
        return;
    }
    let public = public_dir(0o1777);
    for name in ["memory/0", "local/domain/0/data/x/ring-ref", "local/domain/0/data/x/event-channel"] {
        let root = private_dir();
        let server = Server::start(root.path(), "data/x").unwrap();
        chown(root.path().join(name), Some(NOBODY), None).unwrap();
        let text = Client::start(root.path(), "data/x").err().unwrap().to_string();
        assert!(text.starts_with("refused: ") && text.contains("belongs to user 65534"), "{name}: {text}");
        drop(server);
    }
    let theirs = public.path().join("socket");
    let _listener = as_other_user(|| {
        let listener = UnixListener::bind(&theirs).unwrap();
        set_mode(&theirs, 0o777);
        listener
    });
    let link = public.path().join("link");
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    as_other_user(|| symlink(root.path().join("0"), &link).unwrap());
    for (path, why) in [(&theirs, "runs as user 65534"), (&link, "is not a socket")] {
        // As named by the server's lines or the publication.
        let exported = format!("((ring_ref 0) (event_channel {}))", path.display());
        let exported = transport(root.path()).exported(&exported).unwrap();
        let error = Client::connect(&exported.open(Role::Client, 0, "x").unwrap()).err().unwrap();
        assert!(matches!(error, Error::Refused(_)) && error.to_string().contains(why), "{error}");
    }
    Client::start(root.path(), "data/x").unwrap();
    drop(server);
}

/// If the parent directory is world-writable and not sticky, a root can be removed and replaced.
#[test]
fn replaced_root_is_detected() {
    if !is_root() {
        return;
    }
    let public = public_dir(0o777);
    let (root, away) = (public.path().join("root"), public.path().join("away"));
    let server = Server::start(&root, "data/x").unwrap();
    let client = Client::start(&root, "data/x").unwrap();
    as_other_user(|| {
        fs::rename(&root, &away).unwrap();
        drop(Server::start(&root, "data/z").unwrap());
        fs::create_dir_all(root.join("memory")).unwrap();
        fs::write(root.join("memory/0"), [0; 4096]).unwrap();
        UnixListener::bind(root.join("0")).unwrap();
    });
    let planted = tree(&root);
    refused(&root, "belongs to user 65534", &root);
    // Connected ends continue, and the server removes its own files, not those in the new root.
    let waiter = Waiter::on(&*server.events);
    client.events.notify().unwrap();
    waiter.until(&*server.events, |received| received.event);
    drop((client, server));
    assert_eq!(tree(&root), planted);
    assert_eq!(tree(&away), [""; 0]);
}
