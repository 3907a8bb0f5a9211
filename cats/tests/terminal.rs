//! A terminal on either end: line by line, Ctrl-D ends, Ctrl-C ends, and the terminal modes are unchanged.

mod common;

use common::terminal::Terminal;
use common::*;
use nix::sys::signal::Signal;
use nix::sys::termios::tcgetattr;

const CTRL_C: &[u8] = b"\x03";
const CTRL_D: &[u8] = b"\x04";

/// A server with a terminal as its three streams, and a piped client.
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
fn lines_are_sent_one_by_one_and_ctrl_d_ends() {
    let place = Place::new();
    let mut terminal = Terminal::new();
    let before = tcgetattr(&terminal.tty).unwrap();
    let (server, mut client) = at_the_terminal(&place, &mut terminal, &[]);
    terminal.press(b"first line\n");
    client.receive("first line\n");
    client.send("an answer\n");
    terminal.shows("an answer");
    terminal.press(b"second line\n");
    client.receive("second line\n");
    terminal.press(CTRL_D);
    client.close_input();
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
        client.receive("a line\n");
        if progress {
            terminal.shows("sent 7 bytes, received 0 bytes, ");
        }
        terminal.press(CTRL_C);
        client.end().saw_the_peer_leave();
        terminal.shows("Disconnected.");
        assert_eq!(server.wait(), 0);
        assert_eq!(tcgetattr(&terminal.tty).unwrap(), before);
        place.assert_clean();
    }
}

#[test]
fn ctrl_c_ends_a_waiting_tool() {
    let place = Place::new();
    let mut terminal = Terminal::new();
    let server = place.server(&["0", "port"]).stdin(terminal.stdio()).stdout(terminal.stdio());
    let server = server.stderr(terminal.stdio()).in_terminal().start();
    terminal.shows("XEN_CONFIGURATION=");
    terminal.press(CTRL_C);
    assert_eq!(server.wait(), 0);
    place.assert_clean();
}

/// An idle terminal has no more data.
#[test]
fn peer_leaving_an_idle_terminal_is_a_clean_end() {
    let place = Place::new();
    let mut terminal = Terminal::new();
    let (server, mut client) = at_the_terminal(&place, &mut terminal, &[]);
    terminal.press(b"a line\n");
    client.receive("a line\n");
    // The client has reached EOF and keeps receiving.
    client.close_input();
    client.signal(Signal::SIGTERM);
    client.end().ended_cleanly();
    terminal.shows("Disconnected.");
    assert_eq!(server.wait(), 0);
    place.assert_clean();
}
