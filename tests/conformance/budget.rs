//! How many descriptors an end of a channel uses, as the C header says.

use std::os::fd::AsFd;
use std::path::PathBuf;

use vchan::{Closer, Vchan};

use crate::support::{client, connect, server, spawn, wait_until_asleep, LONG};
use crate::world::World;

/// The most that an end has until somebody asks for a descriptor to poll.
const QUIET: usize = 5;
/// The most after that was asked for, for the whole channel.
const POLLED: usize = QUIET + 1;
/// The most after both halves of a split channel were asked for theirs.
const SPLIT: usize = QUIET + 2;

/// What the descriptors of this process stand for. The one that lists them stands for no file any more.
fn open() -> Vec<PathBuf> {
    let list = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    list.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
}

/// How many descriptors dropping `end` gives back.
fn freed_by<T>(end: T) -> usize {
    let before = open().len();
    drop(end);
    before - open().len()
}

/// Both ends, after events have gone both ways, so that each end has all that it ever gets from its peer.
fn acquainted(world: &dyn World) -> (Vchan, Vchan) {
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

/// A server of many clients, with one of them there.
fn persistent(world: &dyn World) -> usize {
    let (server, client) = connect(&server(world).persistent(true), &client(world));
    drop(client);
    freed_by(server)
}

/// Checks both ends of a fresh channel, each made into something else by `use_it`, against the most that one may have.
fn check<T>(world: &dyn World, most: usize, use_it: impl Fn(Vchan) -> T) {
    for client_first in [true, false] {
        let (server, client) = acquainted(world);
        let (server, client) = (use_it(server), use_it(client));
        let (first, last) = if client_first { (client, server) } else { (server, client) };
        let counts = [freed_by(first), freed_by(last)];
        // What both ends have in common is in one process here, and given back with the last.
        assert!(counts[0] <= most && counts[1] <= most, "{counts:?}, client first: {client_first}");
    }
}

pub fn of_an_end(world: &dyn World) {
    if cfg!(miri) {
        return;
    }
    let closer = Closer::new();
    let listening = server(world).closer(&closer).open().expect("listen");
    assert!(freed_by((listening, closer)) <= QUIET);
    // One that is polled may also watch the name under which its client is to come.
    let listening = server(world).open().expect("listen");
    let _ = listening.as_fd();
    assert!(freed_by(listening) <= POLLED);
    // It keeps the socket at which the next one comes.
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

pub fn of_clients_that_wait(world: &dyn World) {
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
        assert!(instances <= 1, "{instances} of inotify");
        assert!(found.len() - before <= CLIENTS * QUIET, "{} for {CLIENTS} clients", found.len() - before);
    });
    assert_eq!(open().len(), before);
}
