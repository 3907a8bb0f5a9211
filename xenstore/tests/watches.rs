//! Watches in the real xenstored.

mod support {
    pub mod xenstored;
}

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use support::xenstored::{Xenstored, LONG, SHORT};
use vchan_xenstore::{Access, Nodes, Perm, XsClient};

const RELEASE: &str = "@releaseDomain";

/// The next event. It is expected.
fn event(xs: &XsClient) -> (String, String) {
    let event = xs.next_event(Some(LONG)).unwrap().expect("the event did not come");
    (event.path, event.token)
}

fn assert_quiet(xs: &XsClient) {
    assert_eq!(xs.next_event(Some(SHORT)).unwrap(), None);
}

/// Takes events until `done` is true.
fn watch_until(xs: &XsClient, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "it never became true");
        xs.next_event(Some(LONG)).unwrap().expect("no event came");
    }
}

fn polls_readable(xs: &XsClient, limit: Duration) -> bool {
    let timeout = PollTimeout::try_from(limit).unwrap();
    poll(&mut [PollFd::new(xs.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
}

#[test]
fn watch_fires_at_once_and_for_nodes_below() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, other) = (daemon.client(), daemon.client());
    let both = |path: &str, token: &str| (path.to_owned(), token.to_owned());

    xs.watch("/w", "one").unwrap();
    assert_eq!(event(&xs), both("/w", "one"));
    assert_quiet(&xs);

    other.write("/w/below", "1").unwrap();
    assert_eq!(event(&xs), both("/w/below", "one"));
    other.write("/elsewhere", "1").unwrap();
    assert_quiet(&xs);
    other.rm("/w").unwrap();
    assert_eq!(event(&xs), both("/w", "one"));

    xs.watch("data/rel", "two").unwrap();
    assert_eq!(event(&xs), both("data/rel", "two"));
    other.write("/local/domain/0/data/rel", "1").unwrap();
    assert_eq!(event(&xs), both("data/rel", "two"));

    assert_eq!(xs.watch("/w", "one").unwrap_err().errno(), libc::EEXIST);
    xs.unwatch("/w", "one").unwrap();
    assert_eq!(xs.unwatch("/w", "one").unwrap_err().errno(), libc::ENOENT);
    other.write("/w", "2").unwrap();
    assert_quiet(&xs);
}

#[test]
fn transaction_fires_at_the_commit() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, other) = (daemon.client(), daemon.client());
    xs.watch("/w", "t").unwrap();
    event(&xs);
    let transaction = other.begin().unwrap();
    transaction.write("/w", "1").unwrap();
    assert_quiet(&xs);
    transaction.commit().unwrap();
    assert_eq!(event(&xs).0, "/w");
}

#[test]
fn descriptor_polls_readable_for_events_only() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, other) = (daemon.client(), daemon.client());
    xs.watch("/w", "t").unwrap();
    event(&xs);
    assert!(!polls_readable(&xs, SHORT));
    other.write("/w", "1").unwrap();
    assert!(polls_readable(&xs, LONG));
    // The request receives the event from the socket. The descriptor must stay readable.
    xs.read("/w").unwrap();
    assert!(polls_readable(&xs, SHORT));
    assert_eq!(event(&xs).0, "/w");
    assert!(!polls_readable(&xs, SHORT));
}

#[test]
fn waiting_thread_gets_an_event_received_by_another_thread() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    xs.watch("/w", "t").unwrap();
    event(&xs);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| event(&xs));
        // The event comes before or after the acknowledgement, on the same connection.
        xs.write("/w", "1").unwrap();
        assert_eq!(waiter.join().unwrap().0, "/w");
    });
}

#[test]
fn guest_gets_an_event_when_a_node_becomes_readable() {
    let Some(daemon) = Xenstored::start() else { return };
    let (server, guest) = (daemon.client(), daemon.guest(7));
    let path = "/local/domain/0/data/vchan/7/port";
    let node = format!("{path}/ring-ref");
    guest.watch(path, "t").unwrap();
    event(&guest);
    assert!(guest.read(&node).unwrap_err().is_not_yet());

    let publish = || {
        server.transaction(|t| {
            t.write(&node, "8")?;
            t.set_perms(&node, Perm::new(0, Access::None), &[Perm::new(7, Access::Read)])
        })
    };
    publish().unwrap();
    watch_until(&guest, || guest.read(&node).is_ok_and(|value| value == b"8"));
}

#[test]
fn end_of_a_domain_fires_in_dom0_and_permitted_guests() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    let (permitted, other, _doomed) = (daemon.guest(8), daemon.guest(9), daemon.guest(7));
    xs.set_perms(RELEASE, Perm::new(0, Access::None), &[Perm::new(8, Access::Read)]).unwrap();
    for watcher in [&xs, &permitted, &other] {
        watcher.watch(RELEASE, "end").unwrap();
        event(watcher);
    }

    assert!(xs.is_domain_introduced(7).unwrap());
    assert_eq!(other.is_domain_introduced(7).unwrap_err().errno(), libc::EACCES);
    daemon.destroy(7);
    watch_until(&xs, || !xs.is_domain_introduced(7).unwrap());
    assert_eq!(event(&permitted), (RELEASE.to_owned(), "end".to_owned()));
    assert_quiet(&other);
}

#[test]
fn removed_nodes_of_a_destroyed_server_fire() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, guest) = (daemon.client(), daemon.guest(8));
    let node = "/local/domain/7/data/vchan/8/port/ring-ref";
    xs.write(node, "8").unwrap();
    xs.set_perms(node, Perm::new(0, Access::None), &[Perm::new(8, Access::Read)]).unwrap();
    guest.watch(node, "gone").unwrap();
    event(&guest);
    assert!(guest.read(node).is_ok());
    // The toolstack does this when it destroys a domain.
    xs.rm("/local/domain/7").unwrap();
    watch_until(&guest, || guest.read(node).is_err_and(|error| error.is_not_yet()));
}

#[test]
fn removed_nodes_owned_by_a_destroyed_guest_fire() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, server, client) = (daemon.client(), daemon.guest(7), daemon.guest(8));
    xs.mkdir("/local/domain/7/data").unwrap();
    xs.set_perms("/local/domain/7/data", Perm::new(7, Access::None), &[]).unwrap();
    server.mkdir("data/room").unwrap();
    server.set_perms("data/room", Perm::new(7, Access::None), &[Perm::new(8, Access::ReadWrite)]).unwrap();

    let node = "/local/domain/7/data/room/alive";
    client.write(node, "").unwrap();
    client.set_perms(node, Perm::new(8, Access::None), &[Perm::new(7, Access::Read)]).unwrap();
    server.watch(node, "alive").unwrap();
    event(&server);
    assert!(server.read(node).is_ok());
    daemon.destroy(8);
    watch_until(&server, || server.read(node).is_err_and(|error| error.is_not_yet()));
}
