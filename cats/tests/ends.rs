//! Plays docs/conversation-ends.md: exit codes and last lines of both sides.

mod common;

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;

use common::terminal::Terminal;
use common::*;
use nix::sys::signal::Signal;

const TABLE: &str = include_str!("../../docs/conversation-ends.md");

/// The exit code and a part of the last line.
struct Expected<'a> {
    code: &'a str,
    line: &'a str,
}

impl Expected<'_> {
    #[track_caller]
    fn check(&self, end: &End, what: &str) {
        if self.code.is_empty() {
            return;
        }
        assert_eq!(end.code.to_string(), self.code, "{what}: {end:?}");
        assert!(end.last().contains(self.line.trim_matches('`')), "{what}: {end:?}");
    }
}

struct Row<'a> {
    inputs: [&'a str; 2],
    happens: &'a str,
    expected: [Expected<'a>; 2],
}

fn rows() -> Vec<Row<'static>> {
    let rows = TABLE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [a, b, happens, a_code, a_line, b_code, b_line] = cells[..] else { panic!("{line}") };
        let expected = [Expected { code: a_code, line: a_line }, Expected { code: b_code, line: b_line }];
        Some(Row { inputs: [a, b], happens, expected })
    });
    // Skips the header and the separator.
    rows.skip(2).collect()
}

/// One side of a conversation: its setup, and what must outlive it.
struct Side {
    setup: Setup,
    input: &'static str,
    _terminal: Option<Terminal>,
}

impl Side {
    fn new(place: &Place, serves: bool, input: &'static str, options: &[&str]) -> Side {
        let none: &[&str] = if input == "none" { &["--recv-only"] } else { &[] };
        let args = [options, none, &["0", "port"]].concat();
        let setup = if serves { place.server(&args) } else { place.client(&args) };
        let terminal = (input == "terminal").then(Terminal::new);
        let setup = match &terminal {
            Some(terminal) => setup.stdin(terminal.stdio()),
            None => setup.piped(),
        };
        Side { setup, input, _terminal: terminal }
    }

    fn to(mut self, output: impl Into<std::process::Stdio>) -> Side {
        self.setup = self.setup.stdout(output);
        self
    }
}

/// Sends a word if the input provides data, waits for `received` to receive it, and closes the input if it ends.
fn use_input(side: &mut Cat, input: &str, received: impl FnOnce()) {
    if ["ended", "open"].contains(&input) {
        side.send("word");
        received();
    }
    if input == "ended" {
        side.end_input();
    }
}

fn play(row: &Row<'static>, a_serves: bool) {
    let what = format!("{} and {}, {}, A serves: {a_serves}", row.inputs[0], row.inputs[1], row.happens);
    let place = Place::new();
    let options: &[&str] = match row.happens {
        "A has `--send-only`" => &["--send-only"],
        "A's `--linger` time ends" => &["--linger", "0.3"],
        "A's `--timeout` runs out" => &["--timeout", "0.5"],
        _ => &[],
    };
    let mut a = Side::new(&place, a_serves, row.inputs[0], options);
    let b = Side::new(&place, !a_serves, row.inputs[1], &[]);
    let mut reader = None;
    match row.happens {
        "A's output loses its reader" => {
            let (end, output) = pipe();
            reader = Some(end);
            a = a.to(output);
        }
        "A's disk is full" => {
            a = a.to(OwnedFd::from(OpenOptions::new().write(true).open("/dev/full").unwrap()));
        }
        _ => (),
    }
    let (a_input, b_input) = (a.input, b.input);
    // The terminals stay open to the end.
    let (a_setup, b_setup, _terminals) = (a.setup, b.setup, (a._terminal, b._terminal));
    let (mut a, mut b) = if a_serves {
        let mut a = a_setup.start();
        a.serving();
        (a, b_setup.start())
    } else {
        let mut b = b_setup.start();
        b.serving();
        (a_setup.start(), b)
    };
    a.connected();
    b.connected();
    match row.happens {
        "A has `--send-only`" => {
            a.send("word");
            b.receive("word");
            a.close_input();
        }
        "A's disk is full" => {
            use_input(&mut a, a_input, || b.receive("word"));
            b.send("word");
            if b_input == "ended" {
                b.close_input();
            }
        }
        _ => {
            use_input(&mut b, b_input, || match &reader {
                Some(reader) => assert_eq!(nix::unistd::read(reader, &mut [0; 4]), Ok(4)),
                None => a.receive("word"),
            });
            use_input(&mut a, a_input, || b.receive("word"));
        }
    }
    match row.happens {
        "A gets SIGTERM" => a.signal(Signal::SIGTERM),
        "A is killed" => a.signal(Signal::SIGKILL),
        "A's output loses its reader" => reader = None,
        _ => (),
    }
    // An open input stays open to the end.
    let _inputs = (a_input == "open").then(|| a.take_input());
    let _others = (b_input == "open").then(|| b.take_input());
    row.expected[0].check(&a.end(), &what);
    row.expected[1].check(&b.end(), &what);
    drop(reader);
    if row.happens != "A is killed" {
        place.assert_clean();
    }
}

#[test]
fn each_row_holds() {
    let rows = rows();
    assert!(rows.len() > 20);
    std::thread::scope(|scope| {
        // Mostly waiting, so more threads than CPUs.
        let threads = rows.chunks(rows.len().div_ceil(4)).map(|rows| {
            scope.spawn(move || {
                for row in rows {
                    play(row, true);
                    play(row, false);
                }
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn events_and_inputs_are_known() {
    const KNOWN: [&str; 8] = [
        "nothing",
        "A has `--send-only`",
        "A's `--linger` time ends",
        "A gets SIGTERM",
        "A is killed",
        "A's output loses its reader",
        "A's disk is full",
        "A's `--timeout` runs out",
    ];
    for row in rows() {
        assert!(KNOWN.contains(&row.happens), "{}", row.happens);
        for input in row.inputs {
            assert!(["ended", "none", "open", "terminal"].contains(&input), "{input}");
        }
    }
}
