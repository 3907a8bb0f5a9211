//! Transfers between other descriptors and the rings, without a copy.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::unistd::pipe;
use vchan::Error;

use crate::support::{client, connect, pair, readable, readable_now, server, spawn, Stream, LONG};
use crate::world::World;

pub fn copy_from_ring_to_fd(world: &dyn World) {
    let builder = server(world).buffer_size(4096).first_index(u32::MAX - 1000);
    let (server, mut client) = connect(&builder, &client(world));
    let (mut reader, _writer) = server.split();
    let mut file = tempfile::tempfile().expect("a file");
    let mut stream = Stream::new(5);
    for len in [1, 4096, 3000, 1500, 4000] {
        client.write_all(stream.next(len)).expect("write");
        let mut left = len;
        while left > 0 {
            left -= reader.copy_to_fd(file.as_fd(), 2500).expect("copy");
        }
        stream.skip(len);
    }
    client.write_all(b"kept").expect("write");
    drop(client);

    // A failed write to the descriptor removes nothing from the ring.
    let (read_end, write_end) = pipe().expect("a pipe");
    drop(read_end);
    let error = reader.copy_to_fd(write_end.as_fd(), 100).expect_err("the pipe has no reader");
    assert_eq!(error.errno(), libc::EPIPE);
    assert!(matches!(error, Error::Os { .. }), "{error}");
    assert_eq!(reader.copy_to_fd(file.as_fd(), 100).expect("copy"), 4);
    assert_eq!(reader.copy_to_fd(file.as_fd(), 100).expect("the end"), 0);

    let mut all = Vec::new();
    file.rewind().expect("rewind");
    file.read_to_end(&mut all).expect("read the file");
    let (bytes, kept) = all.split_at(all.len() - 4);
    assert_eq!((bytes.len(), kept), (stream.position(), &b"kept"[..]));
    Stream::new(5).check(bytes);
}

pub fn copy_from_fd_to_ring(world: &dyn World) {
    let builder = server(world).buffer_size(4096).first_index(u32::MAX - 1000);
    let (server, mut client) = connect(&builder, &client(world));
    let (reader, mut writer) = server.split();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(Stream::new(6).next(20_000)).expect("write the file");
    file.rewind().expect("rewind");
    let reading = spawn("reader", move || {
        let mut all = vec![0; 20_000];
        client.read_exact(&mut all).map(|()| (all, client))
    });
    let mut sizes = (1..).map(|n| n * 777 % 5000);
    let mut copied = 0;
    loop {
        match writer.copy_from_fd(file.as_fd(), sizes.next().expect("a size")).expect("copy") {
            0 => break,
            count => copied += count,
        }
    }
    assert_eq!(copied, 20_000);
    let (all, client) = reading.join().expect("the reader").expect("read");
    Stream::new(6).check(&all);
    drop(client);
    assert!(matches!(writer.copy_from_fd(file.as_fd(), 10), Err(Error::PeerClosed)));
    // An error of the descriptor is reported as such.
    drop((reader, writer));
    let (server, _client) = pair(world, 4096);
    let (_read_end, write_end) = pipe().expect("a pipe");
    let (_reader, mut writer) = server.split();
    assert_eq!(writer.copy_from_fd(write_end.as_fd(), 10).expect_err("not for reading").errno(), libc::EBADF);
}

/// A copy that is short because of the ring, not of the descriptor: the caller can poll for more.
pub fn short_copies_request_events(world: &dyn World) {
    let (mut server, mut client) = connect(&server(world).buffer_size(4096), &client(world));
    client.set_nonblocking(true);
    server.set_nonblocking(true);
    let (mut reader, mut writer) = server.split();
    let mut file = tempfile::tempfile().expect("a file");
    file.set_len(20_000).expect("set the length");
    for _ in 0..100 {
        for end in [reader.as_fd(), writer.as_fd()] {
            readable_now(end);
        }
        assert_eq!(client.write(&[1; 10]).expect("write"), 10);
        assert_eq!(reader.copy_to_fd(file.as_fd(), 100).expect("copy"), 10);
        assert!(!readable_now(&reader), "readable with nothing to read");
        assert_eq!(client.write(&[1; 10]).expect("write"), 10);
        assert!(readable(&reader, LONG), "not woken by data");
        assert_eq!(reader.copy_to_fd(file.as_fd(), 100).expect("copy"), 10);

        file.rewind().expect("rewind");
        assert_eq!(writer.copy_from_fd(file.as_fd(), 10_000).expect("copy"), 4096);
        assert!(!readable_now(&writer), "readable with a full ring");
        assert_eq!(client.read(&mut [0; 4096]).expect("read"), 4096);
        assert!(readable(&writer, LONG), "not woken by space");
        // The descriptor was short, not the ring: more can be possible now, and here it is the end of the
        // file.
        file.rewind().expect("rewind");
        file.set_len(100).expect("set the length");
        assert_eq!(writer.copy_from_fd(file.as_fd(), 10_000).expect("copy"), 100);
        assert!(readable_now(&writer), "a program that polls here never sees the end of the file");
        assert_eq!(writer.copy_from_fd(file.as_fd(), 10_000).expect("copy"), 0);
        assert!(!readable_now(&writer), "readable though the descriptor has nothing more");
        assert_eq!(client.read(&mut [0; 4096]).expect("read"), 100);
        file.set_len(20_000).expect("set the length");
        file.rewind().expect("rewind");
    }
}

/// A copy that is short because of the descriptor leaves data in the ring: a program that polls for more must
/// not wait for the peer.
pub fn partial_write_to_fd_leaves_the_rest(world: &dyn World) {
    const RING: usize = 65536;
    let (mut server, mut client) = connect(&server(world).buffer_size(RING), &client(world));
    server.set_nonblocking(true);
    let (mut reader, _writer) = server.split();
    let (read_end, write_end) = pipe().expect("a pipe");
    let mut out = File::from(read_end);
    fcntl(&write_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("set O_NONBLOCK");
    fcntl(&write_end, FcntlArg::F_SETPIPE_SZ(4096)).expect("set the pipe's size");
    readable_now(&reader);
    client.write_all(&[1; RING]).expect("write");
    let mut left = RING;
    loop {
        let count = reader.copy_to_fd(write_end.as_fd(), 2 * RING).expect("copy");
        left -= count;
        if left == 0 {
            break;
        }
        assert!(readable(&reader, LONG), "not readable with data in the ring");
        assert!(matches!(reader.copy_to_fd(write_end.as_fd(), 2 * RING), Err(Error::WouldBlock)));
        assert!(!readable_now(&reader), "readable though the pipe is full");
        out.read_exact(&mut vec![0; count]).expect("read the pipe");
    }
    assert!(!readable_now(&reader));
    client.write_all(&[1; 10]).expect("write");
    assert!(readable(&reader, LONG), "not woken by data");
}
