//! A sender exits with 0 only if the peer has consumed all of its standard input. Otherwise it reports what is
//! missing.

mod common;

use std::time::Duration;

use common::*;
use nix::sys::signal::Signal;

/// Transfers `input` from one side to the other, which writes to `output`. The sender is first in the result.
fn transfer(
    place: &Place,
    server_sends: bool,
    input: impl FnOnce(Setup) -> Setup,
    output: impl FnOnce(Setup) -> Setup,
) -> (Cat, Cat) {
    let ends = ["--buffer-size", "4K", "0", "port"];
    let receives = [&["--recv-only"], &ends[..]].concat();
    let (mut sender, mut receiver) = if server_sends {
        let mut server = input(place.server(&ends)).start();
        server.serving();
        (server, output(place.client(&receives)).start())
    } else {
        let mut server = output(place.server(&receives)).start();
        server.serving();
        (input(place.client(&ends)).start(), server)
    };
    sender.connected();
    receiver.connected();
    (sender, receiver)
}

fn zeros() -> std::fs::File {
    std::fs::File::open("/dev/zero").unwrap()
}

/// The number before `what`.
#[track_caller]
fn number(line: &str, what: &str) -> usize {
    let before = line.split(what).next().unwrap();
    before.split(' ').next_back().unwrap().parse().unwrap_or_else(|_| panic!("no number: {line}"))
}

#[test]
fn receiver_ended_by_a_signal() {
    for server_sends in [true, false] {
        let place = Place::new();
        let (sender, mut receiver) = transfer(&place, server_sends, |s| s.stdin(zeros()), |r| r);
        receiver.receive(vec![0; 1 << 20]);
        receiver.signal(Signal::SIGTERM);
        receiver.end().ended_cleanly();
        let sender = sender.end();
        sender.saw_the_peer_leave();
        assert!(sender.last().contains(" left before the end of standard input"), "{sender:?}");
        place.assert_clean();
    }
}

/// Unconsumed bytes are counted.
#[test]
fn stuck_receiver_ended_by_a_signal() {
    for server_sends in [true, false] {
        let place = Place::new();
        let (reader, writer) = pipe();
        let capacity = nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap() as usize;
        let file = place.file("file", capacity + 1000, 1);
        let (sender, receiver) = transfer(&place, server_sends, |s| s.from(&file), |r| r.stdout(writer));
        full(&reader);
        // The sender has read all of its input; the rest is in the ring.
        sender.has_read(capacity + 1000);
        receiver.signal(Signal::SIGTERM);
        assert_eq!(receiver.end_within(Duration::from_secs(10)).code, 0);
        let sender = sender.end();
        sender.saw_the_peer_leave();
        assert!(sender.last().ends_with(" bytes; check the other side's messages"), "{sender:?}");
        assert!((1000..=4096).contains(&number(sender.last(), " bytes;")), "{sender:?}");
        drop(reader);
        place.assert_clean();
    }
}

#[test]
fn receiver_leaves_during_silence() {
    for server_sends in [true, false] {
        let place = Place::new();
        let (mut sender, mut receiver) = transfer(&place, server_sends, Setup::piped, |r| r);
        sender.send("word");
        receiver.receive("word");
        receiver.signal(Signal::SIGTERM);
        receiver.end().ended_cleanly();
        let sender = sender.end();
        sender.saw_the_peer_leave();
        assert!(sender.last().contains(" left before the end of standard input; "), "{sender:?}");
        place.assert_clean();
    }
}

/// Standard input may reach its end shortly after the peer has left.
#[test]
fn input_ending_with_the_peer_counts_as_delivered() {
    for server_sends in [true, false] {
        let place = Place::new();
        let (reader, writer) = pipe();
        let (sender, receiver) = transfer(&place, server_sends, |s| s.stdin(reader), |r| r);
        receiver.signal(Signal::SIGTERM);
        drop(writer);
        receiver.end().ended_cleanly();
        sender.end().ended_cleanly();
        place.assert_clean();
    }
}

/// Unconsumed bytes of one client are reported; the next client is served.
#[test]
fn client_leaving_early_with_keep_listening() {
    let place = Place::new();
    let mut server = place.server(&["-k", "--buffer-size", "4K", "0", "port"]).stdin(zeros()).start();
    server.serving();
    let (reader, writer) = pipe();
    let mut client = place.client(&["--recv-only", "0", "port"]).stdout(writer).start();
    client.connected();
    full(&reader);
    client.signal(Signal::SIGTERM);
    assert_eq!(client.end_within(Duration::from_secs(10)).code, 0);
    let line = server.line("what was not taken", |line| line.contains("without taking the last "));
    assert!((1..=4096).contains(&number(&line, " bytes;")), "{line}");
    let mut client = place.client(&["--wait", "--recv-only", "0", "port"]).start();
    client.receive(vec![0; 10_000]);
    server.signal(Signal::SIGTERM);
    client.end().saw_the_peer_fail();
    assert_eq!(server.end().code, 0);
    place.assert_clean();
}
