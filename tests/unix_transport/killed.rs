//! Killed processes, and their effect on others.

use super::child::Other;
use super::*;
use vchan::Error;

/// Whether the name is that of a memory file of slots 1 to 3, the shared page or a ring.
fn slot_1_to_3(name: &str) -> bool {
    name.strip_prefix("memory/")
        .and_then(|grants| grants.split(',').next())
        .is_some_and(|grant| (1024..4096).contains(&grant.parse::<u32>().unwrap()))
}

const HISTORICAL: [(&str, &str); 3] = [("memory/0", "page"), ("memory/2,1", "left"), ("note", "mine")];

#[test]
fn files_of_a_killed_server_are_removed() {
    let temp = private_dir();
    let root = temp.path().join("root");
    let survivor = Server::start(&root, "data/survivor").unwrap();
    let others = ["a", "b", "c"].map(|name| Other::start("serve", &root, &format!("data/{name}")));
    let before = tree(&root);
    assert!(before.iter().any(|name| name == "local/domain/0/data/c/ring-ref"), "{before:?}");
    assert_eq!(before.iter().filter(|name| slot_1_to_3(name)).count(), 9);
    others.into_iter().for_each(Other::kill);
    assert_eq!(tree(&root), before, "a killed process removes nothing");

    let missing = Client::start(&root, "data/b").err().unwrap();
    assert!(matches!(missing, Error::NoServer { .. }), "{missing}");
    let left = tree(&root);
    assert!(
        !left.iter().any(|name| name.ends_with("/b")),
        "the client did not remove the files it found: {left:?}"
    );
    // Each server sweeps some of the others.
    for _ in 0..3 {
        drop(Server::start(&root, "data/later").unwrap());
    }
    let left = tree(&root);
    assert!(!left.iter().any(|name| ["1", "2", "3", "locks/1"].contains(&&**name)), "{left:?}");
    assert!(!left.iter().any(|name| name.ends_with("/a") || slot_1_to_3(name)), "{left:?}");
    Client::start(&root, "data/survivor").unwrap();
    drop(survivor);
    assert_eq!(tree(&root), [""; 0]);
}

#[test]
fn server_replaces_a_killed_one() {
    let root = private_dir();
    let other = Other::start("serve", root.path(), "data/x");
    assert!(matches!(Server::start(root.path(), "data/x"), Err(Error::InUse { serving: true, .. })));
    other.kill();
    let server = Server::start(root.path(), "data/x").unwrap();
    assert_eq!(server.rendezvous.ring_ref, 0);
    drop(server);
    assert_eq!(tree(root.path()), [""; 0]);
}

#[test]
fn server_replaces_a_killed_one_with_a_forked_child() {
    let root = private_dir();
    let input = Other::start("serve and fork", root.path(), "data/x").kill_alone();
    let server = Server::start(root.path(), "data/x").unwrap();
    let client = Client::start(root.path(), "data/x").unwrap();
    write_byte(&*server.page, 100, 7);
    assert_eq!(read_byte(&*client.page, 100), 7, "not the new server's page");
    drop((client, server));
    drop(input);
}

#[test]
fn killed_peer_ends_the_channel() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let other = Other::start("connect", root.path(), "data/x");
    server.events.receive().unwrap();
    other.kill();
    at_server.until(&*server.events, |r| r.ended);
    server.events.rearm().unwrap();
    drop((Client::start(root.path(), "data/x").unwrap(), server));

    let other = Other::start("serve", root.path(), "data/x");
    let client = Client::start(root.path(), "data/x").unwrap();
    let at_client = Waiter::on(&*client.events);
    other.kill();
    at_client.until(&*client.events, |r| r.ended);
    client.events.notify().unwrap();
}

#[test]
fn files_of_a_historical_program_are_not_touched() {
    let root = private_dir();
    fs::create_dir(root.path().join("memory")).unwrap();
    for (name, text) in HISTORICAL {
        fs::write(root.path().join(name), text).unwrap();
    }
    let listener = std::os::unix::net::UnixListener::bind(root.path().join("1")).unwrap();
    let before = tree(root.path());
    let server = Server::start(root.path(), "data/x").unwrap();
    assert_eq!(server.rendezvous.ring_ref, 2048);
    let other = Other::start("serve", root.path(), "data/y");
    other.kill();
    assert!(Client::start(root.path(), "data/y").is_err());
    Client::start(root.path(), "data/x").unwrap();
    drop(server);
    assert_eq!(tree(root.path()), before);
    for (name, text) in HISTORICAL {
        assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), text);
    }
    drop(listener);
}
