//! Standard streams that are closed, unreadable, or lose their reader.

mod common;

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;

use common::terminal::Terminal;
use common::*;
use nix::sys::signal::Signal;

#[test]
fn closed_output_is_an_error_before_anything_else() {
    let place = Place::new();
    for setup in [
        place.server(&["0", "port"]),
        place.server(&["-k", "0", "port"]),
        place.client(&["--wait", "0", "port"]),
        place.client(&["--help"]),
        place.client(&["--version"]),
    ] {
        let end = setup.without(1).start().end();
        assert_eq!((end.code, end.stderr.len()), (1, 1), "{end:?}");
        let complaint = ": standard output: Bad file descriptor; open it before starting this program";
        assert!(end.last().ends_with(complaint), "{end:?}");
    }
    place.assert_clean();
}

/// With --send-only no output is needed.
#[test]
fn closed_output_with_send_only() {
    let place = Place::new();
    let file = place.file("file", 100_000, 1);
    let mut server = place.server(&["--recv-only", "0", "port"]).start();
    server.serving();
    let client = place.client(&["--send-only", "0", "port"]).from(&file).without(1).start();
    client.end().ended_cleanly();
    let server = server.end();
    assert_eq!((server.code, sha256(&file)), (0, sha256_of(&server.stdout)));
    place.assert_clean();
}

/// As provided by nohup on a terminal.
fn write_only() -> File {
    OpenOptions::new().write(true).open("/dev/null").unwrap()
}

/// A side with unreadable standard input still receives, and warns once.
#[track_caller]
fn receives_without_input(listens: bool, warns: bool, args: &[&str], setup: impl FnOnce(Setup) -> Setup) {
    let place = Place::new();
    let args = [args, &["0", "port"]].concat();
    let (receiver, mut sender) = if listens {
        let mut server = setup(place.server(&args)).start();
        server.serving();
        (server, place.client(&["0", "port"]).piped().start())
    } else {
        let mut server = place.server(&["0", "port"]).piped().start();
        server.serving();
        (setup(place.client(&args)).start(), server)
    };
    sender.connected();
    let mut receiver = receiver;
    for _ in 0..3 {
        sender.send("word");
        receiver.receive("word");
    }
    sender.close_input();
    sender.end().ended_cleanly();
    let receiver = receiver.end();
    receiver.ended_cleanly();
    let warning = ": standard input: Bad file descriptor; continuing to receive without it";
    let warnings = receiver.stderr.iter().filter(|line| line.ends_with(warning)).count();
    assert_eq!(warnings, usize::from(warns), "{receiver:?}");
    place.assert_clean();
}

#[test]
fn unusable_input() {
    for listens in [true, false] {
        receives_without_input(listens, true, &[], |setup| setup.without(0));
        receives_without_input(listens, true, &[], |setup| setup.stdin(write_only()));
        receives_without_input(listens, false, &["--recv-only"], |setup| setup.without(0));
    }
}

#[test]
fn one_warning_for_all_clients() {
    let place = Place::new();
    for closed in [true, false] {
        let server = place.server(&["-k", "0", "port"]);
        let mut server = if closed { server.without(0) } else { server.stdin(write_only()) }.start();
        for word in ["one", "two", "three"] {
            let mut client = place.client(&["--wait", "0", "port"]).piped().start();
            client.send(word);
            server.receive(word);
            client.close_input();
            client.end().ended_cleanly();
        }
        server.disconnected();
        server.signal(Signal::SIGTERM);
        let server = server.end();
        let warnings = server.stderr.iter().filter(|line| line.contains("standard input")).count();
        assert_eq!((server.code, warnings), (0, 1), "{server:?}");
    }
    place.assert_clean();
}

#[test]
fn unusable_input_with_send_only() {
    let place = Place::new();
    let mut server = place.server(&["--send-only", "0", "port"]).stdin(write_only()).start();
    server.serving();
    let client = place.client(&["0", "port"]).start();
    let closed = place.client(&["--send-only", "0", "other"]).without(0).start();
    for end in [server.end(), closed.end()] {
        assert_eq!(end.code, 1, "{end:?}");
        assert!(end.last().contains(": standard input: Bad file descriptor; open it"), "{end:?}");
    }
    client.end().saw_the_peer_fail();
    place.assert_clean();
}

/// Puts the process into the background of its terminal, where reading is not allowed.
fn in_the_background() -> std::io::Result<()> {
    // SAFETY: async-signal-safe calls between fork and exec. The parent, known to the test, holds none of the
    // descriptors used to wait for the start, and exits with the program.
    unsafe {
        libc::signal(libc::SIGTTIN, libc::SIG_IGN);
        match libc::fork() {
            0 => {
                libc::setpgid(0, 0);
                Ok(())
            }
            child => {
                let mut status = 0;
                libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
                libc::waitpid(child, &mut status, 0);
                libc::_exit(libc::WEXITSTATUS(status))
            }
        }
    }
}

#[test]
fn hung_up_terminal() {
    let place = Place::new();
    let mut terminal = Terminal::new();
    let server = place.server(&["0", "port"]).stdin(terminal.stdio()).in_terminal();
    let mut server = server.before_exec(in_the_background).start();
    server.serving();
    let mut client = place.client(&["0", "port"]).piped().start();
    client.send("before");
    server.receive("before");
    terminal.press(b"typed\n");
    // The C libraries have different texts for the error.
    let is_warning = |line: &str| {
        line.contains(": standard input: ") && line.ends_with("; continuing to receive without it")
    };
    server.line("the warning", is_warning);
    client.send("after");
    server.receive("after");
    client.close_input();
    client.end().ended_cleanly();
    server.end().ended_cleanly();
    place.assert_clean();
}

/// The reader of one side's output goes away while no data moves.
#[track_caller]
fn reader_goes(server_loses: bool, streams: impl FnOnce() -> (OwnedFd, OwnedFd)) {
    let place = Place::new();
    let (reader, output) = streams();
    let (server, client) = (place.server(&["0", "port"]).piped(), place.client(&["0", "port"]).piped());
    let (server, client) =
        if server_loses { (server.stdout(output), client) } else { (server, client.stdout(output)) };
    let mut server = server.start();
    server.serving();
    let mut client = client.start();
    client.connected();
    server.connected();
    let (mut loser, mut other) = if server_loses { (server, client) } else { (client, server) };
    let (_input, _other_input) = (loser.take_input(), other.take_input());
    drop(reader);
    let loser = loser.end();
    assert_eq!(loser.code, 1, "{loser:?}");
    assert!(loser.last().contains(": standard output: Broken pipe; "), "{loser:?}");
    other.end().saw_the_peer_fail();
    place.assert_clean();
}

fn socket() -> (OwnedFd, OwnedFd) {
    let (reader, output) = std::os::unix::net::UnixStream::pair().unwrap();
    (reader.into(), output.into())
}

#[test]
fn lost_reader_of_the_output_is_noticed_at_once() {
    for server_loses in [true, false] {
        reader_goes(server_loses, pipe);
        reader_goes(server_loses, socket);
    }
}

#[test]
fn lost_reader_is_noticed_while_waiting_for_a_peer() {
    let place = Place::new();
    for setup in [
        place.server(&["0", "port"]),
        place.server(&["-k", "0", "port"]),
        place.client(&["--wait", "0", "other"]),
    ] {
        let (reader, writer) = pipe();
        let waiting = setup.stdout(writer).start();
        waiting.asleep();
        drop(reader);
        let end = waiting.end();
        assert_eq!(end.code, 1, "{end:?}");
        assert!(end.last().contains(": standard output: Broken pipe; "), "{end:?}");
    }
    place.assert_clean();
}
