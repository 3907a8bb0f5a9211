//! How server and client meet: by name, by exported lines, in either order, under unusual names.

mod common;

use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;

/// Sends a word from the client to the server and ends.
#[track_caller]
fn word(mut client: Cat, server: Cat) {
    client.send("word");
    client.close_input();
    let client = client.end();
    assert_eq!(client.code, 0, "{client:?}");
    let server = server.end();
    assert_eq!((server.code, server.stdout.as_slice()), (0, b"word".as_slice()), "{server:?}");
}

#[test]
fn server_prints_its_address() {
    let place = Place::new();
    let mut server = place.server(&["--recv-only", "5", "port"]).start();
    let line = server.serving();
    assert!(line.ends_with("; export XEN_CONFIGURATION"), "{line}");
    assert!(line.contains("((ring_ref ") && line.contains("(event_channel "), "{line}");
    // A variable already set for the server is not printed again.
    let client = place.client(&["0", "port"]).env("VCHAN_DOMID", "5").piped().start();
    word(client, server);
    place.assert_clean();
}

/// A shell evaluates the server's lines and starts the client, whatever its DOMID and PORT.
#[track_caller]
fn meet_by_exported_lines(place: &Place, root_is_given: bool) {
    let setup = place.server(&["--recv-only", "0", "port"]);
    let mut server = if root_is_given {
        setup.start()
    } else {
        let home = place.root().parent().unwrap();
        setup.without_env("XEN_ROOT").env("XDG_RUNTIME_DIR", home).env("TMPDIR", home).start()
    };
    let mut lines = String::new();
    server.line("XEN_CONFIGURATION=", |line| {
        lines = format!("{lines}{line}\n");
        line.starts_with("XEN_CONFIGURATION=")
    });
    assert_eq!(lines.contains("XEN_ROOT="), !root_is_given, "{lines}");
    let script = format!("{lines}printf word | exec \"$0\" 77 other");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(program("UNIXCAT_CLIENT")).stderr(Stdio::piped()).env_remove("XEN_ROOT");
    if root_is_given {
        shell.env("XEN_ROOT", place.root());
    }
    let client = shell.output().unwrap();
    assert!(client.status.success(), "{client:?}");
    let server = server.end();
    assert_eq!((server.code, server.stdout.as_slice()), (0, b"word".as_slice()), "{server:?}");
}

#[test]
fn exported_lines_work_in_a_shell() {
    let place = Place::new();
    meet_by_exported_lines(&place, true);
    place.assert_clean();
}

#[test]
fn exported_lines_work_without_xen_root() {
    let place = Place::new();
    meet_by_exported_lines(&place, false);
}

#[test]
fn root_may_have_any_name() {
    for name in [
        "with space",
        "it's",
        "\"quoted\"",
        "$HOME `date` $(date)",
        "back\\slash",
        "(paren) ; semicolon",
        "a-root-of-more-than-45-characters-which-made-the-original-wrap-its-line",
    ] {
        let place = Place::with_root(name);
        meet_by_exported_lines(&place, true);
        place.assert_clean();
    }
}

#[test]
fn non_utf8_root_is_refused_or_works() {
    let place = Place::with_root(std::ffi::OsStr::from_bytes(b"latin-\xe9"));
    let server = place.server(&["--timeout", "1", "0", "port"]).start().end();
    assert!([1, 124].contains(&server.code), "{server:?}");
    place.assert_clean();
}

#[test]
fn names_tell_channels_apart() {
    let place = Place::new();
    let start = |domid: &str, port: &str| {
        let mut server = place.server(&["--recv-only", domid, port]).start();
        server.serving();
        server
    };
    let servers = [start("3", "a"), start("4", "a"), start("3", "b")];
    for (server, (own, port)) in servers.into_iter().zip([("3", "a"), ("4", "a"), ("3", "b")]) {
        word(place.client(&["0", port]).env("VCHAN_DOMID", own).piped().start(), server);
    }
    place.assert_clean();
}

#[test]
fn the_sides_may_meet_at_a_path() {
    for (servers, clients) in [
        ("/some/where", "/some/where"),
        ("data/here", "/local/domain/0/data/here"),
        ("/local/domain/0/x", "x"),
        ("data/vchan/0/port", "data/vchan/0/port"),
    ] {
        let place = Place::new();
        let mut server = place.server(&["--recv-only", "0", "--path", servers]).start();
        server.serving();
        word(place.client(&["0", "--path", clients]).piped().start(), server);
        place.assert_clean();
    }
}

#[test]
fn missing_server_is_reported_at_once() {
    let place = Place::new();
    let client = place.client(&["0", "port"]).start().end();
    assert_eq!(client.code, 1, "{client:?}");
    assert_eq!(client.stderr.len(), 1, "{client:?}");
    assert!(
        client.last().contains(": connect: no server at /local/domain/0/data/vchan/0/port"),
        "{client:?}"
    );
    assert!(client.last().ends_with("; start the server first, or use --wait"), "{client:?}");
}

#[test]
fn client_may_wait_for_its_server() {
    for wait in ["--wait", "--wait=50"] {
        let place = Place::new();
        let client = place.client(&[wait, "0", "port"]).piped().start();
        // Waits until the kernel reports it as sleeping.
        client.asleep();
        let server = place.server(&["--recv-only", "0", "port"]).start();
        word(client, server);
        place.assert_clean();
    }
}

#[test]
fn long_wait_prints_where() {
    let place = Place::new();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    let line = client.line("still waiting", |_| true);
    let path = "/local/domain/0/data/vchan/0/port";
    let said = [": still waiting: no server at ", path, ": ", place.root().to_str().unwrap(), "set XEN_ROOT"];
    assert!(said.iter().all(|part| line.contains(part)), "{line}");
    word(client, place.server(&["--recv-only", "0", "port"]).start());
    // Via the address of a server that has exited.
    let configuration = "((ring_ref 0) (event_channel /nowhere/0))";
    let mut client =
        place.client(&["--wait=2", "0", "port"]).env("XEN_CONFIGURATION", configuration).piped().start();
    let line = client.line("still waiting", |_| true);
    assert!(line.contains("/nowhere/0") && line.contains("unset XEN_CONFIGURATION"), "{line}");
    assert_eq!(client.end().code, 124);
    let quiet = place.client(&["--quiet", "--wait=1.5", "0", "port"]).start().end();
    assert_eq!((quiet.code, quiet.stderr.len()), (124, 1), "{quiet:?}");
}

#[test]
fn client_may_wait_for_the_directories_above_the_root() {
    for above in ["", "above", "above/it"] {
        let place = Place::with_root("first");
        let root = place.root().join(above).join("not/yet/root");
        std::fs::create_dir_all(place.root().join(above)).unwrap();
        let client = place.client(&["--wait", "0", "port"]).env("XEN_ROOT", &root).piped().start();
        client.asleep();
        std::fs::create_dir_all(root.parent().unwrap()).unwrap();
        let server = place.server(&["--recv-only", "0", "port"]).env("XEN_ROOT", &root).start();
        word(client, server);
    }
    let place = Place::new();
    let client = place.client(&["--wait=0.2", "0", "port"]).env("XEN_ROOT", place.path("not/yet")).start();
    assert_eq!(client.end().code, 124);
    assert!(!place.path("not").exists());
}

#[test]
fn wait_times_out() {
    let place = Place::new();
    let begun = Instant::now();
    let client = place.client(&["--wait=0.3", "0", "port"]).start().end();
    assert_eq!(client.code, 124, "{client:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    place.assert_clean();
}

#[test]
fn second_server_does_not_disturb_the_first() {
    let place = Place::new();
    let mut first = place.server(&["--recv-only", "0", "port"]).start();
    first.serving();
    let second = place.server(&["0", "port"]).start().end();
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.last().contains("in use"), "{second:?}");
    word(place.client(&["0", "port"]).piped().start(), first);
    place.assert_clean();
}

#[test]
fn invalid_environment_is_an_error() {
    let place = Place::new();
    for configuration in ["nonsense", "((ring_ref x) (event_channel y))", "((ring_ref 0))", "((("] {
        let client = place.client(&["0", "port"]).env("XEN_CONFIGURATION", configuration).start().end();
        assert_eq!((client.code, client.stderr.len()), (1, 1), "{configuration}: {client:?}");
    }
    let client = place.client(&["0", "port"]).env("VCHAN_DOMID", "me").start().end();
    assert_eq!((client.code, client.stderr.len()), (1, 1), "{client:?}");
}
