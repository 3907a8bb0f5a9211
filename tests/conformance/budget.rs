//! The number of descriptors of one end of a channel, as documented in the C header.

use std::os::fd::AsFd;
use std::path::PathBuf;

use vchan::{Closer, Vchan};

use crate::support::{client, connect, server, spawn, wait_until_asleep, LONG};
use crate::world::World;

/// The maximum per end without a descriptor to poll.
const QUIET: usize = 5;
/// The maximum with a descriptor to poll for the whole channel.
const POLLED: usize = QUIET + 1;
/// The maximum with a descriptor for each half of a split channel.
const SPLIT: usize = QUIET + 2;

/// The files of this process's descriptors. The one that was used for listing is closed already and is
/// omitted.
fn open() -> Vec<PathBuf> {
    let list = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    list.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
}

/// How many descriptors dropping `end` closes.
fn freed_by<T>(end: T) -> usize {
    let before = open().len();
    drop(end);
    before - open().len()
}

/// Both ends, after events in both directions, so that each end has all descriptors from its peer.
fn connected_pair(world: &dyn World) -> (Vchan, Vchan) {
    let (mut server, mut client) = connect(&server(world), &client(world));
    let client = spawn("client", move || {
        for _ in 0..10 {
            client.recv(&mut [0]).expect("recv");
            client.send(&[1]).expect("send");
        }
        client
    });
    for _ in 0..10 {
        server.send(&[1]).expect("send");
        server.recv(&mut [0]).expect("recv");
    }
    (server, client.join().expect("the client"))
}

/// The descriptors of a server that takes one client after another, with a client.
fn persistent(world: &dyn World) -> usize {
    let (server, client) = connect(&server(world).persistent(true), &client(world));
    drop(client);
    freed_by(server)
}

/// Checks the descriptors of both ends of a fresh channel, each converted by `use_it`, against the maximum
/// `most`.
fn check<T>(world: &dyn World, most: usize, use_it: impl Fn(Vchan) -> T) {
    for client_first in [true, false] {
        let (server, client) = connected_pair(world);
        let (server, client) = (use_it(server), use_it(client));
        let (first, last) = if client_first { (client, server) } else { (server, client) };
        let counts = [freed_by(first), freed_by(last)];
        // Both ends are in one process here; what they share is closed with the last one.
        assert!(counts[0] <= most && counts[1] <= most, "{counts:?}, client first: {client_first}");
    }
}

pub fn one_end(world: &dyn World) {
    if cfg!(miri) {
        return;
    }
    let closer = Closer::new();
    let listening = server(world).closer(&closer).open().expect("listen");
    assert!(freed_by((listening, closer)) <= QUIET);
    // A polled server can also watch the name for its client.
    let listening = server(world).open().expect("listen");
    let _ = listening.as_fd();
    assert!(freed_by(listening) <= POLLED);
    // It keeps the socket for the next client.
    assert!(persistent(world) <= QUIET + 1);
    check(world, QUIET, |end| end);
    check(world, POLLED, |end| {
        let _ = end.as_fd();
        end
    });
    check(world, SPLIT, |end| {
        let (reader, writer) = end.split();
        let _ = (reader.as_fd(), writer.as_fd());
        (reader, writer)
    });
}

pub fn waiting_clients(world: &dyn World) {
    if cfg!(miri) {
        return;
    }
    const CLIENTS: usize = 20;
    let before = open().len();
    let closers = [(); CLIENTS].map(|()| Closer::new());
    std::thread::scope(|scope| {
        let start = |(number, closer)| {
            let connect = move || client(world).closer(closer).wait(LONG).connect();
            std::thread::Builder::new().name(format!("waiting {number}")).spawn_scoped(scope, connect)
        };
        let clients: Vec<_> = closers.iter().enumerate().map(|each| start(each).expect("a thread")).collect();
        (0..CLIENTS).for_each(|number| wait_until_asleep(&format!("waiting {number}")));
        let found = open();
        closers.iter().for_each(Closer::close);
        clients.into_iter().for_each(|client| assert!(client.join().expect("a client").is_err()));
        let instances = found.iter().filter(|path| path.ends_with("anon_inode:inotify")).count();
        assert!(instances <= 1, "{instances} inotify instances");
        assert!(found.len() - before <= CLIENTS * QUIET, "{} for {CLIENTS} clients", found.len() - before);
    });
    assert_eq!(open().len(), before);
}
