//! The end of one stream is not that of the other: an answer comes as late as it likes.

mod common;

use common::historical::connect_with;
use common::*;

/// Longer than anybody listens to a peer that can't say where its stream ends, where nothing has come.
const LATE: std::time::Duration = std::time::Duration::from_millis(2500);

/// Starts both with piped input; the one that asks is first in the result.
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
fn an_answer_that_comes_late() {
    for server_asks in [true, false] {
        for question in ["query", ""] {
            let place = Place::new();
            let (mut asks, mut answers) = connect(&place, server_asks, &[], &[]);
            asks.say(question);
            asks.close_input();
            answers.hear(question);
            std::thread::sleep(LATE);
            answers.say("answer");
            asks.hear("answer");
            answers.say(", and the rest");
            answers.close_input();
            let asks = asks.end();
            asks.is_in_order();
            assert_eq!(asks.stdout, b", and the rest");
            answers.end().is_in_order();
            place.assert_clean();
        }
    }
}

/// The sender has long been at the end of its input when the receiver fails.
#[test]
fn a_failure_after_the_end_is_heard_of() {
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
        sends.say("word");
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
fn linger_ends_the_listening() {
    for server_asks in [true, false] {
        let place = Place::new();
        let linger = ["-q", "0.3"];
        let (server, client): (&[&str], &[&str]) = if server_asks { (&linger, &[]) } else { (&[], &linger) };
        let (mut asks, mut answers) = connect(&place, server_asks, server, client);
        asks.say("query");
        answers.hear("query");
        let begun = std::time::Instant::now();
        asks.close_input();
        asks.end().is_in_order();
        assert!(begun.elapsed() >= std::time::Duration::from_millis(300));
        // Its input had not come to its end.
        answers.end().saw_the_peer_leave();
        place.assert_clean();
    }
}

/// `-q 0`, as netcat has it: the end of standard input ends the conversation.
#[test]
fn no_linger_leaves_at_the_end_of_input() {
    for server_asks in [true, false] {
        let place = Place::new();
        let linger = ["-q0"];
        let (server, client): (&[&str], &[&str]) = if server_asks { (&linger, &[]) } else { (&[], &linger) };
        let (mut asks, mut answers) = connect(&place, server_asks, server, client);
        asks.say("query");
        answers.hear("query");
        asks.close_input();
        asks.end().is_in_order();
        answers.end().saw_the_peer_leave();
        place.assert_clean();
    }
}

/// Where clients come one after the other, the server's input belongs to each for a while after the client's end.
#[test]
fn a_client_of_many_gets_its_answer() {
    let place = Place::new();
    let mut server = place.server(&["-k", "--linger", "60", "0", "port"]).piped().start();
    server.serving();
    let mut client = place.client(&["0", "port"]).piped().start();
    client.say("query");
    client.close_input();
    server.hear("query");
    std::thread::sleep(LATE);
    server.say("answer");
    client.hear("answer");
    // The end of its input ends the stream to this client, and to those that come.
    server.close_input();
    client.end().is_in_order();
    server.disconnected();
    let mut client = place.client(&["--wait", "0", "port"]).piped().start();
    client.say("more");
    server.hear("more");
    client.close_input();
    client.end().is_in_order();
    server.disconnected();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.end().code, 0);
    place.assert_clean();
}

/// A peer that knows nothing of this is listened to for as long as one says.
#[test]
fn linger_and_the_historical_peer() {
    for old_serves in [true, false] {
        let place = Place::new();
        let asks = |ours: Setup| ours.arg("--linger").arg("60").piped();
        let (mut old, mut ours) = connect_with(&place, old_serves, "65536", &["--clean-exit"], asks);
        ours.say("query");
        ours.close_input();
        old.hear("query");
        std::thread::sleep(LATE);
        old.say("answer");
        ours.hear("answer");
        old.close_input();
        ours.end().is_in_order();
        assert_eq!(old.end().code, 0);
    }
}
