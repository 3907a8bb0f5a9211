//! What is said of command lines that make no sense: word for word, by the builds in Rust and in C alike.

mod common;

use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use common::*;

/// Command lines and complaints, without the name of the program before it and the hint at its help after it.
const COMPLAINTS: &[(&[&str], &str)] = &[
    (&[], "DOMID and PORT are missing"),
    (&["0"], "PORT is missing"),
    (&["-l"], "DOMID and PORT are missing"),
    (&["--path", "/a"], "DOMID is missing"),
    (&["0", "port", "more"], "'more' is one argument too many after DOMID and PORT"),
    (&["0", "a", "b", "c"], "'b' is one argument too many after DOMID and PORT"),
    (&["0", "port", "--path", "/a"], "PORT 'port' and --path exclude each other: both say where to meet"),
    (&["0", "a", "b", "--path=/a"], "PORT 'a' and --path exclude each other: both say where to meet"),
    // Words.
    (&["x", "port"], "DOMID 'x' is not a number from 0 to 32751"),
    (&["talk"], "DOMID 'talk' is not a number from 0 to 32751"),
    (&["", "port"], "DOMID '' is not a number from 0 to 32751"),
    (&["-1", "port"], "DOMID '-1' is not a number from 0 to 32751"),
    (&["+1", "port"], "DOMID '+1' is not a number from 0 to 32751"),
    (&["1.0", "port"], "DOMID '1.0' is not a number from 0 to 32751"),
    (&["32752", "port"], "DOMID '32752' is not a number from 0 to 32751"),
    (&["99999999999999999999", "port"], "DOMID '99999999999999999999' is not a number from 0 to 32751"),
    (&["0", ""], "PORT is empty"),
    (&["0", "a.b"], "PORT 'a.b' has other characters than letters, digits, '_' and '-'"),
    (&["0", "a b"], "PORT 'a b' has other characters than letters, digits, '_' and '-'"),
    (&["0", "ä"], "PORT 'ä' has other characters than letters, digits, '_' and '-'"),
    (&["0", "a\nb\u{85}"], "PORT 'a\\nb\\u{85}' has other characters than letters, digits, '_' and '-'"),
    (&["port", "0"], "DOMID 'port' is not a number from 0 to 32751"),
    // Options that there are not.
    (&["--nonsense", "0", "port"], "there is no option '--nonsense'"),
    (&["--nonsense=5"], "there is no option '--nonsense'"),
    (&["--tiemout", "5", "0", "port"], "there is no option '--tiemout'; did you mean '--timeout'?"),
    (&["--time=5", "0", "port"], "there is no option '--time'; did you mean '--timeout'?"),
    (&["--recvonly", "0", "port"], "there is no option '--recvonly'; did you mean '--recv-only'?"),
    (&["--recv_only", "0", "port"], "there is no option '--recv_only'; did you mean '--recv-only'?"),
    (&["--LISTEN", "0", "port"], "there is no option '--LISTEN'; did you mean '--listen'?"),
    (&["--keep", "0", "port"], "there is no option '--keep'; did you mean '--keep-listening'?"),
    (
        &["--keep_listenign", "0", "port"],
        "there is no option '--keep_listenign'; did you mean '--keep-listening'?",
    ),
    (&["--l", "0", "port"], "there is no option '--l'; did you mean '-l'?"),
    (&["-x", "0", "port"], "there is no option '-x'"),
    (&["-lx", "0", "port"], "there is no option '-x' in '-lx'"),
    (&["-L", "0", "port"], "there is no option '-L'; did you mean '-l'?"),
    (&["-listen", "0", "port"], "there is no option '-listen'; did you mean '--listen'?"),
    (&["-timeout", "5"], "there is no option '-timeout'; did you mean '--timeout'?"),
    (&["-ä", "0", "port"], "there is no option '-ä'"),
    (&["-l\u{7f}"], "there is no option '-\\u{7f}' in '-l\\u{7f}'"),
    (&["--=x", "0", "port"], "there is no option '--'"),
    (
        &["--a-very-long-option-that-resembles-no-other-one"],
        "there is no option '--a-very-long-option-that-resembles-no-other-one'",
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
    // The first mistake is reported.
    (&["x", "a.b", "--timeout=x"], "DOMID 'x' is not a number from 0 to 32751"),
    (&["--timeout=x", "--nonsense"], "there is no option '--nonsense'"),
    // Seconds that are meant for --wait, or not.
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
    (&["--wait", "5", "x", "port"], "DOMID 'x' is not a number from 0 to 32751"),
    (&["--wait", "0", "0", "port"], "'port' is one argument too many after DOMID and PORT"),
    (&["--wait", "5"], "PORT is missing"),
    // Combinations.
    (&["--timeout=1", "--timeout=2", "0", "port"], "--timeout is given twice"),
    (&["-ll", "0", "port"], "--listen is given twice"),
    (&["--recv-only", "--send-only", "0", "port"], "--recv-only and --send-only exclude each other"),
    (&["-l", "--wait", "0", "port"], "--listen and --wait exclude each other"),
    (&["--quiet", "--verbose", "0", "port"], "--quiet and --verbose exclude each other"),
    (&["--progress", "--quiet", "0", "port"], "--quiet and --progress exclude each other"),
    (&["-k", "0", "port"], "--keep-listening needs --listen"),
];

/// What a program made of a command line: exit code, standard output, standard error, in which it is called unixcat.
#[derive(Debug, PartialEq)]
struct Said(Option<i32>, String, String);

fn say(program: &std::path::Path, args: &[&std::ffi::OsStr]) -> Said {
    let output = Command::new(program)
        .args(args)
        // Lines that do make sense come to an end soon.
        .env("VCHAN_DOMID", "nobody")
        .env_remove("XEN_CONFIGURATION")
        .env_remove("VCHAN_TRANSPORT")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace("unixcat-c", "unixcat");
    Said(output.status.code(), text(output.stdout), text(output.stderr))
}

fn words<'a>(line: &'a [&'a str]) -> Vec<&'a std::ffi::OsStr> {
    line.iter().map(std::ffi::OsStr::new).collect()
}

#[test]
fn each_mistake_has_its_complaint() {
    let tool = program("UNIXCAT_CLIENT");
    for (line, complaint) in COMPLAINTS {
        let expected = format!("unixcat: {complaint}; see unixcat --help\n");
        assert_eq!(say(&tool, &words(line)), Said(Some(2), String::new(), expected), "{line:?}");
    }
}

#[test]
fn what_is_no_text_is_told_by_its_place() {
    let tool = program("UNIXCAT_CLIENT");
    // Cut off, too long, half of a pair, beyond the last character.
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
        let expected = "unixcat: argument 3 is not text in UTF-8; see unixcat --help\n";
        assert_eq!(say(&tool, &line), Said(Some(2), String::new(), expected.into()), "{bytes:?}");
    }
    let fine = ["0", "--path", "/\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}ä"];
    assert_eq!(say(&tool, &words(&fine)).0, Some(1));
}

#[test]
fn seconds_after_wait_are_understood_where_nothing_else_fits() {
    let tool = program("UNIXCAT_CLIENT");
    for line in [
        &["--wait", "0.2", "0", "port"] as &[&str],
        &["0", "--wait", "0.2", "port"],
        &["0", "port", "--wait", "0.2"],
        &["--wait", "0.2", "0", "--path", "x"],
        // Here nothing but a domain can be meant: a number that is no time, one behind the end of the options.
        &["--timeout=0.2", "--wait", "0", "5"],
        &["--timeout=0.2", "--wait", "--", "5", "port"],
    ] {
        let place = Place::new();
        let end = place.run(tool.clone(), line).start().end();
        assert_eq!(end.code, 124, "{line:?}: {end:?}");
    }
    // These are what they have always been: a number that is no time, and one that nothing follows.
    for line in
        [&["--wait", "0", "5", "--timeout=0.2"] as &[&str], &["--wait", "--", "5", "p", "--timeout=0.2"]]
    {
        let place = Place::new();
        let end = place.run(tool.clone(), line).start().end();
        assert!([2, 124].contains(&end.code), "{line:?}: {end:?}");
    }
}

/// Over many lines at random, the two builds take the same for right, and say the same of what is wrong.
#[test]
fn both_builds_say_the_same() {
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
    let mut complained = 0;
    for (number, numbers) in noise(8 * 600, 11).chunks(8).enumerate() {
        let line: Vec<&str> = numbers[1..]
            .iter()
            .take(1 + numbers[0] as usize % 6)
            .map(|&n| WORDS[n as usize % WORDS.len()])
            .collect();
        let (one, two) = (say(rust, &words(&line)), say(&other, &words(&line)));
        assert_eq!(one, two, "{line:?}, {number}");
        complained += usize::from(one.0 == Some(2));
    }
    assert!((100..590).contains(&complained), "{complained}");
}
