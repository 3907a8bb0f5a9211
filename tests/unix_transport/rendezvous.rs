//! Servers and clients on one root, by name and by exported configuration.

use super::*;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use vchan::{Error, Listener, Vchan};

fn message(result: Result<impl Sized>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn servers_on_one_root_are_independent() {
    let root = private_dir();
    let first = Server::start(root.path(), "data/first").unwrap();
    let second = Server::start(root.path(), "data/second").unwrap();
    assert_eq!((first.rendezvous.ring_ref, second.rendezvous.ring_ref), (0, 1024));
    assert_ne!(first.rendezvous.event_channel, second.rendezvous.event_channel);
    assert_eq!((first.events.local_port(), second.events.local_port()), (1, 2));
    write_byte(&*first.page, 7, 1);
    write_byte(&*second.page, 7, 2);
    let client_of_second = Client::start(root.path(), "data/second").unwrap();
    let client_of_first = Client::start(root.path(), "data/first").unwrap();
    assert_eq!((read_byte(&*client_of_first.page, 7), read_byte(&*client_of_second.page, 7)), (1, 2));
    drop((second, client_of_second));
    assert_eq!(read_byte(&*client_of_first.page, 7), 1);
    drop(first);
    assert_eq!(tree(root.path()), [""; 0]);
}

#[test]
fn first_server_uses_the_historical_names() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    assert_eq!(server.rendezvous.ring_ref, 0);
    assert_eq!(Path::new(&server.rendezvous.event_channel), root.path().join("0"));
    let right: Vec<String> = (17..=32).rev().map(|n: u32| n.to_string()).collect();
    for name in ["0", "16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1", &right.join(",")] {
        let file = fs::metadata(root.path().join("memory").join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o7777, 0o600);
        assert_eq!(file.len() % 4096, 0);
    }
    for entry in tree(root.path()) {
        let mode = fs::metadata(root.path().join(&entry)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode & 0o077, 0, "{entry} has mode {mode:o}");
    }
}

#[test]
fn rings_of_the_largest_order_fit() {
    let root = private_dir();
    let _other = Server::start(root.path(), "data/other").unwrap();
    let server = Server::start_sized(root.path(), "data/x", 256).unwrap();
    let parts = transport(root.path()).open(Role::Client, 0, "data/x").unwrap();
    let client = Client::connect(&parts).unwrap();
    for ring in &server._rings {
        let mapped = parts.memory.map(ring.grants()).unwrap();
        write_byte(&**ring, 256 * 4096 - 1, 9);
        assert_eq!(read_byte(&*mapped, 256 * 4096 - 1), 9);
    }
    drop(client);
    assert!(root.path().join("memory/1280-1025").exists());
}

#[test]
fn name_has_one_server_and_server_one_client() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let before = tree(root.path());
    let second = Server::start(root.path(), "data/x").err().unwrap();
    assert!(matches!(second, Error::InUse { serving: true, .. }), "{second}");
    assert_eq!(tree(root.path()), before, "the refused server changed the root");
    let client = Client::start(root.path(), "data/x").unwrap();
    let other = Client::start(root.path(), "data/x").err().unwrap();
    assert!(matches!(other, Error::InUse { serving: false, .. }), "{other}");
    server.events.receive().unwrap();
    let other = Client::start(root.path(), "data/x").err().unwrap();
    assert!(matches!(other, Error::InUse { serving: false, .. }), "{other}");
    drop(client);
    // The socket is gone and the page is free: the server has not been rearmed for another client.
    let other = Client::start(root.path(), "data/x").err().unwrap();
    assert!(matches!(other, Error::InUse { serving: false, .. }), "{other}");
    drop(server);
    Server::start(root.path(), "data/x").unwrap();
}

#[test]
fn name_is_free_once_its_server_has_a_client() {
    let root = private_dir();
    let transport = transport(root.path());
    let serve = || Listener::builder(0, "x").transport(transport.clone()).open();
    let connect = || Vchan::builder(0, "x").transport(transport.clone()).connect();
    let mut first = serve().unwrap();
    let waiting = serve().unwrap_err();
    assert!(matches!(waiting, Error::InUse { serving: true, .. }), "{waiting}");
    let mut first_client = connect().unwrap();
    // The first server has not noticed its client yet.
    let mut second = serve().unwrap();
    let mut second_client = connect().unwrap();
    first_client.write_all(b"first").unwrap();
    second_client.write_all(b"other").unwrap();
    let mut bytes = [0; 5];
    first.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"first");
    second.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"other");
    let third = serve().unwrap();
    drop((first, first_client));
    assert_eq!(
        serve().unwrap_err().errno(),
        libc::EADDRINUSE,
        "the first one took the name of the third away"
    );
    second_client.write_all(b"still").unwrap();
    second.read_exact(&mut bytes).unwrap();
    drop((connect().unwrap(), third, second, second_client));
    assert_eq!(tree(root.path()), [""; 0]);
}

#[test]
fn persistent_server_keeps_its_name() {
    let root = private_dir();
    let transport = transport(root.path());
    let _first = Listener::builder(0, "x").transport(transport.clone()).persistent(true).open().unwrap();
    let _client = Vchan::builder(0, "x").transport(transport.clone()).connect().unwrap();
    let second = Listener::builder(0, "x").transport(transport.clone()).open();
    assert_eq!(second.unwrap_err().errno(), libc::EADDRINUSE);
}

#[test]
fn client_does_not_get_the_next_server_in_the_slot() {
    let root = private_dir();
    for next in ["data/x", "data/y"] {
        let first = Server::start(root.path(), "data/x").unwrap();
        let parts = transport(root.path()).open(Role::Client, 0, "data/x").unwrap();
        let rendezvous = parts.registry.look_up().unwrap();
        let page = parts.memory.map(&[rendezvous.ring_ref]).unwrap();
        drop(first);
        let second = Server::start(root.path(), next).unwrap();
        assert_eq!(second.rendezvous, rendezvous);
        let error =
            parts.events.connect(&rendezvous.event_channel).err().expect("the page is the first server's");
        assert!(matches!(error, Error::NoServer { .. }), "{error}");
        drop((page, second));
    }
    let server = Server::start(root.path(), "data/y").unwrap();
    let parts = transport(root.path()).open(Role::Client, 0, "data/x").unwrap();
    let error = parts.events.connect(&server.rendezvous.event_channel).err().expect("another name");
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
}

#[test]
fn names_of_any_length_work() {
    let temp = private_dir();
    let root = temp.path().join("r".repeat(200));
    let path = format!("/local/domain/0/{}/{}", "p".repeat(255), "q".repeat(255));
    let server = Server::start(&root, &path).unwrap();
    let client = Client::start(&root, &path).unwrap();
    let waiter = Waiter::on(&*server.events);
    client.events.notify().unwrap();
    waiter.until(&*server.events, |received| received.event);
    drop((server, client));
    assert_eq!(tree(temp.path()), ["r".repeat(200)]);
    let deep = format!("/{}", "d/".repeat(2000)) + "end";
    let server = Server::start(&root, &deep).unwrap();
    Client::start(&root, &deep).unwrap();
    drop(server);
    assert_eq!(tree(&root), [""; 0]);
}

#[test]
fn exported_client_needs_no_name() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let exported = format!("((ring_ref 0) (event_channel {}))", server.rendezvous.event_channel);
    let exported = transport(root.path()).exported(&exported).unwrap();
    let parts = exported.open(Role::Client, 9, "some port").unwrap();
    assert_eq!(parts.registry.path(), server.rendezvous.event_channel);
    let client = Client::connect(&parts).unwrap();
    assert_eq!(parts.registry.path(), "/local/domain/0/data/x");
    let waiter = Waiter::on(&*client.events);
    server.events.notify().unwrap();
    waiter.until(&*client.events, |received| received.event);
}

#[test]
fn error_names_the_missing_server() {
    let temp = private_dir();
    let root = temp.path().join("root");
    let missing = Client::start(&root, "data/x").err().unwrap();
    assert!(matches!(missing, Error::NoServer { .. }), "{missing}");
    assert!(missing.to_string().contains("/local/domain/0/data/x"), "{missing}");
    assert!(!root.exists(), "a client that does not wait creates nothing");
    let exported = transport(temp.path()).exported("((ring_ref 0) (event_channel /nowhere/0))").unwrap();
    let parts = exported.open(Role::Client, 0, "x").unwrap();
    assert!(matches!(Client::connect(&parts).err().unwrap(), Error::NoServer { .. }));
    assert!(matches!(parts.events.connect("/nowhere/0").err().unwrap(), Error::NoServer { .. }));
    fs::write(temp.path().join("file"), "").unwrap();
    let file = temp.path().join("file");
    assert!(message(parts.events.connect(file.to_str().unwrap())).contains("not a socket"));
}

#[test]
fn calls_of_the_other_role_fail() {
    let root = private_dir();
    let rendezvous = Rendezvous { ring_ref: 0, event_channel: "/x/0".into() };
    let server = transport(root.path()).open(Role::Server, 1, "data/x").unwrap();
    let client = transport(root.path()).open(Role::Client, 0, "data/x").unwrap();
    for text in [
        message(server.memory.map(&[0])),
        message(server.events.connect("/x/0")),
        message(server.registry.look_up()),
        message(server.registry.watch()),
        message(client.memory.share(1, None)),
        message(client.events.listen()),
        message(client.registry.publish(&rendezvous)),
    ] {
        assert!(text.starts_with("a server ") || text.starts_with("a client "), "{text}");
    }
    assert!(transport(root.path()).open(Role::Server, 1, "../x").is_err());
    assert_eq!(tree(root.path()), [""; 0]);
}

#[test]
fn symbolic_link_in_the_tree_is_not_followed() {
    let root = private_dir();
    let outside = private_dir();
    for name in ["memory", "locks", "local"] {
        symlink(outside.path(), root.path().join(name)).unwrap();
        let text = message(Server::start(root.path(), "data/x"));
        assert!(text.starts_with("refused: ") && text.contains(name), "{text}");
        fs::remove_file(root.path().join(name)).unwrap();
        assert_eq!(tree(root.path()), [""; 0]);
    }
    assert_eq!(tree(outside.path()), [""; 0]);
}

#[test]
fn clients_find_servers_of_a_moved_root() {
    for replaced in [false, true] {
        let temp = private_dir();
        let (before, after) = (temp.path().join("before"), temp.path().join("after"));
        let serve = || Listener::builder(0, "x").transport(transport(&before)).open().unwrap();
        let server = serve();
        fs::rename(&before, &after).unwrap();
        // Another server has the same slot in the new root at the old path.
        let _other = replaced.then(serve);
        let mut client = Vchan::builder(0, "x").transport(transport(&after)).connect().unwrap();
        let mut server = accept(server, Some(LONG)).unwrap();
        client.write_all(b"word").unwrap();
        let mut word = [0; 4];
        server.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
        drop((server, client));
        assert_eq!(tree(&after), [""; 0]);
    }
}

#[test]
fn missing_socket_is_not_reported_as_another_client() {
    let temp = private_dir();
    let root = temp.path().join("root");
    let transport = transport(&root);
    let _server = Listener::builder(0, "x").transport(transport.clone()).open().unwrap();
    fs::remove_file(root.join("0")).unwrap();
    let error = Vchan::builder(0, "x").transport(transport.clone()).connect().unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
    let socket = root.join("0");
    assert!(error.to_string().contains(&format!("its socket {} is gone", socket.display())), "{error}");
    // An exported socket that is elsewhere, from a shell that has kept the lines of an earlier server.
    let exported = format!("((ring_ref 0) (event_channel {}/0))", temp.path().join("elsewhere").display());
    let exported = transport.clone().exported(&exported).unwrap();
    let error = Vchan::builder(0, "x").transport(exported.clone()).connect().unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
}

#[test]
fn exported_client_reports_the_path_of_its_server() {
    let root = private_dir();
    let transport = transport(root.path());
    let exported = |server: &Vchan| {
        let rendezvous = server.rendezvous();
        let exported =
            format!("((ring_ref {}) (event_channel {}))", rendezvous.ring_ref, rendezvous.event_channel);
        transport.clone().exported(&exported).unwrap()
    };
    let bob = Listener::builder(0, "bob").transport(transport.clone()).open().unwrap();
    let to_bob = exported(&bob);
    let client = Vchan::builder(0, "alice").transport(to_bob.clone()).connect().unwrap();
    assert_eq!(client.path(), "/local/domain/0/data/vchan/0/bob");
    drop((bob, client));
    // A historical server has no lock.
    let bob = Listener::builder(0, "bob").transport(transport.clone()).open().unwrap();
    fs::remove_file(root.path().join("locks/0")).unwrap();
    let client = Vchan::builder(0, "alice").transport(to_bob.clone()).connect().unwrap();
    assert_eq!(client.path(), bob.rendezvous().event_channel);
}

#[test]
fn exported_client_is_not_diverted_from_the_requested_server() {
    let root = private_dir();
    let transport = transport(root.path());
    let serve = |port| Listener::builder(0, port).transport(transport.clone()).open().unwrap();
    let (_bob, alice) = (serve("bob"), serve("alice"));
    let exported = format!("((ring_ref 0) (event_channel {}/0))", root.path().display());
    let exported = transport.clone().exported(&exported).unwrap();
    let error = Vchan::builder(0, "alice").transport(exported.clone()).connect().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let _served = Vchan::builder(0, "alice").transport(transport.clone()).connect().unwrap();
    let connected = Vchan::builder(0, "alice").transport(exported.clone()).connect();
    assert!(connected.is_ok(), "the server has its client and does not wait");
    drop(alice);
}
