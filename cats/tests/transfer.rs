//! Every byte arrives, in both directions, with every ring size.

mod common;

use common::*;

/// Moves a file from the client to the server, and another one back unless `back` is 0.
#[track_caller]
fn transfer(size: &str, forth: usize, back: usize) {
    let place = Place::new();
    let (there, here) = (place.file("there", forth, 1), place.file("here", back, 2));
    let mut server =
        place.server(&["--buffer-size", size, "0", "port"]).from(&here).to(&place.path("out")).start();
    server.serving();
    let client = place.client(&["0", "port"]).from(&there).to(&place.path("back")).start();
    let (client, server) = (client.end(), server.end());
    for end in [&client, &server] {
        assert_eq!(end.code, 0, "{end:?}");
        assert_eq!(end.last(), "Disconnected.");
    }
    assert_eq!(sha256(&place.path("out")), sha256(&there), "client to server, {size}");
    assert_eq!(sha256(&place.path("back")), sha256(&here), "server to client, {size}");
    place.assert_clean();
}

const MIB: usize = 1 << 20;

macro_rules! sizes {
    ($($name:ident: $size:literal,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn client_to_server() {
                transfer($size, mebibytes() * MIB, 0);
            }

            #[test]
            fn server_to_client() {
                transfer($size, 0, mebibytes() * MIB);
            }

            #[test]
            fn both_directions_at_once() {
                transfer($size, mebibytes() * MIB, mebibytes() * MIB + 4321);
            }
        }
    )*};
}

sizes! {
    rings_of_1024: "1024",
    rings_of_2048: "2K",
    rings_of_4096: "4096",
    rings_of_64k: "64K",
    rings_of_1m: "1M",
}

#[test]
fn empty_transfer() {
    transfer("64K", 0, 0);
}

#[test]
fn a_single_byte_and_odd_sizes() {
    for len in [1, 2, 1023, 1024, 1025, 65535, 65537] {
        transfer("1K", len, 0);
        transfer("1K", 0, len);
    }
}

#[test]
fn oversized_ring_is_capped() {
    transfer("9999999M", 3 * MIB, 0);
}

/// Data written just before the end arrives, repeatedly.
#[test]
fn the_last_bytes_are_never_lost() {
    let place = Place::new();
    let file = place.file("file", 70_001, 7);
    for round in 0..30 {
        let mut server = place.server(&["--recv-only", "0", "port"]).to(&place.path("out")).start();
        server.serving();
        let client = place.client(&["0", "port"]).from(&file).start();
        assert_eq!((client.end().code, server.end().code), (0, 0), "round {round}");
        assert_eq!(sha256(&place.path("out")), sha256(&file), "round {round}");
    }
    place.assert_clean();
}

/// A side without input outlasts a pause of the sender.
#[test]
fn receiver_without_input_gets_everything() {
    let place = Place::new();
    let mut server = place.server(&["0", "port"]).to(&place.path("out")).start();
    server.serving();
    let mut client = place.client(&["0", "port"]).piped().start();
    for _ in 0..5 {
        client.send(noise(1000, 3));
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    client.close_input();
    assert_eq!((client.end().code, server.end().code), (0, 0));
    assert_eq!(std::fs::read(place.path("out")).expect("out"), noise(1000, 3).repeat(5));
    place.assert_clean();
}

/// Slow data: through a pipe, in portions.
#[test]
fn pipe_is_read_to_eof() {
    let place = Place::new();
    let mut server = place.server(&["0", "port"]).piped().start();
    server.serving();
    let mut client = place.client(&["0", "port"]).piped().start();
    for round in 0..50 {
        let question = noise(1 + round * 37, round as u64);
        client.send(&question);
        server.receive(&question);
        server.send(b"answer");
        client.receive(b"answer");
    }
    server.close_input();
    client.close_input();
    assert_eq!((client.end().code, server.end().code), (0, 0));
    place.assert_clean();
}

#[test]
fn recv_only_leaves_standard_input_alone() {
    let place = Place::new();
    let file = place.file("file", 100_000, 3);
    // Its standard input is at EOF, but it stays to the end.
    let mut server = place.server(&["--recv-only", "0", "port"]).start();
    server.serving();
    let mut client = place.client(&["0", "port"]).piped().start();
    client.connected();
    server.connected();
    client.send(std::fs::read(&file).unwrap());
    server.receive(std::fs::read(&file).unwrap());
    client.close_input();
    assert_eq!((client.end().code, server.end().code), (0, 0));
    place.assert_clean();
}

#[test]
fn send_only_discards_received_data() {
    let place = Place::new();
    let file = place.file("file", 3 * MIB, 4);
    let mut server = place.server(&["--send-only", "--buffer-size", "4K", "0", "port"]).piped().start();
    server.serving();
    let client = place.client(&["--linger", "0.1", "0", "port"]).from(&file).start();
    // The client's file is consumed although it is discarded.
    assert_eq!(client.end().code, 0);
    let server = server.end();
    server.saw_the_peer_leave();
    assert_eq!(server.stdout, b"");
    place.assert_clean();
}

#[test]
fn two_pairs_share_a_root() {
    let place = Place::new();
    let pairs: Vec<_> = ["one", "two"]
        .iter()
        .zip([11, 22])
        .map(|(port, seed)| {
            let file = place.file(&format!("{port}.in"), 5 * MIB, seed);
            let mut server =
                place.server(&["--recv-only", "0", port]).to(&place.path(&format!("{port}.out"))).start();
            server.serving();
            (port, file, server)
        })
        .collect();
    let running: Vec<_> = pairs
        .into_iter()
        .map(|(port, file, server)| (port, place.client(&["0", port]).from(&file).start(), file, server))
        .collect();
    for (port, client, file, server) in running {
        assert_eq!((client.end().code, server.end().code), (0, 0), "{port}");
        assert_eq!(sha256(&place.path(&format!("{port}.out"))), sha256(&file), "{port}");
    }
    place.assert_clean();
}
