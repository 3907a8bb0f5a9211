//! Unusual environments of the meeting place, and the messages about them.

mod common;

use common::*;

/// A umask, and file modes that apply to root as to other users.
fn under_umask(setup: Setup, umask: libc::mode_t) -> Setup {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
    setup.prepared(move || {
        // SAFETY: system calls without pointers. A process that can't drop these capabilities does not have
        // them.
        unsafe {
            libc::umask(umask);
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
        }
        Ok(())
    })
}

#[test]
fn any_umask_works() {
    for umask in [0o177, 0o277, 0o477, 0o777] {
        let place = Place::new();
        let home = place.path("home");
        std::fs::create_dir(&home).unwrap();
        let at_home = |setup: Setup| {
            under_umask(setup, umask).without_env("XEN_ROOT").env("XDG_RUNTIME_DIR", &home).piped()
        };
        for _ in 0..2 {
            let mut server = at_home(place.server(&["0", "port"])).start();
            server.serving();
            let mut client = at_home(place.client(&["0", "port"])).start();
            client.send("word");
            server.receive("word");
            server.close_input();
            client.close_input();
            assert_eq!((client.end().code, server.end().code), (0, 0), "{umask:o}");
        }
        assert_eq!(below(&home), [""; 0].map(std::path::PathBuf::from), "{umask:o}");
    }
}

/// The messages of both roles about an unusable root.
#[track_caller]
fn messages(place: &Place, root: &std::path::Path) -> [String; 2] {
    [place.server(&["0", "port"]), place.client(&["0", "port"])].map(|setup| {
        let end = setup.env("XEN_ROOT", root).start().end();
        assert_eq!((end.code, end.stderr.len()), (1, 1), "{end:?}");
        end.last().to_owned()
    })
}

#[test]
fn no_advice_to_change_foreign_directories() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let own = place.path("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut roots = vec![own];
    if nix::unistd::geteuid().is_root() {
        roots.extend(["/tmp", "/", "/usr/local", "/etc/passwd"].map(std::path::PathBuf::from));
    }
    for root in roots {
        for text in messages(&place, &root) {
            assert!(text.contains(root.to_str().unwrap()) && text.contains("XEN_ROOT"), "{text}");
            assert!(!text.contains("chmod") && !text.contains("remove"), "{text}");
        }
    }
}

#[test]
fn missing_path_component_is_named() {
    let place = Place::new();
    let missing = place.path("missing");
    for root in [missing.join("y"), missing.join("y/z")] {
        for text in messages(&place, &root) {
            assert!(text.contains(&format!("the directory {} does not exist", missing.display())), "{text}");
        }
    }
    std::fs::write(&missing, "").unwrap();
    for text in messages(&place, &missing.join("y")) {
        assert!(text.contains(&format!("{} is not a directory;", missing.display())), "{text}");
    }
}

#[test]
fn root_may_be_moved() {
    let place = Place::new();
    let mut server = place.server(&["--recv-only", "0", "port"]).start();
    server.serving();
    let moved = place.path("moved");
    std::fs::rename(place.root(), &moved).unwrap();
    let mut client = place.client(&["0", "port"]).env("XEN_ROOT", &moved).piped().start();
    client.send("word");
    client.close_input();
    assert_eq!(client.end().code, 0);
    let server = server.end();
    assert_eq!((server.code, server.stdout.as_slice()), (0, b"word".as_slice()), "{server:?}");
    assert_eq!(below(&moved), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn short_root_needs_no_proc() {
    let hide = || {
        let none = std::ptr::null();
        // SAFETY: NUL-terminated strings, and null for unused arguments.
        let results = unsafe {
            [
                libc::unshare(libc::CLONE_NEWNS),
                libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()),
                libc::mount(c"none".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()),
            ]
        };
        match results {
            [0, 0, 0] => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can hide /proc");
        return;
    }
    let place = Place::new();
    // The dynamic linker needs /proc for $ORIGIN.
    let hidden =
        |setup: Setup, choice| setup.prepared(hide).env("LD_LIBRARY_PATH", program(choice).parent().unwrap());
    let client = hidden(place.client(&["--wait", "0", "port"]), "UNIXCAT_CLIENT").piped().start();
    client.asleep();
    let server = hidden(place.server(&["--recv-only", "0", "port"]), "UNIXCAT_SERVER").start();
    delivers_a_word(client, server);
    place.assert_clean();
    let place = Place::with_root("r".repeat(120));
    let server = hidden(place.server(&["0", "port"]), "UNIXCAT_SERVER").start().end();
    assert!(server.code == 1 && server.last().contains("requires /proc"), "{server:?}");
}

/// Sends a word from the client to the server and ends.
fn delivers_a_word(mut client: Cat, server: Cat) {
    client.send("word");
    client.close_input();
    assert_eq!(client.end().code, 0);
    let server = server.end();
    assert_eq!((server.code, server.stdout.as_slice()), (0, b"word".as_slice()), "{server:?}");
}

/// As by `rm -r`, or a program that cleans /tmp.
#[test]
fn server_with_removed_root_publishes_again() {
    let place = Place::new();
    let mut server = place.server(&["--recv-only", "0", "port"]).start();
    server.serving();
    std::fs::remove_dir_all(place.root()).unwrap();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    client.connected();
    delivers_a_word(client, server);
    place.assert_clean();
}

#[test]
fn server_that_cannot_publish_again_fails() {
    let place = Place::with_root("above/root");
    let mut server = place.server(&["-k", "--recv-only", "0", "port"]).start();
    server.serving();
    std::fs::remove_dir_all(place.path("above")).unwrap();
    let server = server.end();
    assert_eq!(server.code, 1, "{server:?}");
    assert!(server.last().contains("above does not exist"), "{server:?}");
}
