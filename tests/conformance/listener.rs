//! A listener: many clients under one name.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use vchan::transport::{Parts, Role, Transport};
use vchan::{Closer, DomId, Error, Listener, Result, State, Vchan};

use crate::raw::Raw;
use crate::support::{client, readable, readable_now, rounds, server, spawn, wait_until_asleep, LONG};
use crate::world::World;

fn bind(world: &dyn World) -> Listener {
    server(world).bind().expect("bind")
}

fn connect(world: &dyn World) -> Vchan {
    client(world).connect().expect("connect")
}

fn accept(listener: &Listener) -> Vchan {
    listener.accept_timeout(LONG).expect("accept")
}

#[track_caller]
fn assert_nobody(listener: &Listener) {
    let error = listener.accept_timeout(Duration::ZERO).expect_err("no client has come");
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
}

/// Sends a byte in each direction.
#[track_caller]
fn assert_joined(one: &mut Vchan, other: &mut Vchan, byte: u8) {
    for (from, to) in [(0, 1), (1, 0)] {
        let ends = [&mut *one, &mut *other];
        ends[from].write_all(&[byte]).expect("write");
        let mut got = [0];
        ends[to].read_exact(&mut got).expect("read");
        assert_eq!(got, [byte]);
    }
}

pub fn one_client_after_another(world: &dyn World) {
    let listener = bind(world);
    for round in 0..rounds(100) as u8 {
        let mut client = connect(world);
        let mut server = accept(&listener);
        assert_eq!(server.path(), listener.path());
        assert_eq!(server.state().expect("state"), State::Connected);
        assert_joined(&mut client, &mut server, round);
        if round % 2 == 0 {
            drop(client);
            assert_eq!(server.read(&mut [0]).expect("the end"), 0);
        } else {
            drop(server);
            assert_eq!(client.read(&mut [0]).expect("the end"), 0);
        }
    }
    assert_nobody(&listener);
}

pub fn several_clients_at_once(world: &dyn World) {
    let listener = bind(world);
    let mut pairs: Vec<_> = (0..5).map(|_| (connect(world), accept(&listener))).collect();
    for round in 0..3 {
        for (n, (client, server)) in pairs.iter_mut().enumerate() {
            assert_joined(client, server, 10 * round + n as u8);
        }
    }
    // Neither the end of one channel nor that of the listener affects the others.
    drop(pairs.remove(2));
    drop(listener);
    for (client, server) in &mut pairs {
        assert_joined(client, server, 99);
    }
    let error = client(world).connect().expect_err("the listener has gone");
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
}

pub fn waiting_clients_are_served_in_any_order(world: &dyn World) {
    const CLIENTS: u8 = 6;
    let listener = bind(world);
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            scope.spawn(move || {
                let mut client = client(world).wait(LONG).connect().expect("connect");
                client.write_all(&[n]).expect("write");
                assert_eq!(client.read(&mut [0]).expect("the end"), 0);
            });
        }
        let mut came: Vec<u8> = Vec::new();
        for client in listener.incoming().take(CLIENTS.into()) {
            let mut byte = [0];
            client.expect("accept").read_exact(&mut byte).expect("read");
            came.push(byte[0]);
        }
        came.sort();
        assert!(came.into_iter().eq(0..CLIENTS));
    });
}

pub fn several_threads_accept(world: &dyn World) {
    const CLIENTS: usize = 12;
    let listener = bind(world);
    std::thread::scope(|scope| {
        let accept = |_| scope.spawn(|| listener.incoming().filter(Result::is_ok).count());
        let threads: Vec<_> = (0..3).map(accept).collect();
        for _ in 0..CLIENTS {
            let mut client = client(world).wait(LONG).connect().expect("connect");
            assert_eq!(client.read(&mut [0]).expect("the end"), 0);
        }
        listener.closer().close();
        let counts = threads.into_iter().map(|thread| thread.join().expect("the thread"));
        assert_eq!(counts.sum::<usize>(), CLIENTS);
    });
}

pub fn timeout_loses_no_client(world: &dyn World) {
    let listener = bind(world);
    assert_nobody(&listener);
    let short = listener.accept_timeout(Duration::from_millis(10));
    assert!(matches!(short, Err(Error::TimedOut(limit)) if limit == Duration::from_millis(10)));
    let (mut client_end, mut server) = (connect(world), accept(&listener));
    assert_joined(&mut client_end, &mut server, 1);
    // Clients that connect at any moment of a timeout.
    let count = rounds(200);
    std::thread::scope(|scope| {
        let clients = scope.spawn(move || {
            for n in 0..count {
                let mut client = client(world).wait(LONG).connect().expect("connect");
                client.write_all(&[n as u8]).expect("write");
                assert_eq!(client.read(&mut [0]).expect("the end"), 0);
            }
        });
        let mut next = 0;
        while next < count {
            match listener.accept_timeout(Duration::from_micros(next as u64 % 50)) {
                Ok(mut server) => {
                    let mut got = [0];
                    server.read_exact(&mut got).expect("read");
                    assert_eq!(got, [next as u8]);
                    next += 1;
                }
                Err(Error::TimedOut(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        clients.join().expect("the clients");
    });
}

pub fn close_ends_an_accept(world: &dyn World) {
    for closer_first in [false, true] {
        let (mut served, listener, closer);
        if closer_first {
            closer = Closer::new();
            listener = server(world).closer(&closer).bind().expect("bind");
        } else {
            listener = bind(world);
            closer = listener.closer();
        }
        served = (connect(world), accept(&listener));
        std::thread::scope(|scope| {
            let blocked = std::thread::Builder::new().name("blocked".into());
            let blocked =
                blocked.spawn_scoped(scope, || listener.accept().map(drop)).expect("start a thread");
            wait_until_asleep("blocked");
            closer.close();
            assert!(matches!(blocked.join().expect("the thread"), Err(Error::Closed)));
        });
        assert!(matches!(listener.accept(), Err(Error::Closed)));
        assert!(matches!(listener.accept_timeout(Duration::ZERO), Err(Error::Closed)));
        assert!(listener.incoming().next().is_none());
        // It belongs to this listener, and closes no channel.
        assert!(server(world).closer(&closer).bind().is_err());
        assert_joined(&mut served.0, &mut served.1, 1);
    }
}

pub fn close_notifies_an_unaccepted_client(world: &dyn World) {
    let listener = bind(world);
    let mut client = connect(world);
    listener.closer().close();
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    assert!(matches!(listener.accept(), Err(Error::Closed)));
}

pub fn descriptor_reports_clients(world: &dyn World) {
    let listener = bind(world);
    let fd = listener.as_raw_fd();
    for round in 0..3 {
        assert!(!readable_now(&listener), "round {round}");
        let client = connect(world);
        assert!(readable(&listener, LONG));
        // A poller that does not accept is woken again.
        assert!(readable_now(&listener));
        let server = accept(&listener);
        assert_nobody(&listener);
        assert!(!readable(&listener, Duration::from_millis(20)));
        drop((client, server));
        assert!(!readable(&listener, Duration::from_millis(20)));
    }
    assert_eq!(fd, listener.as_fd().as_raw_fd());
    listener.closer().close();
    assert!(readable_now(&listener));
}

pub fn poller_and_accepting_thread(world: &dyn World) {
    let listener = Arc::new(bind(world));
    let other = listener.clone();
    let thread = spawn("blocked", move || other.accept().expect("accept"));
    wait_until_asleep("blocked");
    let mut first = connect(world);
    let mut server = thread.join().expect("the thread");
    assert_joined(&mut first, &mut server, 1);
    let _second = connect(world);
    assert!(readable(&listener, LONG));
    drop(accept(&listener));
}

pub fn clients_that_left_before_accept(world: &dyn World) {
    let listener = bind(world);
    // A client that has left.
    let mut early = connect(world);
    early.write_all(b"bye").expect("write");
    drop(early);
    let mut text = String::new();
    accept(&listener).read_to_string(&mut text).expect("read");
    assert_eq!(text, "bye");
    drop(connect(world));
    assert_eq!(accept(&listener).read(&mut [0]).expect("the end"), 0);
    // A client that died after it had written.
    let raw = Raw::client(world);
    raw.announce();
    raw.write(b"last words");
    drop(raw);
    let mut server = accept(&listener);
    let mut got = [0; 10];
    server.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"last words");
    assert_eq!(server.read(&mut got).expect_err("it has died").kind(), ErrorKind::ConnectionReset);
}

pub fn dead_client_is_skipped(world: &dyn World) {
    let listener = bind(world);
    let raw = Raw::client(world);
    raw.announce();
    drop(raw);
    assert_nobody(&listener);
    let (mut next, mut server) = (connect(world), accept(&listener));
    assert_joined(&mut next, &mut server, 1);
    // Also while a thread waits.
    std::thread::scope(|scope| {
        let blocked = std::thread::Builder::new().name("blocked".into());
        let blocked = blocked.spawn_scoped(scope, || accept(&listener)).expect("start a thread");
        wait_until_asleep("blocked");
        // This client has connected without announcing itself.
        drop(Raw::client(world));
        let mut next = client(world).wait(LONG).connect().expect("connect");
        assert_joined(&mut next, &mut blocked.join().expect("the thread"), 2);
    });
}

/// A transport that fails to create channels on demand.
struct Failing {
    below: Arc<dyn Transport>,
    fails: Arc<AtomicBool>,
}

impl Transport for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn own_domid(&self) -> Result<DomId> {
        self.below.own_domid()
    }

    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::os("make a channel", nix::errno::Errno::ENOSPC));
        }
        self.below.open(role, peer, path)
    }
}

pub fn failure_to_publish_the_next_channel(world: &dyn World) {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Failing { below: world.server(), fails: fails.clone() };
    let listener = server(world).transport(failing).bind().expect("bind");
    let mut first = connect(world);
    fails.store(true, Ordering::SeqCst);
    let mut server = accept(&listener);
    assert_joined(&mut first, &mut server, 1);
    for _ in 0..2 {
        assert!(readable_now(&listener));
        let error = listener.accept().expect_err("there is no channel");
        assert_eq!(error.errno(), libc::ENOSPC, "{error}");
    }
    fails.store(false, Ordering::SeqCst);
    assert_nobody(&listener);
    assert!(!readable_now(&listener));
    let (mut second, mut server) = (connect(world), accept(&listener));
    assert_joined(&mut second, &mut server, 2);
}

pub fn name_is_taken_and_freed(world: &dyn World) {
    let listener = bind(world);
    for _ in 0..2 {
        let error = server(world).bind().expect_err("the name is taken");
        assert!(matches!(error, Error::InUse { serving: true, .. }), "{error}");
        // The same holds for the next channel.
        let _client = connect(world);
        drop(accept(&listener));
    }
    drop(listener);
    drop(bind(world));
}
