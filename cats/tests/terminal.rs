//! A terminal on either end: line by line, Ctrl-D ends, Ctrl-C ends, and the terminal is as it was.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::mpsc::{channel, Receiver};
use std::time::Instant;

use common::*;
use nix::pty::openpty;
use nix::sys::termios::tcgetattr;

const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";

/// A person's side of a terminal.
struct Terminal {
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    tty: OwnedFd,
}

impl Terminal {
    fn new() -> Terminal {
        let pty = openpty(None, None).unwrap();
        let mut screen = File::from(pty.master.try_clone().unwrap());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                if sender.send(piece[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { keys: pty.master.into(), screen: receiver, seen: String::new(), tty: pty.slave }
    }

    fn stdio(&self) -> Stdio {
        self.tty.try_clone().unwrap().into()
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Waits until this is on the screen.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let limit = Instant::now() + LIMIT;
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.seen += &String::from_utf8_lossy(&piece),
                Err(error) => panic!("{error}: no {text:?} in {:?}", self.seen),
            }
        }
    }
}

/// A server at a terminal, which is all of its three streams, and a client of the test.
fn at_the_terminal(place: &Place, terminal: &mut Terminal, args: &[&str]) -> (Cat, Cat) {
    let server = place.server(&[args, &["0", "port"]].concat());
    let server = server.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio());
    let server = server.in_terminal().start();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    client.connected();
    terminal.shows("Connected.");
    (server, client)
}

#[test]
fn lines_go_one_by_one_and_ctrl_d_ends() {
    let place = Place::new();
    let mut terminal = Terminal::new();
    let before = tcgetattr(&terminal.tty).unwrap();
    let (server, mut client) = at_the_terminal(&place, &mut terminal, &[]);
    terminal.press(b"first line\n");
    client.hear("first line\n");
    client.say("an answer\n");
    terminal.shows("an answer");
    terminal.press(b"second line\n");
    client.hear("second line\n");
    terminal.press(CTRL_D);
    assert_eq!(client.end().code, 0);
    terminal.shows("Disconnected.");
    assert_eq!(server.wait(), 0);
    assert_eq!(tcgetattr(&terminal.tty).unwrap(), before);
    place.assert_clean();
}

#[test]
fn ctrl_c_ends() {
    for progress in [false, true] {
        let place = Place::new();
        let mut terminal = Terminal::new();
        let before = tcgetattr(&terminal.tty).unwrap();
        let args: &[&str] = if progress { &["--progress"] } else { &[] };
        let (server, mut client) = at_the_terminal(&place, &mut terminal, args);
        terminal.press(b"a line\n");
        client.hear("a line\n");
        if progress {
            terminal.shows("sent 7 bytes, received 0 bytes, ");
        }
        terminal.press(CTRL_C);
        let client = client.end();
        assert_eq!((client.code, client.last()), (0, "Disconnected."), "{client:?}");
        terminal.shows("Disconnected.");
        assert_eq!(server.wait(), 0);
        assert_eq!(tcgetattr(&terminal.tty).unwrap(), before);
        place.assert_clean();
    }
}

#[test]
fn ctrl_c_ends_also_who_waits() {
    let place = Place::new();
    let mut terminal = Terminal::new();
    let server = place.server(&["0", "port"]).stdin(terminal.stdio()).stdout(terminal.stdio());
    let server = server.stderr(terminal.stdio()).in_terminal().start();
    terminal.shows("XEN_CONFIGURATION=");
    terminal.press(CTRL_C);
    assert_eq!(server.wait(), 0);
    place.assert_clean();
}
