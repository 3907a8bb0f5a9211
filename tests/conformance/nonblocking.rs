//! Non-blocking calls, and the descriptor to poll between them.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use vchan::unstable::{Channel, Internals};
use vchan::{Error, Reader, Vchan};

use crate::support::{
    pair, pair_without_spinning, readable, readable_now, spawn, wait_until_asleep, Stream, LONG,
};
use crate::world::World;

fn would_block<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert_eq!(result.expect_err("nothing to move").kind(), ErrorKind::WouldBlock);
}

fn nonblocking_pair(world: &dyn World, size: usize) -> (Vchan, Vchan) {
    let (mut server, mut client) = pair(world, size);
    server.set_nonblocking(true);
    client.set_nonblocking(true);
    (server, client)
}

fn fill(end: &mut impl Write) -> usize {
    let mut all = 0;
    loop {
        match end.write(&[9; 1500]) {
            Ok(count) => all += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("write: {error}"),
        }
    }
}

pub fn would_block_then_woken(world: &dyn World) {
    let (mut server, mut client) = nonblocking_pair(world, 4096);
    for end in [&mut server, &mut client] {
        // Events before the first use of the descriptor can make it readable once; the next call takes them.
        readable_now(&*end);
        would_block(end.read(&mut [0; 10]));
    }
    for _ in 0..200 {
        for turn in 0..2 {
            let (one, two) = if turn == 0 { (&mut server, &mut client) } else { (&mut client, &mut server) };
            would_block(one.read(&mut [0; 10]));
            assert!(!readable_now(&*one), "readable with nothing to read");
            two.write_all(b"data").expect("write");
            assert!(readable(&*one, LONG), "not woken by data");
            assert_eq!(one.read(&mut [0; 10]).expect("read"), 4);

            assert_eq!(fill(one), 4096);
            assert!(!readable_now(&*one), "readable with a full ring");
            two.recv(&mut [0; 4096]).expect("recv");
            assert!(readable(&*one, LONG), "not woken by space");
            assert_eq!(one.write(b"x").expect("write"), 1);
            two.recv(&mut [0]).expect("recv");
        }
    }
}

/// How an end waits between non-blocking transfers.
type Rest = fn(&Vchan) -> bool;

fn by_poll(end: &Vchan) -> bool {
    readable(end, LONG)
}

fn by_wait(end: &Vchan) -> bool {
    end.wait(Some(LONG)).is_ok()
}

/// One end of a conversation: writes `out` and reads `into` at once, and counts spurious wake-ups.
fn converse(mut end: Vchan, rest: Rest, bytes: usize, out: u64, into: u64) -> (usize, Vchan) {
    let (mut out, mut into) = (Stream::new(out), Stream::new(into));
    let (mut buffer, mut idle) = ([0; 3000], 0);
    while out.position() < bytes || into.position() < bytes {
        let before = out.position() + into.position();
        while out.position() < bytes {
            match end.write(out.next(2000.min(bytes - out.position()))) {
                Ok(count) => out.skip(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("write: {error}"),
            }
        }
        while into.position() < bytes {
            let most = buffer.len().min(bytes - into.position());
            match end.read(&mut buffer[..most]) {
                Ok(0) => panic!("the end after {}", into.position()),
                Ok(count) => into.check(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("read: {error}"),
            }
        }
        if out.position() + into.position() == before {
            idle += 1;
        }
        if out.position() < bytes || into.position() < bytes {
            assert!(rest(&end), "no event with {} out and {} in", out.position(), into.position());
        }
    }
    (idle, end)
}

fn echo(pair: (Vchan, Vchan), [servers, clients]: [Rest; 2]) {
    let bytes = 4_000_000;
    let (mut server, mut client) = pair;
    server.set_nonblocking(true);
    client.set_nonblocking(true);
    let server = spawn("server", move || converse(server, servers, bytes, 1, 2));
    let client = spawn("client", move || converse(client, clients, bytes, 2, 1));
    for (idle, _end) in [server, client].map(|thread| thread.join().expect("a side")) {
        // At worst each event was handled before its wake-up.
        assert!(idle < 2 * bytes / 1000, "{idle} spurious wake-ups");
    }
}

pub fn echo_through_poll(world: &dyn World) {
    for size in [1024, 65536] {
        echo(pair(world, size), [by_poll, by_poll]);
    }
}

pub fn echo_through_wait(world: &dyn World) {
    for size in [1024, 65536] {
        echo(pair(world, size), [by_wait, by_wait]);
        echo(pair_without_spinning(world, size), [by_wait, by_wait]);
    }
    echo(pair(world, 1024), [by_wait, by_poll]);
}

pub fn idle_direction_does_not_keep_the_descriptor_readable(world: &dyn World) {
    let (mut server, mut client) = nonblocking_pair(world, 4096);
    for _ in 0..3 {
        fill(&mut client);
        server.recv(&mut [0; 4096]).expect("recv");
        // Woken for space, which was used; from now on only data is waited for.
        assert!(readable(&client, LONG));
        client.write_all(b"x").expect("write");
        for _ in 0..3 {
            would_block(client.read(&mut [0; 10]));
        }
        assert!(!readable_now(&client), "space keeps the descriptor readable");
        server.recv(&mut [0]).expect("recv");

        // The same in the other direction.
        would_block(client.read(&mut [0; 10]));
        server.write_all(b"data").expect("write");
        assert!(readable(&client, LONG));
        assert_eq!(client.read(&mut [0; 4]).expect("read"), 4);
        server.write_all(b"data").expect("write");
        fill(&mut client);
        assert!(!readable_now(&client), "unrequested data keeps the descriptor readable");
        server.recv(&mut [0; 4096]).expect("recv");
        client.recv(&mut [0; 4]).expect("recv");
    }
}

pub fn waiting_packet_does_not_keep_the_descriptor_readable(world: &dyn World) {
    let (mut server, mut client) = nonblocking_pair(world, 4096);
    client.send(&[1; 3000]).expect("send");
    assert!(matches!(client.send(&[2; 2000]), Err(Error::WouldBlock)));
    would_block(client.read(&mut [0; 10]));
    assert!(!readable_now(&client), "too little space keeps the descriptor readable");
    server.recv(&mut [0; 3000]).expect("recv");
    assert!(readable(&client, LONG), "not woken by space");
    would_block(client.read(&mut [0; 10]));
    assert!(readable(&client, LONG), "the read swallowed the event for space");
    client.send(&[2; 2000]).expect("send");
    // The same for data.
    server.send(&[3; 100]).expect("send");
    assert!(matches!(client.recv(&mut [0; 200]), Err(Error::WouldBlock)));
    fill(&mut client);
    assert!(!readable_now(&client), "too little data keeps the descriptor readable");
    server.send(&[4; 100]).expect("send");
    assert!(readable(&client, LONG), "not woken by data");
    client.recv(&mut [0; 200]).expect("recv");
}

pub fn event_is_forwarded_to_the_other_direction(world: &dyn World) {
    let (mut server, mut client) = nonblocking_pair(world, 4096);
    for _ in 0..100 {
        fill(&mut client);
        server.recv(&mut [0; 4096]).expect("recv");
        // The event was for space; the read takes it, and must forward it.
        assert!(readable(&client, LONG));
        would_block(client.read(&mut [0; 10]));
        would_block(client.read(&mut [0; 10]));
        assert!(readable(&client, LONG), "the read swallowed the event for space");
        client.write_all(b"x").expect("write");
        server.recv(&mut [0]).expect("recv");

        would_block(client.read(&mut [0; 10]));
        server.write_all(b"data").expect("write");
        assert!(readable(&client, LONG));
        fill(&mut client);
        assert!(readable(&client, LONG), "the write swallowed the event for data");
        assert_eq!(client.read(&mut [0; 10]).expect("read"), 4);
        server.recv(&mut [0; 4096]).expect("recv");
    }
}

pub fn end_wakes_both_directions(world: &dyn World) {
    let (server, client) = nonblocking_pair(world, 4096);
    let (mut reader, mut writer) = server.split();
    would_block(reader.read(&mut [0; 1]));
    fill(&mut writer);
    drop(client);
    assert!(readable(&reader, LONG));
    assert_eq!(reader.read(&mut [0; 1]).expect("the end"), 0);
    assert!(readable(&writer, LONG), "the reader swallowed the event for the writer");
    assert_eq!(writer.write(b"x").expect_err("the peer has left").kind(), ErrorKind::BrokenPipe);

    let (server, client) = nonblocking_pair_after(world, (reader, writer));
    let (mut reader, mut writer) = server.split();
    fill(&mut writer);
    would_block(reader.read(&mut [0; 1]));
    drop(client);
    assert!(readable(&writer, LONG));
    assert_eq!(writer.write(b"x").expect_err("the peer has left").kind(), ErrorKind::BrokenPipe);
    assert!(readable(&reader, LONG), "the writer swallowed the event for the reader");
    assert_eq!(reader.read(&mut [0; 1]).expect("the end"), 0);
}

/// A new pair under the name of the old one.
fn nonblocking_pair_after<T>(world: &dyn World, old: T) -> (Vchan, Vchan) {
    drop(old);
    nonblocking_pair(world, 4096)
}

pub fn halves_poll_independently(world: &dyn World) {
    let (mut server, client) = nonblocking_pair(world, 4096);
    let (mut reader, mut writer) = client.split();
    for _ in 0..100 {
        would_block(reader.read(&mut [0; 1]));
        fill(&mut writer);
        server.recv(&mut [0; 4096]).expect("recv");
        assert!(readable(&reader, LONG) && readable(&writer, LONG));
        would_block(reader.read(&mut [0; 1]));
        assert!(!readable_now(&reader), "space keeps the reader awake");
        assert!(readable_now(&writer), "the reader swallowed the writer's event");
        writer.write_all(b"x").expect("write");
        would_block(reader.read(&mut [0; 1]));
        assert!(!readable_now(&writer), "readable though the writer is not waiting");
        server.recv(&mut [0; 1]).expect("recv");
    }
}

pub fn short_vectored_reads_request_events(world: &dyn World) {
    let (mut server, mut client) = nonblocking_pair(world, 4096);
    would_block(client.read(&mut [0; 1]));
    server.write_all(&[1; 100]).expect("write");
    assert!(readable(&client, LONG));
    // A write takes the event.
    fill(&mut client);
    let (mut one, mut two) = ([0; 50], [0; 100]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(client.read_vectored(&mut parts).expect("read"), 100);
    assert!(!readable_now(&client));
    server.write_all(b"more").expect("write");
    assert!(readable(&client, LONG), "a short read requested no event");
}

pub fn data_ready_and_buffer_space_request_events(world: &dyn World) {
    let (mut server, mut client) = nonblocking_pair(world, 4096);
    for _ in 0..50 {
        while readable_now(&client) {
            client.wait(Some(Duration::ZERO)).expect("the event");
        }
        assert_eq!(client.data_ready().expect("data"), 0);
        assert_eq!(client.buffer_space().expect("space"), 4096);
        server.write_all(&[1; 10]).expect("write");
        assert!(readable(&client, LONG), "data_ready requests an event");
        client.wait(Some(LONG)).expect("the event");
        assert_eq!(client.data_ready().expect("data"), 10);
        client.recv(&mut [0; 10]).expect("recv");
        client.send(&[2; 4096]).expect("send");
        assert_eq!(client.buffer_space().expect("space"), 0);
        assert!(!readable_now(&client));
        server.recv(&mut [0; 96]).expect("recv");
        assert!(readable(&client, LONG), "buffer_space requests an event");
        client.wait(Some(LONG)).expect("the event");
        assert_eq!(client.buffer_space().expect("space"), 96);
        server.recv(&mut [0; 4000]).expect("recv");
    }
}

pub fn one_half_polls_while_the_other_blocks(world: &dyn World) {
    let (mut server, client) = pair_without_spinning(world, 4096);
    let (mut reader, mut writer) = client.split();
    writer.set_nonblocking(true);
    let blocked = spawn("blocked", move || reader.read(&mut [0; 4]));
    wait_until_asleep("blocked");
    for _ in 0..20 {
        fill(&mut writer);
        server.recv(&mut [0; 4096]).expect("recv");
        // Time for the reader to take the event; too little time makes the test weaker, not wrong.
        std::thread::sleep(Duration::from_millis(3));
        assert!(readable(&writer, Duration::from_secs(3)), "the blocked reader swallowed the writer's event");
        writer.write_all(b"x").expect("write");
        server.recv(&mut [0; 1]).expect("recv");
    }
    drop(server);
    assert_eq!(blocked.join().expect("the reader").expect("the end"), 0);
}

/// The event of the peer's end comes together with the last data, and is taken with it.
pub fn end_is_reported_after_the_last_data(world: &dyn World) {
    type Ask = fn(&mut Vchan) -> std::io::Result<usize>;
    let cases: [(&str, Ask); 3] = [
        ("read", |end| end.read(&mut [0; 10])),
        ("read_vectored", |end| {
            end.read_vectored(&mut [[0; 4], [0; 4]].each_mut().map(|b| IoSliceMut::new(b)))
        }),
        ("data_ready", |end| Ok(end.data_ready()?)),
    ];
    for (name, ask) in cases {
        let (mut server, mut client) = nonblocking_pair(world, 4096);
        would_block(server.read(&mut [0; 10]));
        client.write_all(b"data").expect("write");
        client.leave();
        assert!(readable(&server, LONG), "not woken by data");
        assert_eq!(ask(&mut server).expect("call"), 4);
        assert!(readable(&server, LONG), "{name} swallowed the end");
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).expect("read to the end");
        assert_eq!(rest, if name == "data_ready" { &b"data"[..] } else { b"" });
    }
}

/// Blocking calls, in a program that polls the descriptor between them: it may poll after a short transfer.
pub fn short_blocking_calls_request_events(world: &dyn World) {
    type Read = fn(&mut Reader, BorrowedFd<'_>) -> std::io::Result<usize>;
    let cases: [(&str, Read); 4] = [
        ("read", |reader, _| reader.read(&mut [0; 100])),
        ("read_vectored", |reader, _| {
            reader.read_vectored(&mut [[0; 5], [0; 5]].each_mut().map(|b| IoSliceMut::new(b)))
        }),
        ("read_vectored, whole buffers", |reader, _| {
            reader.read_vectored(&mut [[0; 4], [0; 4], [0; 4]].each_mut().map(|b| IoSliceMut::new(b)))
        }),
        ("copy_to_fd", |reader, file| Ok(reader.copy_to_fd(file, 100)?)),
    ];
    let file = tempfile::tempfile().expect("a file");
    for (name, read) in cases {
        let (server, mut client) = pair(world, 4096);
        let channel = server.channel().clone();
        let (mut reader, _writer) = server.split();
        readable_now(&reader);
        reader.set_nonblocking(true);
        would_block(reader.read(&mut [0; 1]));
        reader.set_nonblocking(false);
        client.write_all(&[1; 8]).expect("write");
        channel.wait(Some(LONG)).expect("the event");
        assert!(!readable_now(&reader));
        assert_eq!(read(&mut reader, file.as_fd()).expect("read"), 8);
        assert!(!readable_now(&reader));
        client.write_all(b"more").expect("write");
        assert!(readable(&reader, LONG), "{name} requested no event");
    }

    let (server, mut client) = pair(world, 4096);
    let channel = server.channel().clone();
    let (_reader, mut writer) = server.split();
    file.set_len(100).expect("set the length");
    readable_now(&writer);
    writer.write_all(&[0; 4086]).expect("write");
    while channel.wait(Some(Duration::ZERO)).is_ok() {}
    assert_eq!(writer.copy_from_fd(file.as_fd(), 100).expect("copy"), 10);
    assert!(!readable_now(&writer));
    client.read_exact(&mut [0; 4096]).expect("read");
    assert!(readable(&writer, LONG), "copy_from_fd requested no event");
}

/// A call times out, and then its program polls. The event comes while the other direction waits and takes
/// it.
pub fn timed_out_call_has_requested_an_event(world: &dyn World) {
    let short = Some(Duration::from_millis(1));
    let (server, mut client) = pair_without_spinning(world, 4096);
    let (mut reader, mut writer) = server.split();
    readable_now(&reader);
    writer.write_all(&[0; 4096]).expect("fill the ring");
    reader.set_timeout(short);
    assert!(reader.read(&mut [0; 1]).is_err(), "there is nothing to read");
    client.write_all(b"x").expect("write");
    let writing = spawn("writing", move || writer.write_all(&[0]).map(|()| writer));
    wait_until_asleep("writing");
    client.read_exact(&mut [0; 4096]).expect("read");
    let mut writer = writing.join().expect("the writer").expect("write");
    assert!(readable(&reader, LONG), "the blocked writer swallowed the reader's event");
    reader.read_exact(&mut [0; 1]).expect("read");

    readable_now(&writer);
    writer.write_all(&[0; 4095]).expect("fill the ring");
    writer.set_timeout(short);
    assert!(writer.write(&[0]).is_err(), "there is no space");
    client.read_exact(&mut [0; 4096]).expect("read");
    reader.set_timeout(None);
    let reading = spawn("reading", move || reader.read_exact(&mut [0]).map(|()| reader));
    wait_until_asleep("reading");
    client.write_all(b"y").expect("write");
    let _reader = reading.join().expect("the reader").expect("read");
    assert!(readable(&writer, LONG), "the blocked reader swallowed the writer's event");
}

/// Two threads of one side wait for any event between non-blocking calls. An event taken by one must not be
/// lost for the other.
pub fn wait_in_another_thread_steals_no_event(world: &dyn World) {
    let (mut server, mut client) = pair_without_spinning(world, 4096);
    server.write_all(&[0; 4096]).expect("fill the ring");
    let channel = server.channel();
    let in_another_thread =
        |wait: fn(&Channel)| std::thread::scope(|scope| drop(scope.spawn(|| wait(channel))));
    while channel.wait(Some(Duration::ZERO)).is_ok() {}

    // The other thread takes the event between two calls of this thread, the first of which has requested it.
    assert!(matches!(channel.read_now(&mut [0], 1, false), Err(Error::WouldBlock)));
    client.write_all(&[1; 5]).expect("write");
    in_another_thread(|channel| {
        channel.wait(Some(LONG)).expect("the event");
        let _ = channel.wait(Some(Duration::ZERO));
    });
    assert!(matches!(channel.write_now(&[0], 1, false).stopped, Some(Error::WouldBlock)));
    channel.wait(Some(LONG)).expect("there is data");

    // A short call has left data in the ring, for which no event comes.
    assert_eq!(channel.read_now(&mut [0], 10, false).expect("read"), 1);
    in_another_thread(|channel| drop(channel.wait(Some(Duration::ZERO))));
    assert!(matches!(channel.write_now(&[0], 1, false).stopped, Some(Error::WouldBlock)));
    channel.wait(Some(LONG)).expect("there is data");
    assert!(channel.wait(Some(Duration::ZERO)).is_err(), "once is enough");
}
