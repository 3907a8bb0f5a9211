//! One side ends its stream, or leaves because of a failure, and the other side sees which.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::Ordering;

use vchan::unstable::Internals;
use vchan::{Error, State, Vchan};

use crate::raw::{Raw, CLI_LIVE, CLI_NOTIFY, SRV_NOTIFY};
use crate::support::{
    accept, client, pair, pair_without_spinning, readable, readable_now, rounds, server, spawn,
    wait_until_asleep, LONG,
};
use crate::world::World;

/// Runs `test` with each end as the first one.
fn both_ways(world: &dyn World, size: usize, test: impl Fn(Vchan, Vchan)) {
    for swapped in [false, true] {
        let (server, client) = pair(world, size);
        match swapped {
            false => test(server, client),
            true => test(client, server),
        }
    }
}

pub fn other_direction_continues(world: &dyn World) {
    both_ways(world, 1024, |mut one, mut two| {
        one.write_all(b"question").expect("write");
        one.shutdown().expect("shutdown");
        let mut question = String::new();
        two.read_to_string(&mut question).expect("read to the end");
        assert_eq!(question, "question");
        assert_eq!(two.read(&mut [0; 4]).expect("read once more"), 0);
        assert_eq!(two.state().expect("state"), State::Connected);
        // More than the ring holds, so that both sides sleep in turn.
        let size = 2000 + rounds(50_000);
        let answering = spawn("answering", move || two.write_all(&vec![7; size]).map(|()| two));
        let mut answer = vec![0; size];
        one.read_exact(&mut answer).expect("read the answer");
        let mut two = answering.join().expect("the thread").expect("write the answer");
        two.shutdown().expect("shutdown");
        assert_eq!(one.read(&mut answer).expect("read to the end"), 0);
        assert!(answer.iter().all(|&byte| byte == 7));
    });
}

pub fn write_after_shutdown_fails(world: &dyn World) {
    both_ways(world, 1024, |mut one, two| {
        one.shutdown().expect("shutdown");
        one.shutdown().expect("shutdown again");
        assert!(matches!(one.send(b"x"), Err(Error::Closed)));
        assert!(one.write(b"x").is_err());
        one.leave();
        assert!(matches!(one.shutdown(), Err(Error::Closed)));
        drop(two);
    });
}

pub fn end_of_stream_wakes_a_reader(world: &dyn World) {
    for round in 0..rounds(60) {
        let (one, two) = pair_without_spinning(world, 4096);
        let (mut writer, mut reader) = if round % 2 == 0 { (one, two) } else { (two, one) };
        let thread = spawn("blocked", move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| (all, reader))
        });
        if round % 3 == 0 {
            wait_until_asleep("blocked");
        }
        writer.write_all(b"last").expect("write");
        writer.shutdown().expect("shutdown");
        let (all, reader) = thread.join().expect("the thread").expect("read");
        assert_eq!(all, b"last");
        assert_eq!(reader.state().expect("state"), State::Connected);
    }
}

pub fn end_of_stream_wakes_a_poller(world: &dyn World) {
    both_ways(world, 4096, |mut one, mut two| {
        two.set_nonblocking(true);
        readable_now(&two);
        assert_eq!(two.read(&mut [0; 8]).expect_err("nothing yet").kind(), ErrorKind::WouldBlock);
        assert!(!readable_now(&two));
        one.shutdown().expect("shutdown");
        assert!(readable(&two, LONG), "the end of the stream wakes no poller");
        assert_eq!(two.read(&mut [0; 8]).expect("read"), 0);
    });
}

pub fn incomplete_packet_stays_readable(world: &dyn World) {
    both_ways(world, 4096, |mut one, mut two| {
        one.write_all(b"abc").expect("write");
        one.shutdown().expect("shutdown");
        assert!(matches!(two.recv(&mut [0; 4]), Err(Error::PeerFinished)));
        two.set_nonblocking(true);
        assert!(matches!(two.recv(&mut [0; 4]), Err(Error::PeerFinished)));
        let mut rest = [0; 3];
        two.recv(&mut rest).expect("the bytes stay");
        assert_eq!(&rest, b"abc");
    });
}

pub fn leave_after_end_of_stream(world: &dyn World) {
    both_ways(world, 4096, |mut one, mut two| {
        two.write_all(b"unread").expect("write");
        one.shutdown().expect("shutdown");
        one.close();
        assert!(matches!(two.send(b"x"), Err(Error::PeerClosed)));
        assert_eq!(two.read(&mut [0; 8]).expect("read"), 0);
    });
}

pub fn abort_is_reported_to_the_peer(world: &dyn World) {
    both_ways(world, 4096, |mut one, mut two| {
        one.write_all(b"half of it").expect("write");
        one.abort();
        let mut part = [0; 100];
        assert_eq!(two.read(&mut part).expect("what was written"), 10);
        assert_eq!(two.read(&mut part).expect_err("aborted").kind(), ErrorKind::ConnectionAborted);
        assert!(matches!(two.send(b"x"), Err(Error::PeerAborted)));
        assert!(matches!(two.recv(&mut part), Err(Error::PeerAborted)));
        assert_eq!(two.state().expect("state"), State::PeerClosed);
    });
}

pub fn abort_ends_a_blocked_write(world: &dyn World) {
    let (one, mut two) = pair_without_spinning(world, 4096);
    let thread = spawn("blocked", move || (two.write(&[1; 10_000]), two.write(&[2; 1])));
    wait_until_asleep("blocked");
    one.abort();
    drop(one);
    let (first, second) = thread.join().expect("the thread");
    assert_eq!(first.expect("what was written before"), 4096);
    assert_eq!(second.expect_err("aborted").kind(), ErrorKind::ConnectionAborted);
}

/// Each side detects it without a transfer.
pub fn both_sides_know_the_extension(world: &dyn World) {
    let (server, client) = pair(world, 4096);
    assert!(server.peer_half_closes(), "the client announces it when it connects");
    assert!(client.peer_half_closes(), "the server announces it in accept");
}

/// A peer of another implementation neither announces the extension nor sees its bits.
pub fn foreign_peer(world: &dyn World) {
    let listening = server(world).buffer_size(65536).open().expect("listen");
    let raw = Raw::client(world);
    raw.announce();
    let mut server = accept(listening, Some(LONG)).expect("accept");
    assert!(!server.peer_half_closes());
    assert_eq!(raw.u8(CLI_NOTIFY).load(Ordering::SeqCst) & !3, 0);
    raw.write(b"text");
    assert_eq!(server.read(&mut [0; 8]).expect("read"), 4);
    // Its own shutdown is allowed, and does not affect reading.
    server.shutdown().expect("shutdown");
    raw.write(b"more");
    assert_eq!(server.read(&mut [0; 8]).expect("read"), 4);
}

/// The bits of one client do not affect the next one.
pub fn next_client_starts_without_an_offer(world: &dyn World) {
    let mut server = server(world).persistent(true).open().expect("listen");
    let serving = spawn("serving", move || {
        (0..3).for_each(|n| {
            let mut part = [0; 3];
            server.recv(&mut part).expect("recv");
            assert_eq!(part, [n; 3]);
        });
    });
    for n in 0..3 {
        let mut client = client(world).wait(LONG).connect().expect("connect");
        client.write_all(&[n; 3]).expect("write");
        client.shutdown().expect("shutdown");
        client.abort();
    }
    serving.join().expect("the server");
}

/// A client of a persistent server that does not clear the bits of an earlier one.
pub fn earlier_client_does_not_end_a_later_stream(world: &dyn World) {
    let mut server = server(world).buffer_size(65536).persistent(true).open().expect("listen");
    let raw = Raw::client(world);
    raw.u8(SRV_NOTIFY).fetch_or(0x20 | 0x40 | 1, Ordering::SeqCst);
    raw.u8(CLI_LIVE).store(1, Ordering::SeqCst);
    raw.write(b"text");
    server.recv(&mut [0; 4]).expect("recv");
    server.channel().set_persistent(false).expect("stop being persistent");
    server.set_nonblocking(true);
    assert_eq!(server.read(&mut [0; 4]).expect_err("not the end").kind(), ErrorKind::WouldBlock);
    raw.u8(CLI_LIVE).store(0, Ordering::SeqCst);
    assert!(matches!(server.send(b"x"), Err(Error::PeerClosed)));
}

/// The peer sets and clears bits at random: every read returns bytes, the end or an error, and none hangs.
pub fn peer_that_clears_its_bits(world: &dyn World) {
    let listening = server(world).buffer_size(65536).open().expect("listen");
    let raw = Raw::client(world);
    raw.announce();
    let mut server = accept(listening, Some(LONG)).expect("accept");
    server.set_nonblocking(true);
    for round in 0..1000u32 {
        raw.u8(SRV_NOTIFY).store((round * 37) as u8, Ordering::SeqCst);
        match server.read(&mut [0; 4]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
    raw.u8(SRV_NOTIFY).store(0, Ordering::SeqCst);
    raw.write(b"data");
    assert_eq!(server.read(&mut [0; 8]).expect("read"), 4);
}
