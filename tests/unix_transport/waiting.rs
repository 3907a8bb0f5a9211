//! Clients that wait for their server.

use super::child::Other;
use super::*;
use std::sync::mpsc;
use std::thread;
use vchan::Error;

/// How long nothing has to happen before a waiting client counts as asleep. Longer than it tries for the page.
const QUIET: Duration = Duration::from_millis(600);

/// More looks than any single change is worth.
const MANY: usize = 30;

/// Waits until a client has stopped looking for its server.
fn until_quiet(looked: &mpsc::Receiver<()>) {
    let looks = std::iter::from_fn(|| looked.recv_timeout(QUIET).ok()).take(MANY).count();
    assert!(looks < MANY, "the client wakes itself");
}

/// Waits as a client does: looks, sleeps until something changes, looks again. Says on `looked` when it has looked.
fn wait_for_server(parts: &Parts, looked: impl Fn()) -> Client {
    let mut watch = parts.registry.watch().unwrap();
    loop {
        watch.renew().unwrap();
        match Client::meet(parts) {
            Ok(client) => return client,
            Err(Error::NoServer { .. } | Error::InUse { serving: false, .. }) => {}
            Err(error) => panic!("{error}"),
        }
        looked();
        assert!(readable(watch.fd(), LONG), "the client was not woken");
    }
}

/// Runs a waiting client in a thread while `serve` runs here, told when the client has looked in vain. What that returns
/// stays until the client is done.
fn with_waiting_client<T>(parts: Parts, serve: impl FnOnce(mpsc::Receiver<()>) -> T) {
    let (sender, receiver) = mpsc::channel();
    let client = thread::spawn(move || {
        // Nobody listens any more when the server has stopped counting.
        let looked = || sender.send(()).unwrap_or(());
        wait_for_server(&parts, looked).events.notify().unwrap();
    });
    let _server = serve(receiver);
    client.join().unwrap();
}

#[test]
fn a_client_may_come_first() {
    let temp = private_dir();
    let root = temp.path().join("root");
    let parts = transport(&root).open(Role::Client, 0, "data/x").unwrap();
    with_waiting_client(parts, |looked| {
        looked.recv_timeout(LONG).unwrap();
        let server = Server::start(&root, "data/x").unwrap();
        Waiter::on(&*server.events).until(&*server.events, |r| r.event);
        server
    });
}

#[test]
fn a_client_sees_the_publication_itself() {
    let root = private_dir();
    // The directories that lead there exist already, so only the last one tells.
    let _other = Server::start(root.path(), "data/other").unwrap();
    with_waiting_client(transport(root.path()).open(Role::Client, 0, "data/x").unwrap(), |looked| {
        let server = transport(root.path()).open(Role::Server, 0, "data/x").unwrap();
        let events = server.events.listen().unwrap();
        let page = server.memory.share(1, None).unwrap();
        looked.recv_timeout(LONG).unwrap();
        until_quiet(&looked);
        let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
        let publication = server.registry.publish(&rendezvous).unwrap();
        Waiter::on(&*events).until(&*events, |r| r.event);
        (publication, page, events)
    });
}

#[test]
fn a_told_client_waits_too() {
    let root = private_dir();
    let told = format!("((ring_ref 0) (event_channel {}/0))", root.path().display());
    let told = transport(root.path()).exported(&told).unwrap();
    with_waiting_client(told.open(Role::Client, 0, "data/x").unwrap(), |looked| {
        looked.recv_timeout(LONG).unwrap();
        let server = transport(root.path()).open(Role::Server, 0, "data/x").unwrap();
        let events = server.events.listen().unwrap();
        until_quiet(&looked);
        // With the directory there already, only the page itself tells.
        fs::create_dir(root.path().join("memory")).unwrap();
        until_quiet(&looked);
        let page = server.memory.share(1, None).unwrap();
        Waiter::on(&*events).until(&*events, |r| r.event);
        (page, events)
    });
}

#[test]
fn a_client_waits_for_the_one_before_it() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let first = Client::start(root.path(), "data/x").unwrap();
    first.events.notify().unwrap();
    at_server.until(&*server.events, |r| r.event);
    with_waiting_client(transport(root.path()).open(Role::Client, 0, "data/x").unwrap(), |looked| {
        looked.recv_timeout(LONG).unwrap();
        // The server is ready for the next one while the first one still has the page.
        server.events.rearm().unwrap();
        looked.recv_timeout(LONG).unwrap();
        until_quiet(&looked);
        drop(first);
        at_server.until(&*server.events, |r| r.event);
    });
}

#[test]
fn a_client_that_waits_is_idle() {
    let root = private_dir();
    let other = Other::start("serve", root.path(), "data/x");
    let first = Client::start(root.path(), "data/x").unwrap();
    let parts = transport(root.path()).open(Role::Client, 0, "data/x").unwrap();
    let mut watch = parts.registry.watch().unwrap();
    // In each of these states looking (in vain) must not wake the one who looks.
    let mut idle = |state: &str| {
        for looks in 1.. {
            watch.renew().unwrap();
            assert!(Client::meet(&parts).is_err());
            if !readable(watch.fd(), QUIET) {
                break;
            }
            assert!(looks < MANY, "woken for ever while {state}");
        }
    };
    idle("another client is connected");
    drop(first);
    idle("the server has not made itself ready again");
    other.kill();
    idle("the server is dead");
    fs::create_dir(root.path().join("memory")).unwrap();
    fs::write(root.path().join("memory/0"), [0; 4096]).unwrap();
    idle("there is a page without a server");
}

#[test]
fn waiting_in_a_default_root_makes_it_and_removes_it() {
    let temp = private_dir();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "waiting::wait_in_the_default_root"])
        .env_remove("XEN_ROOT")
        .env("XDG_RUNTIME_DIR", temp.path())
        .env("VCHAN_TEST_DEFAULT_ROOT", temp.path().join("vchan"))
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(tree(temp.path()), [""; 0]);
}

/// Runs in a process of its own, started by the test above, as it needs its own environment.
#[test]
fn wait_in_the_default_root() {
    let Some(expected) = std::env::var_os("VCHAN_TEST_DEFAULT_ROOT") else { return };
    let transport = UnixTransport::from_env().unwrap();
    assert!(transport.has_default_root());
    assert_eq!(transport.root_path(), Path::new(&expected));
    let parts = transport.open(Role::Client, 0, "data/x").unwrap();
    assert!(!transport.root_path().exists());
    with_waiting_client(parts, |looked| {
        for _ in 0..3 {
            looked.recv_timeout(LONG).unwrap();
            // Another client that gives up takes the empty root away, under the waiting one.
            let other = transport.open(Role::Client, 0, "data/y").unwrap();
            let mut watch = other.registry.watch().unwrap();
            watch.renew().unwrap();
        }
        until_quiet(&looked);
        let parts = transport.open(Role::Server, 0, "data/x").unwrap();
        let events = parts.events.listen().unwrap();
        let page = parts.memory.share(1, None).unwrap();
        let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
        let publication = parts.registry.publish(&rendezvous).unwrap();
        Waiter::on(&*events).until(&*events, |r| r.event);
        (publication, page, events)
    });
}
