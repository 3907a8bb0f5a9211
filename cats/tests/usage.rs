//! The command line from outside: help, version, mistakes, the man page, how much is said.

mod common;

use common::*;
use nix::sys::signal::Signal;

#[test]
fn mistakes_are_told_in_one_line() {
    let place = Place::new();
    for args in [
        &[] as &[&str],
        &["0"],
        &["0", "port", "more"],
        &["0", "port", "--path", "/a"],
        &["0", "--path"],
        &["x", "port"],
        &["-1", "port"],
        &["32752", "port"],
        &["99999999999999999999", "port"],
        &["0", ""],
        &["0", "a.b"],
        &["0", "a/b"],
        &["0", "a b"],
        &["0", "ä"],
        &["--nonsense", "0", "port"],
        &["--buffer-size", "0", "0", "port"],
        &["--buffer-size", "-5", "0", "port"],
        &["--buffer-size", "many", "0", "port"],
        &["--timeout", "0", "0", "port"],
        &["--timeout", "soon", "0", "port"],
        &["--wait=never", "0", "port"],
        &["--recv-only", "--send-only", "0", "port"],
        &["--quiet", "--verbose", "0", "port"],
        &["-k", "0", "port"],
        &["-l", "--wait", "0", "port"],
    ] {
        let end = place.client(args).start().end();
        assert_eq!((end.code, end.stderr.len()), (2, 1), "{args:?}: {end:?}");
        assert!(end.last().contains("; see ") && end.last().ends_with(" --help"), "{args:?}: {end:?}");
        assert_eq!(end.stdout, b"", "{args:?}");
    }
    place.assert_clean();
}

#[test]
fn help_and_version() {
    let place = Place::new();
    for arg in ["-h", "--help"] {
        let end = place.client(&[arg]).start().end();
        assert_eq!((end.code, end.stderr.len()), (0, 0), "{end:?}");
        let help = String::from_utf8(end.stdout).unwrap();
        for part in ["Usage: ", "Examples:", "Exit codes:", "--keep-listening", "124"] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
    for arg in ["-V", "--version"] {
        let end = place.client(&[arg]).start().end();
        assert_eq!((end.code, end.stderr.len()), (0, 0), "{end:?}");
        assert!(String::from_utf8(end.stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn ports_may_have_every_allowed_character() {
    let place = Place::new();
    for port in ["a", "0", "_", "Az09_-", "--double-", "-k"] {
        let mut server = place.server(&["--", "0", port]).start();
        server.serving();
        let client = place.client(&["--", "0", port]).start();
        assert_eq!((client.end().code, server.end().code), (0, 0), "{port}");
    }
    place.assert_clean();
}

#[test]
fn quiet_says_nothing_but_errors() {
    let place = Place::new();
    let server = place.server(&["-q", "0", "port"]).start();
    let client = place.client(&["-q", "--wait", "0", "port"]).start();
    let (client, server) = (client.end(), server.end());
    assert_eq!((client.code, server.code), (0, 0));
    assert_eq!((client.stderr.len(), server.stderr.len()), (0, 0), "{client:?} {server:?}");
    let end = place.client(&["-q", "0", "port"]).start().end();
    assert_eq!((end.code, end.stderr.len()), (1, 1));
}

#[test]
fn verbose_says_where_and_how_much() {
    let place = Place::new();
    let mut server = place.server(&["-v", "--recv-only", "0", "port"]).start();
    server.serving();
    let mut client = place.client(&["-v", "0", "port"]).piped().start();
    client.say(vec![b'x'; 2048]);
    client.close_input();
    for (end, amount) in
        [(client.end(), "sent 2.0 KiB, received 0 bytes"), (server.end(), "sent 0 bytes, received 2.0 KiB")]
    {
        let text = end.stderr.join("\n");
        assert!(text.contains("/local/domain/0/data/vchan/0/port"), "{text}");
        assert!(end.last().contains(amount), "{text}");
    }
}

/// Without a terminal there is no progress to be seen.
#[test]
fn progress_is_for_terminals() {
    let place = Place::new();
    let mut server = place.server(&["--progress", "0", "port"]).piped().start();
    server.serving();
    server.signal(Signal::SIGTERM);
    let end = server.end();
    assert_eq!((end.code, end.stderr.len()), (0, 1), "{end:?}");
}

/// That nobody reads what is said is no reason to fail.
#[test]
fn a_closed_standard_error_is_no_failure() {
    let place = Place::new();
    let (_, stderr) = pipe();
    let server = place.server(&["--recv-only", "0", "port"]).stderr(stderr).start();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    client.say("word");
    client.close_input();
    assert_eq!(client.end().code, 0);
    assert_eq!(server.wait(), 0);
    place.assert_clean();
}

/// The options in the man pages are those of the programs, in the same order.
#[test]
fn the_man_pages_are_true() {
    let tools: [(&str, &dyn vchan_cats::Tool); 2] = [
        (include_str!("../../man/unixcat.1"), &vchan_cats::UNIXCAT),
        (include_str!("../../man/xencat.1"), &vchan_cats::XENCAT),
    ];
    for (page, tool) in tools {
        let mut described = Vec::new();
        for line in page.lines() {
            let Some(item) = line.strip_prefix(".It Fl ") else { continue };
            let names = item.split_whitespace().filter(|word| !["Fl", ","].contains(word));
            let names = names.take_while(|word| !word.starts_with("Ar") && !word.starts_with("Ns"));
            described.extend(names.map(|name| format!("-{}", name.replace("\\-", "-"))));
        }
        let command = vchan_cats::cli::command(tool);
        let mut existing = Vec::new();
        for option in command.get_arguments().filter(|argument| !argument.is_positional()) {
            existing.extend(option.get_short().map(|short| format!("-{short}")));
            existing.extend(option.get_long().map(|long| format!("--{long}")));
        }
        assert_eq!(described, existing, "{}", tool.name());
        for code in ["0", "1", "2", "3", "4", "124"] {
            assert!(page.contains(&format!("\n.It {code}\n")), "exit code {code} of {}", tool.name());
        }
    }
}

/// `XENCAT` names another build to be tested.
#[test]
fn without_xen_xencat_says_so_in_one_line() {
    if std::path::Path::new("/dev/xen/evtchn").exists() {
        return;
    }
    let place = Place::new();
    let xencat = || {
        std::env::var_os("XENCAT")
            .map_or_else(|| env!("CARGO_BIN_EXE_xencat").into(), std::path::PathBuf::from)
    };
    for args in [&["0", "port"] as &[&str], &["-l", "0", "port"], &["--wait", "0", "--path", "/a/b"]] {
        let setup = place.run(xencat(), args).env("XENSTORED_PATH", place.path("none"));
        let end = setup.start().end();
        assert_eq!((end.code, end.stderr.len()), (1, 1), "{args:?}: {end:?}");
        let said = ["/dev/xen/evtchn", "modprobe xen-evtchn"].iter().all(|part| end.last().contains(part));
        assert!(said, "{args:?}: {end:?}");
    }
}
