//! Event channels.

use super::*;
use std::thread;
use vchan::Error;

const EVENT: Received = Received { event: true, ended: false };
const ENDED: Received = Received { event: false, ended: true };

fn pair(root: &Path) -> (Server, Client) {
    let server = Server::start(root, "data/x").unwrap();
    let client = Client::start(root, "data/x").unwrap();
    (server, client)
}

#[test]
fn events_arrive_both_ways_and_the_end_is_seen() {
    let root = private_dir();
    let (server, client) = pair(root.path());
    let (at_server, at_client) = (Waiter::on(&*server.events), Waiter::on(&*client.events));
    assert!(root.path().join("0").exists());
    for _ in 0..3 {
        client.events.notify().unwrap();
        assert_eq!(at_server.until(&*server.events, |r| r != Received::default()), EVENT);
        assert!(!at_server.is_ready());
        server.events.notify().unwrap();
        assert_eq!(at_client.until(&*client.events, |r| r != Received::default()), EVENT);
        assert!(!at_client.is_ready());
    }
    assert!(!root.path().join("0").exists(), "the socket's name was not removed");
    drop(client);
    assert_eq!(at_server.until(&*server.events, |r| r != Received::default()), ENDED);
    server.events.notify().unwrap();
    assert_eq!(server.events.receive().unwrap(), ENDED);
}

#[test]
fn server_that_only_sends_is_connected() {
    let root = private_dir();
    let (server, client) = pair(root.path());
    let at_client = Waiter::on(&*client.events);
    server.events.notify().unwrap();
    assert_eq!(at_client.until(&*client.events, |r| r != Received::default()), EVENT);
    drop(server);
    assert_eq!(at_client.until(&*client.events, |r| r != Received::default()), ENDED);
    client.events.notify().unwrap();
}

#[test]
fn notify_without_peer_succeeds() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    server.events.notify().unwrap();
    assert_eq!(server.events.receive().unwrap(), Received::default());
    let again = server.events.attach(Arc::new(EventSet::new().unwrap()), TOKENS);
    again.unwrap();
    let twice = server.events.attach(Arc::new(EventSet::new().unwrap()), TOKENS);
    assert!(matches!(twice, Err(Error::Invalid(_))));
}

#[test]
fn unread_events_never_block_the_sender() {
    let root = private_dir();
    let (server, client) = pair(root.path());
    let at_server = Waiter::on(&*server.events);
    for _ in 0..100_000 {
        client.events.notify().unwrap();
    }
    assert_eq!(at_server.until(&*server.events, |r| r.event), EVENT);
    assert!(!at_server.is_ready(), "one call takes all events of a full socket");
    client.events.notify().unwrap();
    assert_eq!(at_server.until(&*server.events, |r| r.event), EVENT);
}

#[test]
fn one_client_after_another() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    for round in 0..5 {
        server.events.rearm().unwrap();
        let client = Client::start(root.path(), "data/x").unwrap();
        assert_eq!(client.events.local_port(), 1);
        client.events.notify().unwrap();
        assert_eq!(at_server.until(&*server.events, |r| r.event), EVENT, "round {round}");
        let at_client = Waiter::on(&*client.events);
        server.events.notify().unwrap();
        assert_eq!(at_client.until(&*client.events, |r| r.event), EVENT);
        assert!(matches!(client.events.rearm(), Err(Error::Invalid(_))));
        drop(client);
        at_server.until(&*server.events, |r| r.ended);
        server.events.rearm().unwrap();
        assert!(!at_server.is_ready() && root.path().join("0").exists());
        assert_eq!(server.events.receive().unwrap(), Received::default());
    }
    drop(server);
    assert_eq!(tree(root.path()), [""; 0]);
}

#[test]
fn threads_send_and_receive_while_clients_change() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    thread::scope(|scope| {
        // The threads continue while this lives.
        let going = Arc::new(());
        let channel = &*server.events;
        for _ in 0..2 {
            let going = Arc::downgrade(&going);
            scope.spawn(move || {
                while going.strong_count() > 0 {
                    channel.notify().unwrap();
                }
            });
        }
        for _ in 0..50 {
            let client = Client::start(root.path(), "data/x").unwrap();
            let at_client = Waiter::on(&*client.events);
            at_client.until(&*client.events, |r| r.event);
            client.events.notify().unwrap();
            at_server.until(channel, |r| r.event);
            drop(client);
            at_server.until(channel, |r| r.ended);
            channel.rearm().unwrap();
        }
    });
}
