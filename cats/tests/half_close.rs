//! Half-close: the end of one stream does not end the other; an answer may come arbitrarily late.

mod common;

use common::historical::connect_with;
use common::*;

/// Longer than any wait for a silent peer without half-close.
const LATE: std::time::Duration = std::time::Duration::from_millis(2500);

/// Starts both with piped input; the asking side is first in the result.
fn connect(place: &Place, server_asks: bool, server: &[&str], client: &[&str]) -> (Cat, Cat) {
    let mut server = place.server(&[server, &["0", "port"]].concat()).piped().start();
    server.serving();
    let mut client = place.client(&[client, &["0", "port"]].concat()).piped().start();
    server.connected();
    client.connected();
    if server_asks {
        (server, client)
    } else {
        (client, server)
    }
}

#[test]
fn late_answer_arrives() {
    for server_asks in [true, false] {
        for question in ["query", ""] {
            let place = Place::new();
            let (mut asks, mut answers) = connect(&place, server_asks, &[], &[]);
            asks.send(question);
            asks.close_input();
            answers.receive(question);
            std::thread::sleep(LATE);
            answers.send("answer");
            asks.receive("answer");
            answers.send(", and the rest");
            answers.close_input();
            let asks = asks.end();
            asks.ended_cleanly();
            assert_eq!(asks.stdout, b", and the rest");
            answers.end().ended_cleanly();
            place.assert_clean();
        }
    }
}

/// The sender has long reached EOF when the receiver fails.
#[test]
fn failure_after_eof_is_reported() {
    for server_sends in [true, false] {
        let place = Place::new();
        let (reader, writer) = pipe();
        let mut server = place.server(&["0", "port"]).piped();
        let mut client = place.client(&["0", "port"]).piped();
        if server_sends {
            client = client.stdout(writer);
        } else {
            server = server.stdout(writer);
        }
        let mut server = server.start();
        server.serving();
        let mut client = client.start();
        server.connected();
        client.connected();
        let (mut sends, mut receives) = if server_sends { (server, client) } else { (client, server) };
        let _input = receives.take_input();
        sends.send("word");
        sends.close_input();
        let mut got = [0; 4];
        let mut reader = std::fs::File::from(reader);
        std::io::Read::read_exact(&mut reader, &mut got).unwrap();
        drop(reader);
        assert_eq!(receives.end().code, 1);
        sends.end().saw_the_peer_fail();
        place.assert_clean();
    }
}

#[test]
fn linger_limits_receiving() {
    for server_asks in [true, false] {
        let place = Place::new();
        let linger = ["-q", "0.3"];
        let (server, client): (&[&str], &[&str]) = if server_asks { (&linger, &[]) } else { (&[], &linger) };
        let (mut asks, mut answers) = connect(&place, server_asks, server, client);
        asks.send("query");
        answers.receive("query");
        let begun = std::time::Instant::now();
        asks.close_input();
        asks.end().ended_cleanly();
        assert!(begun.elapsed() >= std::time::Duration::from_millis(300));
        // Its input had not reached EOF.
        answers.end().saw_the_peer_leave();
        place.assert_clean();
    }
}

/// `-q 0`, as in netcat: EOF on standard input ends the conversation.
#[test]
fn linger_zero_leaves_at_eof() {
    for server_asks in [true, false] {
        let place = Place::new();
        let linger = ["-q0"];
        let (server, client): (&[&str], &[&str]) = if server_asks { (&linger, &[]) } else { (&[], &linger) };
        let (mut asks, mut answers) = connect(&place, server_asks, server, client);
        asks.send("query");
        answers.receive("query");
        asks.close_input();
        asks.end().ended_cleanly();
        answers.end().saw_the_peer_leave();
        place.assert_clean();
    }
}

/// With --keep-listening, the server's input goes to each client for a while after the client's EOF.
#[test]
fn client_of_keep_listening_gets_its_answer() {
    let place = Place::new();
    let mut server = place.server(&["-k", "--linger", "60", "0", "port"]).piped().start();
    server.serving();
    let mut client = place.client(&["0", "port"]).piped().start();
    client.send("query");
    client.close_input();
    server.receive("query");
    std::thread::sleep(LATE);
    server.send("answer");
    client.receive("answer");
    // EOF of the server's input ends the stream to this client and to later ones.
    server.close_input();
    client.end().ended_cleanly();
    server.disconnected();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    client.send("more");
    server.receive("more");
    client.close_input();
    client.end().ended_cleanly();
    server.disconnected();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.end().code, 0);
    place.assert_clean();
}

/// A peer without half-close is received from for the time of --linger.
#[test]
fn linger_with_the_historical_peer() {
    for old_serves in [true, false] {
        let place = Place::new();
        let asks = |ours: Setup| ours.arg("--linger").arg("60").piped();
        let (mut old, mut ours) = connect_with(&place, old_serves, "65536", &["--clean-exit"], asks);
        ours.send("query");
        ours.close_input();
        old.receive("query");
        std::thread::sleep(LATE);
        old.send("answer");
        ours.receive("answer");
        old.close_input();
        ours.end().ended_cleanly();
        assert_eq!(old.end().code, 0);
    }
}
