//! Clients that wait for their server.

use super::child::Other;
use super::*;
use std::sync::mpsc;
use std::thread;
use vchan::Error;

/// How long a waiting client must be idle to count as asleep. Longer than its attempts to lock the page.
const QUIET: Duration = Duration::from_millis(600);

/// More look-ups than any single change may cause.
const MAX_LOOKS: usize = 30;

/// Waits until a client has stopped looking for its server.
fn until_quiet(looked: &mpsc::Receiver<()>) {
    let looks = std::iter::from_fn(|| looked.recv_timeout(QUIET).ok()).take(MAX_LOOKS).count();
    assert!(looks < MAX_LOOKS, "the client wakes itself up");
}

/// Waits like a client: looks up, sleeps until something changes, and looks up again. Calls `looked` after
/// each look-up.
fn wait_for_server(parts: &Parts, looked: impl Fn()) -> Client {
    let mut watch = parts.registry.watch().unwrap();
    loop {
        watch.renew().unwrap();
        match Client::connect(parts) {
            Ok(client) => return client,
            Err(Error::NoServer { .. } | Error::InUse { serving: false, .. }) => {}
            Err(error) => panic!("{error}"),
        }
        looked();
        assert!(readable(watch.fd(), LONG), "the client was not woken");
    }
}

/// Runs a waiting client in a thread while `serve` runs here; the channel reports each unsuccessful look-up.
/// The result of `serve` lives until the client is done.
fn with_waiting_client<T>(parts: Parts, serve: impl FnOnce(mpsc::Receiver<()>) -> T) {
    let (sender, receiver) = mpsc::channel();
    let client = thread::spawn(move || {
        // The receiver is gone when the server has stopped counting.
        let looked = || sender.send(()).unwrap_or(());
        wait_for_server(&parts, looked).events.notify().unwrap();
    });
    let _server = serve(receiver);
    client.join().unwrap();
}

#[test]
fn client_can_come_first() {
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
fn client_sees_the_publication_itself() {
    let root = private_dir();
    // The parent directories exist already, so only the last one causes an event.
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
fn exported_client_waits_too() {
    let root = private_dir();
    let exported = format!("((ring_ref 0) (event_channel {}/0))", root.path().display());
    let exported = transport(root.path()).exported(&exported).unwrap();
    with_waiting_client(exported.open(Role::Client, 0, "data/x").unwrap(), |looked| {
        looked.recv_timeout(LONG).unwrap();
        let server = transport(root.path()).open(Role::Server, 0, "data/x").unwrap();
        let events = server.events.listen().unwrap();
        until_quiet(&looked);
        // With an existing directory, only the page itself causes an event.
        fs::create_dir(root.path().join("memory")).unwrap();
        until_quiet(&looked);
        let page = server.memory.share(1, None).unwrap();
        Waiter::on(&*events).until(&*events, |r| r.event);
        (page, events)
    });
}

#[test]
fn client_waits_for_the_previous_one() {
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
fn waiting_client_is_idle() {
    let root = private_dir();
    let other = Other::start("serve", root.path(), "data/x");
    let first = Client::start(root.path(), "data/x").unwrap();
    let parts = transport(root.path()).open(Role::Client, 0, "data/x").unwrap();
    let mut watch = parts.registry.watch().unwrap();
    // In each of these states an unsuccessful look-up must not wake the client itself.
    let mut idle = |state: &str| {
        for looks in 1.. {
            watch.renew().unwrap();
            assert!(Client::connect(&parts).is_err());
            if !readable(watch.fd(), QUIET) {
                break;
            }
            assert!(looks < MAX_LOOKS, "woken repeatedly while {state}");
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
fn waiting_creates_and_removes_a_default_root() {
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

/// Runs in a separate process, started by the test above, as it needs its own environment.
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
            // Another client that gives up removes the empty root of the waiting one.
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
