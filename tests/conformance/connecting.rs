//! How server and client find each other.

use std::io::{Read, Write};
use std::time::Duration;

use vchan::transport::Role;
use vchan::{Error, Listener, State, Vchan};

use crate::support::{accept, client, connect, pair, rounds, server, spawn, wait_until_asleep, LONG, PORT};
use crate::world::{World, CLIENT, SERVER};

pub fn accept_times_out_without_client(world: &dyn World) {
    let listening = server(world).open().expect("listen");
    assert_eq!(listening.state().expect("state"), State::Waiting);
    let error = accept(listening, Some(Duration::from_millis(20))).expect_err("no client comes");
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
}

pub fn write_before_client_connects(world: &dyn World) {
    // What fits is written at once, the rest when the client has made space.
    let mut early = server(world).buffer_size(4096).open().expect("listen");
    early.write_all(b"early").expect("write before the client");
    let thread = spawn("blocked", move || early.write(&[7; 6000]).map(|count| (count, early)));
    wait_until_asleep("blocked");
    let mut client = client(world).connect().expect("connect");
    let mut got = vec![0; 6005];
    client.read_exact(&mut got).expect("read");
    assert_eq!(&got[..5], b"early");
    assert!(got[5..].iter().all(|&byte| byte == 7));
    let (count, early) = thread.join().expect("the thread").expect("write");
    assert_eq!(count, 6000);
    assert_eq!(early.state().expect("state"), State::Connected);
    drop(client);
    assert_eq!(early.state().expect("state"), State::PeerClosed);
}

pub fn connect_without_server(world: &dyn World) {
    let error = client(world).connect().expect_err("there is no server");
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
    assert!(error.to_string().contains(PORT), "{error}");
    let limit = Duration::from_millis(30);
    let error = client(world).wait(limit).connect().expect_err("there is no server");
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
}

pub fn client_waits_for_server(world: &dyn World) {
    for _ in 0..rounds(20) {
        std::thread::scope(|scope| {
            let waiting = std::thread::Builder::new().name("blocked".into());
            let waiting = waiting.spawn_scoped(scope, || client(world).wait(LONG).connect());
            wait_until_asleep("blocked");
            let listening = server(world).open().expect("listen");
            let mut client = waiting.expect("start a thread").join().expect("the thread").expect("connect");
            let mut server = accept(listening, Some(LONG)).expect("accept");
            client.write_all(b"hello").expect("write");
            server.read_exact(&mut [0; 5]).expect("read");
        });
    }
}

pub fn second_client_is_refused(world: &dyn World) {
    let (mut server, mut first) = pair(world, 4096);
    let error = client(world).connect().expect_err("the server has a client");
    assert!(matches!(error, Error::InUse { serving: false, .. } | Error::NoServer { .. }), "{error}");
    first.write_all(b"still here").expect("write");
    server.recv(&mut [0; 10]).expect("recv");
    assert_eq!(server.state().expect("state"), State::Connected);
}

pub fn second_server_is_refused(world: &dyn World) {
    let mut first = server(world).open().expect("listen");
    let error = server(world).open().expect_err("the name is taken");
    assert!(matches!(error, Error::InUse { serving: true, .. }), "{error}");
    assert_eq!(error.errno(), libc::EADDRINUSE);
    let mut client = client(world).connect().expect("connect");
    client.write_all(b"still here").expect("write");
    first.recv(&mut [0; 10]).expect("recv");
    // Another name is free.
    drop(Listener::builder(CLIENT, "other").transport(world.server()).open().expect("listen"));
}

/// A path belongs to its newest server, once the previous one has its client.
pub fn name_is_free_once_server_has_client(world: &dyn World) {
    let (mut first, mut first_client) = pair(world, 1024);
    let second = server(world).open().expect("listen");
    drop(server(world).open().expect_err("the second one waits for its client"));
    // The end of the first server does not affect the second.
    first_client.write_all(b"1").expect("write");
    first.recv(&mut [0]).expect("recv");
    drop((first, first_client));
    let mut second_client = client(world).connect().expect("connect");
    let mut second = accept(second, Some(LONG)).expect("accept");
    second_client.write_all(b"2").expect("write");
    second.recv(&mut [0]).expect("recv");
}

pub fn name_is_reusable(world: &dyn World) {
    for round in 0..rounds(100) as u8 {
        let (mut server, mut client) = pair(world, if round % 2 == 0 { 1024 } else { 8192 });
        client.write_all(&[round]).expect("write");
        let mut got = [0];
        server.read_exact(&mut got).expect("read");
        assert_eq!(got, [round]);
        if round % 3 == 0 {
            drop(server);
            assert_eq!(client.read(&mut got).expect("the end"), 0);
        }
    }
}

pub fn invalid_port_is_refused(world: &dyn World) {
    for port in ["", "a/b", "..", "a b", "ä", "x\n"] {
        let server = Listener::builder(CLIENT, port).transport(world.server()).open();
        let client = Vchan::builder(SERVER, port).transport(world.client()).connect();
        for error in [server.expect_err("an invalid port"), client.expect_err("an invalid port")] {
            assert!(matches!(error, Error::Invalid(_)), "{error}");
        }
    }
    let error = server(world).buffer_size((1 << 20) + 1).open().expect_err("too large");
    assert_eq!(error.errno(), libc::EINVAL);
}

pub fn roles_paths_and_sizes(world: &dyn World) {
    let (server, client) = connect(&server(world).read_size(1024).write_size(70_000), &client(world));
    assert_eq!((server.role(), client.role()), (Role::Server, Role::Client));
    assert_eq!(server.path(), format!("/local/domain/{SERVER}/data/vchan/{CLIENT}/{PORT}"));
    assert_eq!((server.path(), server.rendezvous()), (client.path(), client.rendezvous()));
    assert_eq!([server.state(), client.state()].map(|state| state.expect("state")), [State::Connected; 2]);
    let (server_reader, server_writer) = server.split();
    let (client_reader, client_writer) = client.split();
    assert_eq!((server_reader.ring_size(), server_writer.ring_size()), (2048, 1 << 17));
    assert_eq!((client_reader.ring_size(), client_writer.ring_size()), (1 << 17, 2048));
}
