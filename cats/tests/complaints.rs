//! Invalid command lines: the error texts, identical in the Rust and C builds.

mod common;

use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use common::*;

/// Command lines and their error texts, without the program name before and the hint at the help after.
const CASES: &[(&[&str], &str)] = &[
    (&[], "DOMID and PORT are missing"),
    (&["0"], "PORT is missing"),
    (&["-l"], "DOMID and PORT are missing"),
    (&["--path", "/a"], "DOMID is missing"),
    (&["0", "port", "more"], "unexpected argument 'more' after DOMID and PORT"),
    (&["0", "a", "b", "c"], "unexpected argument 'b' after DOMID and PORT"),
    (&["0", "port", "--path", "/a"], "PORT 'port' and --path are mutually exclusive"),
    (&["0", "a", "b", "--path=/a"], "PORT 'a' and --path are mutually exclusive"),
    // Words.
    (&["x", "port"], "invalid DOMID 'x', expected 0 to 32751"),
    (&["talk"], "invalid DOMID 'talk', expected 0 to 32751"),
    (&["", "port"], "invalid DOMID '', expected 0 to 32751"),
    (&["-1", "port"], "invalid DOMID '-1', expected 0 to 32751"),
    (&["+1", "port"], "invalid DOMID '+1', expected 0 to 32751"),
    (&["1.0", "port"], "invalid DOMID '1.0', expected 0 to 32751"),
    (&["32752", "port"], "invalid DOMID '32752', expected 0 to 32751"),
    (&["99999999999999999999", "port"], "invalid DOMID '99999999999999999999', expected 0 to 32751"),
    (&["0", ""], "PORT is empty"),
    (&["0", "a.b"], "invalid PORT 'a.b', expected letters, digits, '_' and '-'"),
    (&["0", "a b"], "invalid PORT 'a b', expected letters, digits, '_' and '-'"),
    (&["0", "ä"], "invalid PORT 'ä', expected letters, digits, '_' and '-'"),
    (&["0", "a\nb\u{85}"], "invalid PORT 'a\\nb\\u{85}', expected letters, digits, '_' and '-'"),
    (&["port", "0"], "invalid DOMID 'port', expected 0 to 32751"),
    // Unknown options.
    (&["--nonsense", "0", "port"], "unknown option '--nonsense'"),
    (&["--nonsense=5"], "unknown option '--nonsense'"),
    (&["--tiemout", "5", "0", "port"], "unknown option '--tiemout'; did you mean '--timeout'?"),
    (&["--time=5", "0", "port"], "unknown option '--time'; did you mean '--timeout'?"),
    (&["--recvonly", "0", "port"], "unknown option '--recvonly'; did you mean '--recv-only'?"),
    (&["--recv_only", "0", "port"], "unknown option '--recv_only'; did you mean '--recv-only'?"),
    (&["--LISTEN", "0", "port"], "unknown option '--LISTEN'; did you mean '--listen'?"),
    (&["--keep", "0", "port"], "unknown option '--keep'; did you mean '--keep-listening'?"),
    (
        &["--keep_listenign", "0", "port"],
        "unknown option '--keep_listenign'; did you mean '--keep-listening'?",
    ),
    (&["--l", "0", "port"], "unknown option '--l'; did you mean '-l'?"),
    (&["-x", "0", "port"], "unknown option '-x'"),
    (&["-lx", "0", "port"], "unknown option '-x' in '-lx'"),
    (&["-L", "0", "port"], "unknown option '-L'; did you mean '-l'?"),
    (&["-listen", "0", "port"], "unknown option '-listen'; did you mean '--listen'?"),
    (&["-timeout", "5"], "unknown option '-timeout'; did you mean '--timeout'?"),
    (&["-ä", "0", "port"], "unknown option '-ä'"),
    (&["-l\u{7f}"], "unknown option '-\\u{7f}' in '-l\\u{7f}'"),
    (&["--=x", "0", "port"], "unknown option '--'"),
    (
        &["--a-very-long-option-that-resembles-no-other-one"],
        "unknown option '--a-very-long-option-that-resembles-no-other-one'",
    ),
    // Values.
    (&["--listen=x", "0", "port"], "--listen takes no value, but 'x' was given"),
    (&["--listen=", "0", "port"], "--listen takes no value, but '' was given"),
    (&["0", "--path"], "--path needs a value, PATH"),
    (&["0", "port", "--timeout"], "--timeout needs a value, SECONDS"),
    (&["--timeout", "--wait", "0", "port"], "--timeout needs a value, SECONDS"),
    (
        &["--timeout", "-5", "0", "port"],
        "--timeout '-5' is not a positive number of seconds, such as 10 or 0.5",
    ),
    (&["--timeout=-5", "0", "port"], "--timeout '-5' is not a positive number of seconds, such as 10 or 0.5"),
    (
        &["--timeout", "0", "0", "port"],
        "--timeout '0' is not a positive number of seconds, such as 10 or 0.5",
    ),
    (
        &["--timeout", "soon", "0", "port"],
        "--timeout 'soon' is not a positive number of seconds, such as 10 or 0.5",
    ),
    (&["--timeout", "", "0", "port"], "--timeout '' is not a positive number of seconds, such as 10 or 0.5"),
    (
        &["--timeout", "1e3", "0", "port"],
        "--timeout '1e3' is not a positive number of seconds, such as 10 or 0.5",
    ),
    (
        &["--timeout=1.2.3", "0", "port"],
        "--timeout '1.2.3' is not a positive number of seconds, such as 10 or 0.5",
    ),
    (&["-q", "---"], "--linger needs a value, SECONDS"),
    (&["-vq", "--nonsense"], "--linger needs a value, SECONDS"),
    (&["-q", "soon", "0", "port"], "--linger 'soon' is not a number of seconds, such as 0, 10 or 0.5"),
    (&["--wait=never", "0", "port"], "--wait 'never' is not a positive number of seconds, such as 10 or 0.5"),
    (&["--wait=", "0", "port"], "--wait '' is not a positive number of seconds, such as 10 or 0.5"),
    (&["--buffer-size", "0", "0", "port"], "--buffer-size '0' is too small, a ring has at least 1 byte"),
    (
        &["--buffer-size", "-5", "0", "port"],
        "--buffer-size '-5' is not a number of bytes, such as 65536, 64K or 1M",
    ),
    (
        &["--buffer-size=1G", "0", "port"],
        "--buffer-size '1G' is not a number of bytes, such as 65536, 64K or 1M",
    ),
    // The first error is reported.
    (&["x", "a.b", "--timeout=x"], "invalid DOMID 'x', expected 0 to 32751"),
    (&["--timeout=x", "--nonsense"], "unknown option '--nonsense'"),
    // Seconds after --wait, or something else.
    (
        &["--wait", "5", "x"],
        "'--wait 5' is ambiguous: for SECONDS write --wait=5; if 5 is DOMID, write --wait after it",
    ),
    (
        &["0", "--wait", "5"],
        "'--wait 5' is ambiguous: for SECONDS write --wait=5; if 5 is PORT, write --wait after it",
    ),
    (
        &["--wait", "5", "--path", "x"],
        "'--wait 5' is ambiguous: for SECONDS write --wait=5; if 5 is DOMID, write --wait after it",
    ),
    (&["--wait", "5", "x", "port"], "invalid DOMID 'x', expected 0 to 32751"),
    (&["--wait", "0", "0", "port"], "unexpected argument 'port' after DOMID and PORT"),
    (&["--wait", "5"], "PORT is missing"),
    // Combinations.
    (&["--timeout=1", "--timeout=2", "0", "port"], "--timeout is given twice"),
    (&["-ll", "0", "port"], "--listen is given twice"),
    (&["--recv-only", "--send-only", "0", "port"], "--recv-only and --send-only are mutually exclusive"),
    (&["-l", "--wait", "0", "port"], "--listen and --wait are mutually exclusive"),
    (&["--quiet", "--verbose", "0", "port"], "--quiet and --verbose are mutually exclusive"),
    (&["--progress", "--quiet", "0", "port"], "--quiet and --progress are mutually exclusive"),
    (&["-k", "0", "port"], "--keep-listening needs --listen"),
];

/// Exit code, standard output and standard error, with the name unixcat.
#[derive(Debug, PartialEq)]
struct Outcome(Option<i32>, String, String);

fn run(program: &std::path::Path, args: &[&std::ffi::OsStr]) -> Outcome {
    let output = Command::new(program)
        .args(args)
        // Makes valid lines fail soon.
        .env("VCHAN_DOMID", "nobody")
        .env_remove("XEN_CONFIGURATION")
        .env_remove("VCHAN_TRANSPORT")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace("unixcat-c", "unixcat");
    Outcome(output.status.code(), text(output.stdout), text(output.stderr))
}

fn words<'a>(line: &'a [&'a str]) -> Vec<&'a std::ffi::OsStr> {
    line.iter().map(std::ffi::OsStr::new).collect()
}

#[test]
fn each_invalid_line_has_its_error_text() {
    let tool = program("UNIXCAT_CLIENT");
    for (line, message) in CASES {
        let expected = format!("unixcat: {message}; see unixcat --help\n");
        assert_eq!(run(&tool, &words(line)), Outcome(Some(2), String::new(), expected), "{line:?}");
    }
}

#[test]
fn invalid_utf8_is_reported_by_argument_number() {
    let tool = program("UNIXCAT_CLIENT");
    // Truncated, overlong, a surrogate, beyond the last code point.
    for bytes in [
        b"latin-\xe9" as &[u8],
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xf0\x9f\x92",
    ] {
        let line = ["0", "--path"].map(std::ffi::OsStr::new);
        let line = [&line[..], &[std::ffi::OsStr::from_bytes(bytes)]].concat();
        let expected = "unixcat: argument 3 is not valid UTF-8; see unixcat --help\n";
        assert_eq!(run(&tool, &line), Outcome(Some(2), String::new(), expected.into()), "{bytes:?}");
    }
    let fine = ["0", "--path", "/\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}ä"];
    assert_eq!(run(&tool, &words(&fine)).0, Some(1));
}

#[test]
fn word_after_wait_is_seconds_if_unambiguous() {
    let tool = program("UNIXCAT_CLIENT");
    for line in [
        &["--wait", "0.2", "0", "port"] as &[&str],
        &["0", "--wait", "0.2", "port"],
        &["0", "port", "--wait", "0.2"],
        &["--wait", "0.2", "0", "--path", "x"],
        // Only a domain is possible here: 0 is no valid time, or the word follows `--`.
        &["--timeout=0.2", "--wait", "0", "5"],
        &["--timeout=0.2", "--wait", "--", "5", "port"],
    ] {
        let place = Place::new();
        let end = place.run(tool.clone(), line).start().end();
        assert_eq!(end.code, 124, "{line:?}: {end:?}");
    }
    // Words as ever: 0 is no valid time, and nothing follows.
    for line in
        [&["--wait", "0", "5", "--timeout=0.2"] as &[&str], &["--wait", "--", "5", "p", "--timeout=0.2"]]
    {
        let place = Place::new();
        let end = place.run(tool.clone(), line).start().end();
        assert!([2, 124].contains(&end.code), "{line:?}: {end:?}");
    }
}

/// For random lines, both builds agree on validity and error text.
#[test]
fn both_builds_print_the_same() {
    const WORDS: &[&str] = &[
        "-l",
        "-k",
        "-q",
        "-v",
        "-lk",
        "-vl",
        "-h",
        "-V",
        "-",
        "--",
        "0",
        "5",
        "7",
        "-5",
        "x",
        "port",
        "a.b",
        "",
        "0.5",
        "--listen",
        "--path",
        "--path=/a",
        "--buffer-size",
        "--buffer-size=1K",
        "--buffer-size=x",
        "--recv-only",
        "--send-only",
        "--wait",
        "--wait=2",
        "--wait=-2",
        "--timeout",
        "--timeout=3",
        "--timeout=x",
        "--keep-listening",
        "--quiet",
        "--verbose",
        "--progress",
        "--progress=x",
        "--help",
        "--version",
        "--hlep",
        "--tmieout",
        "--list",
        "-x",
        "-listen",
        "--versoin",
        "--verbsoe",
        "--lis=5",
        "--pathh",
        "---",
        "-=",
        "--wiat",
        "--b",
        "-lé",
        "é\n",
    ];
    let (rust, other) = (env!("CARGO_BIN_EXE_unixcat").as_ref(), program("UNIXCAT_CLIENT"));
    let mut rejected = 0;
    for (number, numbers) in noise(8 * 600, 11).chunks(8).enumerate() {
        let line: Vec<&str> = numbers[1..]
            .iter()
            .take(1 + numbers[0] as usize % 6)
            .map(|&n| WORDS[n as usize % WORDS.len()])
            .collect();
        let (one, two) = (run(rust, &words(&line)), run(&other, &words(&line)));
        assert_eq!(one, two, "{line:?}, {number}");
        rejected += usize::from(one.0 == Some(2));
    }
    assert!((100..590).contains(&rejected), "{rejected}");
}
