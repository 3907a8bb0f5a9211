//! How channels end.

use std::io::{ErrorKind, Read, Write};

use vchan::{Closer, Error, State, Vchan};

use crate::raw::Raw;
use crate::support::{
    accept, client, inner, pair, pair_without_spinning, readable, rounds, server, spawn, wait_until_asleep,
    Random, LONG,
};
use crate::world::World;

/// Reads to the end, by blocking or by polling.
fn count_to_the_end(mut reader: Vchan, poll: bool) -> usize {
    reader.set_nonblocking(poll);
    let (mut buffer, mut all) = ([0; 700], 0);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(readable(&reader, LONG), "no event after {all} bytes");
            }
            Err(error) => panic!("read after {all} bytes: {error}"),
        }
    }
}

pub fn end_follows_the_last_byte(world: &dyn World) {
    let mut random = Random::new(1);
    for round in 0..2000 {
        let (one, two) = pair(world, 1024);
        let (mut writer, reader) = if round % 4 < 2 { (one, two) } else { (two, one) };
        let poll = round % 2 == 0;
        let thread = spawn("reader", move || count_to_the_end(reader, poll));
        let bytes = random.bytes(random_len(round));
        writer.write_all(&bytes).expect("write");
        match round % 3 {
            0 => drop(writer),
            1 => writer.close(),
            // Kept alive until the reader is done.
            _ => writer.leave(),
        }
        assert_eq!(thread.join().expect("the reader"), bytes.len(), "round {round}");
    }
}

/// Mostly lengths that fit into the ring, so that nothing delays the end.
fn random_len(round: usize) -> usize {
    [1, 17, 500, 1024, 3000][round % 5]
}

pub fn end_follows_the_remaining_bytes(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    client.write_all(b"the last words").expect("write");
    client.close();
    assert_eq!(server.state().expect("state"), State::PeerClosed);
    let mut part = [0; 8];
    server.recv(&mut part).expect("recv");
    assert_eq!(&part, b"the last");
    // Too few bytes for the packet: an error, and the bytes stay.
    assert!(matches!(server.recv(&mut part), Err(Error::PeerClosed)));
    assert_eq!(server.read(&mut part).expect("read"), 6);
    for _ in 0..3 {
        assert_eq!(server.read(&mut part).expect("read"), 0);
    }
}

fn assert_closed<T: std::fmt::Debug>(result: vchan::Result<T>) {
    assert!(matches!(result, Err(Error::Closed)), "{result:?}");
}

pub fn close_ends_a_blocked_read(world: &dyn World) {
    for serves in [true, false] {
        let (server, client) = pair(world, 4096);
        let (mut end, _peer) = if serves { (server, client) } else { (client, server) };
        let closer = end.closer();
        let thread = spawn("blocked", move || (end.read(&mut [0; 4]).map_err(|e| inner(&e).errno()), end));
        wait_until_asleep("blocked");
        closer.close();
        let (result, mut end) = thread.join().expect("the thread");
        assert_eq!(result, Err(libc::ESHUTDOWN));
        // Every later call fails, too.
        assert_closed(end.recv(&mut [0; 1]));
        assert_closed(end.send(&[0; 1]));
        assert_closed(end.data_ready());
        assert_closed(end.buffer_space());
        assert_closed(end.wait(None));
        assert!(readable(&end, LONG), "a closed end's descriptor");
        assert!(closer.is_closed());
    }
}

pub fn close_ends_a_blocked_write(world: &dyn World) {
    let (mut server, client) = pair(world, 4096);
    let closer = server.closer();
    let thread = spawn("blocked", move || (server.write(&[1; 10_000]), server.write(&[2; 1])));
    wait_until_asleep("blocked");
    closer.close();
    let (first, second) = thread.join().expect("the thread");
    assert_eq!(first.expect("what was written before"), 4096);
    assert_eq!(inner(&second.expect_err("closed")).errno(), libc::ESHUTDOWN);
    drop(client);
}

pub fn close_ends_a_blocked_accept(world: &dyn World) {
    let closer = Closer::new();
    let listening = server(world).closer(&closer).open().expect("listen");
    let thread = spawn("blocked", move || accept(listening, None).map(drop));
    wait_until_asleep("blocked");
    closer.close();
    assert_closed(thread.join().expect("the thread"));
    assert_closed(server(world).closer(&closer).open());
}

pub fn close_ends_a_blocked_connect(world: &dyn World) {
    let closer = Closer::new();
    std::thread::scope(|scope| {
        let connecting = std::thread::Builder::new().name("blocked".into());
        let connecting = connecting
            .spawn_scoped(scope, || client(world).closer(&closer).wait_forever().connect())
            .expect("start a thread");
        wait_until_asleep("blocked");
        closer.close();
        assert_closed(connecting.join().expect("the thread"));
    });
}

pub fn close_ends_both_halves(world: &dyn World) {
    for _ in 0..rounds(50) {
        let (server, client) = pair_without_spinning(world, 1024);
        let closer = server.closer();
        let (mut reader, mut writer) = server.split();
        let reader = spawn("half-r", move || reader.read(&mut [0; 4]).map_err(|e| inner(&e).errno()));
        let writer = spawn("half-w", move || writer.write_all(&[0; 5000]).map_err(|e| inner(&e).errno()));
        wait_until_asleep("half-r");
        wait_until_asleep("half-w");
        closer.close();
        assert_eq!(reader.join().expect("the reader"), Err(libc::ESHUTDOWN));
        assert_eq!(writer.join().expect("the writer"), Err(libc::ESHUTDOWN));
        drop(client);
    }
}

pub fn drop_notifies_the_peer(world: &dyn World) {
    let ends = |server_goes| {
        let (server, client) = pair(world, 4096);
        if server_goes {
            (server, client)
        } else {
            (client, server)
        }
    };
    for server_goes in [true, false] {
        let (goes, mut stays) = ends(server_goes);
        let thread = spawn("blocked", move || (stays.read(&mut [0; 4]), stays));
        wait_until_asleep("blocked");
        drop(goes);
        let (result, stays) = thread.join().expect("the thread");
        assert_eq!(result.expect("the end"), 0);
        assert_eq!(stays.state().expect("state"), State::PeerClosed);
        drop(stays);

        let (goes, mut stays) = ends(server_goes);
        let thread = spawn("blocked", move || (stays.write(&[0; 5000]), stays.write(&[0; 1])));
        wait_until_asleep("blocked");
        drop(goes);
        let (first, second) = thread.join().expect("the thread");
        assert_eq!(first.expect("what was written before"), 4096);
        assert_eq!(second.expect_err("the peer has left").kind(), ErrorKind::BrokenPipe);
    }
}

pub fn read_after_leave(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    client.write_all(b"before").expect("write");
    server.leave();
    assert_eq!(client.state().expect("state"), State::PeerClosed);
    assert_eq!(client.write(b"x").expect_err("the server left").kind(), ErrorKind::BrokenPipe);
    assert!(matches!(server.send(b"x"), Err(Error::Closed)));
    assert!(server.write(b"x").is_err());
    let mut text = [0; 6];
    server.recv(&mut text).expect("what came before");
    assert_eq!(&text, b"before");
    drop(client);
    assert_eq!(server.read(&mut text).expect("the end"), 0);
}

pub fn write_to_a_closed_peer(world: &dyn World) {
    let (mut server, client) = pair(world, 4096);
    drop(client);
    assert_eq!(server.write(b"x").expect_err("the client left").kind(), ErrorKind::BrokenPipe);
    assert!(matches!(server.send(b"x"), Err(Error::PeerClosed)));
    server.set_nonblocking(true);
    assert_eq!(server.write(b"x").expect_err("the client left").kind(), ErrorKind::BrokenPipe);
    assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
}

pub fn wait_until_drained(world: &dyn World) {
    for round in 0..rounds(300) {
        let (server, mut client) = pair(world, 1024);
        let (_reader, mut writer) = server.split();
        writer.wait_drained(None).expect("nothing was written");
        writer.write_all(&[5; 600]).expect("write");
        assert_eq!(writer.pending().expect("pending"), 600);
        let waiting = spawn("blocked", move || writer.wait_drained(Some(LONG)));
        if round % 2 == 0 {
            wait_until_asleep("blocked");
        }
        client.recv(&mut [0; 600]).expect("recv");
        // Everything has been read, even if the peer leaves after that.
        client.close();
        waiting.join().expect("the thread").expect("drained");
    }
    let (mut server, client) = pair(world, 1024);
    server.write_all(&[5; 600]).expect("write");
    drop(client);
    let (_reader, mut writer) = server.split();
    assert!(matches!(writer.wait_drained(Some(LONG)), Err(Error::PeerClosed)));
}

pub fn peer_death_is_not_end_of_stream(world: &dyn World) {
    for blocked in [false, true] {
        let listening = server(world).open().expect("listen");
        let raw = Raw::client(world);
        raw.announce();
        let mut server = accept(listening, Some(LONG)).expect("accept");
        raw.write(b"last");
        assert_eq!(server.read(&mut [0; 2]).expect("read"), 2);
        let mut read_on = move || {
            assert_eq!(server.read(&mut [0; 4]).expect("read"), 2);
            (
                server.read(&mut [0; 4]),
                server.state().expect("state"),
                server.write(&vec![0; 100_000]),
                server.write(b"x"),
            )
        };
        let outcome = if blocked {
            let thread = spawn("blocked", read_on);
            wait_until_asleep("blocked");
            // Dropped without closing, as if killed.
            drop(raw);
            thread.join().expect("the thread")
        } else {
            drop(raw);
            read_on()
        };
        let (read, state, _, write) = outcome;
        assert_eq!(read.expect_err("the client died").kind(), ErrorKind::ConnectionReset);
        assert_eq!(state, State::PeerDied);
        assert_eq!(write.expect_err("the client died").kind(), ErrorKind::ConnectionReset);
    }
}

/// How a side waits whose transfers do not block.
#[derive(Clone, Copy)]
enum WaitBy {
    Retry,
    Wait,
    Poll,
}

impl WaitBy {
    fn wait(self, end: &mut Vchan) {
        match self {
            WaitBy::Retry => std::thread::yield_now(),
            // The next attempt returns its error.
            WaitBy::Wait => drop(end.wait(Some(LONG))),
            WaitBy::Poll => assert!(readable(&*end, LONG), "the peer's death is not reported"),
        }
    }
}

pub fn nonblocking_caller_sees_peer_death(world: &dyn World) {
    let cases = [
        (WaitBy::Retry, false),
        (WaitBy::Wait, false),
        (WaitBy::Wait, true),
        (WaitBy::Poll, false),
        (WaitBy::Poll, true),
    ];
    for (how, asleep) in cases {
        let listening = server(world).open().expect("listen");
        let raw = Raw::client(world);
        raw.announce();
        let mut server = accept(listening, Some(LONG)).expect("accept");
        server.set_nonblocking(true);
        let thread = spawn("watching", move || loop {
            // One direction fills up, the other one is empty.
            let written = server.write(&[0; 1000]);
            match server.read(&mut [0; 100]).and(written) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => how.wait(&mut server),
                Err(error) => return error.kind(),
            }
        });
        if asleep {
            wait_until_asleep("watching");
        }
        drop(raw);
        assert_eq!(thread.join().expect("the thread"), ErrorKind::ConnectionReset);
    }
}
