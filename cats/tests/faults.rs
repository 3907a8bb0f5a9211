//! Failures: killed peers, full disks, closed outputs. Each is reported in one line with the right exit code.

mod common;

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::*;
use nix::sys::signal::Signal;

/// A killed peer is noticed within a second; the rest allows for a loaded machine.
const NOTICED: Duration = Duration::from_secs(2);

/// Kills `victim` and checks the end of `survivor`.
#[track_caller]
fn kill_and_notice(place: &Place, victim: Cat, survivor: Cat) -> End {
    let begun = Instant::now();
    victim.signal(Signal::SIGKILL);
    assert_eq!(victim.end().code, -9);
    let end = survivor.end();
    let took = begun.elapsed();
    assert_eq!(end.code, 3, "{end:?}");
    assert!(end.last().contains("the peer died without closing the channel; "), "{end:?}");
    assert!(took < NOTICED, "noticed after {took:?}");
    // The next conversation works and leaves no files.
    let mut server = place.server(&["0", "port"]).start();
    server.serving();
    assert_eq!((place.client(&["0", "port"]).start().end().code, server.end().code), (0, 0));
    place.assert_clean();
    end
}

fn victim_first(kill_server: bool, server: Cat, client: Cat) -> (Cat, Cat) {
    if kill_server {
        (server, client)
    } else {
        (client, server)
    }
}

#[test]
fn peer_killed_while_idle_is_noticed() {
    for kill_server in [true, false] {
        let place = Place::new();
        let mut server = place.server(&["0", "port"]).piped().start();
        server.serving();
        let mut client = place.client(&["0", "port"]).piped().start();
        client.connected();
        server.connected();
        let (victim, mut survivor) = victim_first(kill_server, server, client);
        let input = survivor.take_input();
        kill_and_notice(&place, victim, survivor);
        drop(input);
    }
}

#[test]
fn peer_killed_during_transfer_is_noticed_and_its_data_delivered() {
    for kill_server in [true, false] {
        let place = Place::new();
        let mut server = place.server(&["0", "port"]).piped().start();
        server.serving();
        let mut client = place.client(&["0", "port"]).piped().start();
        client.send("from the client");
        server.receive("from the client");
        server.send("from the server");
        client.receive("from the server");
        let (mut victim, mut survivor) = victim_first(kill_server, server, client);
        let input = survivor.take_input();
        victim.send("last words");
        survivor.receive("last words");
        kill_and_notice(&place, victim, survivor);
        drop(input);
    }
}

/// The survivor's ring is full because the victim's output has no reader.
#[test]
fn peer_killed_with_a_full_ring_is_noticed() {
    for kill_server in [true, false] {
        let place = Place::new();
        let (reader, writer) = pipe();
        let zeros = || std::fs::File::open("/dev/zero").unwrap();
        let small = ["--buffer-size", "4K", "0", "port"];
        let (server, client) = (place.server(&small), place.client(&["0", "port"]));
        let (mut server, mut client) = if kill_server {
            let mut server = server.piped().stdout(writer).start();
            server.serving();
            (server, client.stdin(zeros()).start())
        } else {
            let mut server = server.stdin(zeros()).start();
            server.serving();
            (server, client.piped().stdout(writer).start())
        };
        server.connected();
        client.connected();
        full(&reader);
        let (victim, survivor) = victim_first(kill_server, server, client);
        kill_and_notice(&place, victim, survivor);
    }
}

#[test]
fn peer_killed_at_various_points_of_a_transfer() {
    for round in 0..10 {
        let place = Place::new();
        let zeros = || std::fs::File::open("/dev/zero").unwrap();
        let mut server = place.server(&["0", "port"]).stdin(zeros()).start();
        server.serving();
        let client = place.client(&["0", "port"]).stdin(zeros()).start();
        server.connected();
        // The points: after this many bytes.
        server.receive(vec![0; round * 123_457]);
        let (victim, survivor) = victim_first(round % 2 == 0, server, client);
        kill_and_notice(&place, victim, survivor);
    }
}

#[test]
fn killed_server_without_client_does_not_block_the_next() {
    let place = Place::new();
    let mut server = place.server(&["0", "port"]).piped().start();
    server.serving();
    server.signal(Signal::SIGKILL);
    assert_eq!(server.end().code, -9);
    let client = place.client(&["0", "port"]).start().end();
    assert_eq!(client.code, 1, "{client:?}");
    let mut server = place.server(&["0", "port"]).start();
    server.serving();
    assert_eq!((place.client(&["0", "port"]).start().end().code, server.end().code), (0, 0));
    place.assert_clean();
}

/// A side that can't write reports the reason and exits with 1; the other reports a failed peer.
#[track_caller]
fn cannot_write(output: impl Fn() -> OwnedFd, message: &str) {
    for server_fails in [true, false] {
        let place = Place::new();
        let zeros = || std::fs::File::open("/dev/zero").unwrap();
        let (server, client) = (place.server(&["0", "port"]), place.client(&["0", "port"]));
        let (server, client) = if server_fails {
            (server.piped().stdout(output()), client.stdin(zeros()))
        } else {
            (server.stdin(zeros()), client.piped().stdout(output()))
        };
        let mut server = server.start();
        server.serving();
        let client = client.start();
        let (mut failing, other) = if server_fails { (server, client) } else { (client, server) };
        let input = failing.take_input();
        let (failing, other) = (failing.end(), other.end());
        drop(input);
        assert_eq!(failing.code, 1, "{failing:?}");
        assert!(failing.last().contains(message), "{failing:?}");
        other.saw_the_peer_fail();
        place.assert_clean();
    }
}

#[test]
fn full_disk() {
    let full = || OwnedFd::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    cannot_write(full, ": standard output: No space left on device; ");
}

#[test]
fn unreadable_input() {
    let place = Place::new();
    let mut server = place.server(&["0", "port"]).piped().start();
    server.serving();
    let directory = std::fs::File::open(place.root()).unwrap();
    let client = place.client(&["0", "port"]).stdin(directory).start().end();
    assert_eq!(client.code, 1, "{client:?}");
    assert!(client.last().contains(": standard input: Is a directory; "), "{client:?}");
    server.end().saw_the_peer_fail();
    place.assert_clean();
}

#[test]
fn nonblocking_descriptors_work() {
    use nix::fcntl::{fcntl, FcntlArg, OFlag};
    let place = Place::new();
    let nonblocking = || {
        let (reader, writer) = pipe();
        for end in [&reader, &writer] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        (reader, writer)
    };
    let ((input, to_client), (from_server, output)) = (nonblocking(), nonblocking());
    let mut server = place.server(&["--recv-only", "0", "port"]).stdout(output).start();
    server.serving();
    let mut client = place.client(&["0", "port"]).stdin(input).start();
    client.connected();
    server.connected();
    let data = noise(1 << 20, 9);
    let copy = data.clone();
    let blocking = |fd: &OwnedFd| fcntl(fd, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    // Each end of a pipe has its own flag.
    blocking(&to_client);
    blocking(&from_server);
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        std::fs::File::from(to_client).write_all(&copy).unwrap();
    });
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(from_server), &mut got).unwrap();
    feeder.join().unwrap();
    assert!(got == data, "{} bytes", got.len());
    assert_eq!((client.end().code, server.end().code), (0, 0));
    place.assert_clean();
}
