//! The command line from outside: help, version, man pages, environment, verbosity.

mod common;

use common::*;
use nix::sys::signal::Signal;

#[test]
fn help_and_version() {
    let place = Place::new();
    let help = |arg| {
        let end = place.client(&[arg]).start().end();
        assert_eq!((end.code, end.stderr.len()), (0, 0), "{end:?}");
        String::from_utf8(end.stdout).unwrap()
    };
    let (brief, all) = (help("-h"), help("--help"));
    for part in ["Usage: ", "--keep-listening"] {
        assert!(brief.contains(part) && all.contains(part), "{part}: {brief} {all}");
    }
    for part in ["Examples:", "Exit codes:", "124"] {
        assert!(!brief.contains(part) && all.contains(part), "{part}: {brief} {all}");
    }
    // The summary fits an 80-column terminal, except its first line.
    assert!(brief.lines().skip(1).all(|line| line.len() <= 80), "{brief}");
    assert!(!all.contains('@') && all.lines().all(|line| line.len() <= 120), "{all}");
    for arg in ["-V", "--version"] {
        let end = place.client(&[arg]).start().end();
        assert_eq!((end.code, end.stderr.len()), (0, 0), "{end:?}");
        assert!(String::from_utf8(end.stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn port_accepts_every_allowed_character() {
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
fn quiet_prints_only_errors() {
    let place = Place::new();
    let server = place.server(&["--quiet", "0", "port"]).start();
    let client = place.client(&["--quiet", "--wait", "0", "port"]).start();
    let (client, server) = (client.end(), server.end());
    assert_eq!((client.code, server.code), (0, 0));
    assert_eq!((client.stderr.len(), server.stderr.len()), (0, 0), "{client:?} {server:?}");
    let end = place.client(&["--quiet", "0", "port"]).start().end();
    assert_eq!((end.code, end.stderr.len()), (1, 1));
}

#[test]
fn verbose_prints_address_and_amounts() {
    let place = Place::new();
    let mut server = place.server(&["-v", "--recv-only", "0", "port"]).start();
    server.serving();
    let mut client = place.client(&["-v", "0", "port"]).piped().start();
    client.send(vec![b'x'; 2048]);
    client.close_input();
    for (end, amount) in
        [(client.end(), "sent 2.0 KiB, received 0 bytes"), (server.end(), "sent 0 bytes, received 2.0 KiB")]
    {
        let text = end.stderr.join("\n");
        assert!(text.contains("/local/domain/0/data/vchan/0/port"), "{text}");
        assert!(end.last().contains(amount), "{text}");
    }
}

/// Without a terminal there is no progress line.
#[test]
fn progress_is_for_terminals() {
    let place = Place::new();
    let mut server = place.server(&["--progress", "0", "port"]).piped().start();
    server.serving();
    server.signal(Signal::SIGTERM);
    let end = server.end();
    assert_eq!((end.code, end.stderr.len()), (0, 1), "{end:?}");
}

/// A standard error without a reader is no failure.
#[test]
fn closed_standard_error_is_no_failure() {
    let place = Place::new();
    let (_, stderr) = pipe();
    let server = place.server(&["--recv-only", "0", "port"]).stderr(stderr).start();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    client.send("word");
    client.close_input();
    assert_eq!(client.end().code, 0);
    assert_eq!(server.wait(), 0);
    place.assert_clean();
}

/// The help lists exactly the options that exist, with their values.
#[test]
fn help_matches_the_options() {
    use vchan_cats::line::{Takes, KNOWN};
    let help = vchan_cats::help::help(&vchan_cats::UNIXCAT, true);
    let described: Vec<&str> =
        help.lines().filter(|line| line.contains("  --") || line.contains(", --")).collect();
    let existing = KNOWN.map(|option| {
        let letter = option.letter.map_or("    ".into(), |letter| format!("-{letter}, "));
        let value = match option.takes {
            Takes::Nothing => String::new(),
            Takes::Value(value) => format!(" {value}"),
            Takes::Perhaps(value) => format!("[={value}]"),
        };
        format!("  {letter}--{}{value}  ", option.name)
    });
    assert_eq!(described.len(), existing.len(), "{help}");
    for (line, start) in described.iter().zip(&existing) {
        assert!(line.starts_with(start), "{line:?} {start:?}");
    }
}

/// The man pages list the options of the programs, in the same order.
#[test]
fn man_pages_match_the_options() {
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
        let mut existing = Vec::new();
        for option in vchan_cats::line::KNOWN {
            existing.extend(option.letter.map(|letter| format!("-{letter}")));
            existing.push(format!("--{}", option.name));
        }
        assert_eq!(described, existing, "{}", tool.name());
        for code in ["0", "1", "2", "3", "4", "124"] {
            assert!(page.contains(&format!("\n.It {code}\n")), "exit code {code} of {}", tool.name());
        }
    }
}

#[test]
fn foreign_transport_is_reported() {
    let place = Place::new();
    let run = |transport, args: &[&str]| place.client(args).env("VCHAN_TRANSPORT", transport).start().end();
    for transport in ["", "auto", "unix"] {
        assert_eq!(run(transport, &["0", "port"]).stderr.len(), 1, "{transport}");
    }
    for transport in ["xen", "tcp", "Unix"] {
        let end = run(transport, &["0", "port"]);
        assert_eq!((end.code, end.stderr.len()), (1, 2), "{end:?}");
        assert!(
            end.stderr[0].contains(&format!(": warning: VCHAN_TRANSPORT={transport} is ignored: unixcat")),
            "{end:?}"
        );
        assert!(end.stderr[0].ends_with(" always uses transport unix"), "{end:?}");
        assert_eq!(run(transport, &["--quiet", "0", "port"]).stderr.len(), 1, "{transport}");
    }
}

#[test]
fn own_domain_has_the_same_range() {
    let place = Place::new();
    for listen in [&[] as &[&str], &["-l"]] {
        for wrong in ["32752", "65535", "-1", "me"] {
            let end =
                place.client(&[listen, &["0", "port"]].concat()).env("VCHAN_DOMID", wrong).start().end();
            let doing = if listen.is_empty() { "connect" } else { "listen" };
            let text = format!(": {doing}: invalid VCHAN_DOMID {wrong:?}, expected 0 to 32751;");
            assert!(end.code == 1 && end.last().contains(&text), "{end:?}");
        }
    }
    let mut server = place.server(&["--recv-only", "32751", "port"]).start();
    server.serving();
    let client = place.client(&["0", "port"]).env("VCHAN_DOMID", "32751").start().end();
    assert_eq!((client.code, server.end().code), (0, 0));
}

/// `XENCAT` selects another build to test.
#[test]
fn xencat_without_xen_fails_in_one_line() {
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
