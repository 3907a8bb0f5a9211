//! An end of a channel detects the end of its peer's domain, and nothing else. Uses the real xenstored.

mod support {
    #[path = "../../xenstore/tests/support/xenstored.rs"]
    pub mod xenstored;
}

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use support::xenstored::{Xenstored, LONG, SHORT};
use vchan::transport::xen::domain_watch::{DomainWatch, ANSWER_TIMEOUT};
use vchan::transport::{EventSet, Role, Tokens};
use vchan_xenstore::{Access, Nodes, Perm, XsClient};

const PATH: &str = "/local/domain/3/data/vchan/4/p";
/// The server's.
const PORT: u32 = 21;

/// One end's watch, and its channel's epoll set.
struct End {
    watch: DomainWatch,
    set: Arc<EventSet>,
    role: Role,
}

impl End {
    fn new(xs: XsClient, own: u16, peer: u16, role: Role) -> End {
        let watch = DomainWatch::over(xs, own, peer, role, PATH, PORT).unwrap();
        let set = Arc::new(EventSet::new().unwrap());
        watch.attach(&set, Tokens { readable: 1, rung: 2 }).unwrap();
        End { watch, set, role }
    }

    fn readable(&self, limit: Duration) -> bool {
        let timeout = EpollTimeout::try_from(limit).unwrap();
        let epoll = Epoll(self.set.as_fd().try_clone_to_owned().unwrap());
        epoll.wait(&mut [EpollEvent::empty()], timeout).unwrap() == 1
    }

    #[track_caller]
    fn assert_quiet(&self) {
        assert!(!self.readable(SHORT), "spurious wake-up");
        assert!(!self.take());
    }

    fn take(&self) -> bool {
        self.watch.take()
    }

    /// The peer's first event, after the one that Xen sends to a client.
    fn take_peer_event(&self) {
        if self.role == Role::Client {
            self.watch.take_event();
        }
        self.watch.take_event();
    }

    /// Events arrive, possibly in parts.
    #[track_caller]
    fn assert_events(&self) {
        let end = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < end && self.readable(LONG), "no watch event");
            if self.take() {
                return;
            }
        }
    }

    /// Takes events until the domain is known to be gone.
    #[track_caller]
    fn assert_detected(&self) {
        let end = Instant::now() + LONG;
        while !self.watch.is_gone() {
            assert!(Instant::now() < end && self.readable(LONG), "the end was not detected");
            self.take();
        }
    }
}

/// A daemon, and dom0's connection to it. Domains 3 and 4 exist, as a toolstack creates them.
fn machine() -> Option<(Xenstored, XsClient)> {
    let daemon = Xenstored::start()?;
    let dom0 = daemon.client();
    make_domain(&dom0, 3);
    make_domain(&dom0, 4);
    Some((daemon, dom0))
}

fn make_domain(dom0: &XsClient, domid: u16) {
    dom0.write(&format!("/local/domain/{domid}/domid"), domid.to_string()).unwrap();
    dom0.mkdir(&format!("/local/domain/{domid}/data")).unwrap();
    dom0.set_perms(&format!("/local/domain/{domid}/data"), Perm::new(domid, Access::None), &[]).unwrap();
}

/// Like `xl destroy`.
fn destroy(daemon: &Xenstored, dom0: &XsClient, domid: u16) {
    dom0.rm(&format!("/local/domain/{domid}")).unwrap();
    daemon.destroy(domid);
}

/// Creates and destroys another domain, whose ID was not used before.
fn create_and_destroy(daemon: &Xenstored, dom0: &XsClient, domid: u16) {
    let releases = daemon.client();
    releases.watch("@releaseDomain", "gone").unwrap();
    assert!(releases.next_event(Some(LONG)).unwrap().is_some());
    drop(daemon.guest(domid));
    make_domain(dom0, domid);
    destroy(daemon, dom0, domid);
    assert!(releases.next_event(Some(LONG)).unwrap().is_some());
}

fn publish(server: &XsClient) {
    server.write(&format!("{PATH}/ring-ref"), "8").unwrap();
    let readers = [Perm::new(4, Access::Read)];
    server.set_perms(&format!("{PATH}/ring-ref"), Perm::new(3, Access::None), &readers).unwrap();
}

const CLIENT_MARK: &str = "/local/domain/4/data/vchan-alive/3/client-21";
const SERVER_MARK: &str = "/local/domain/3/data/vchan-alive/4/server-21";

/// The mark of one end, as this implementation creates it.
fn create_mark(xs: &XsClient, mark: &str) {
    let (owner, peer) = if mark == CLIENT_MARK { (4, 3) } else { (3, 4) };
    xs.write(mark, "1").unwrap();
    xs.set_perms(mark, Perm::new(owner, Access::None), &[Perm::new(peer, Access::Read)]).unwrap();
}

#[test]
fn dom0_detects_only_its_peers_end() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    for (role, other) in [(Role::Server, 8), (Role::Client, 9)] {
        let end = End::new(daemon.client(), 0, 3, role);
        end.assert_quiet();
        create_and_destroy(&daemon, &dom0, other);
        server.write("/local/domain/3/data/anything", "1").unwrap();
        end.take_peer_event();
        end.assert_quiet();
    }
    let ends = [Role::Server, Role::Client].map(|role| End::new(daemon.client(), 0, 3, role));
    destroy(&daemon, &dom0, 3);
    for end in ends {
        end.assert_detected();
        assert!(!end.watch.reset(), "the domain comes back");
    }
}

#[test]
fn dom0_serves_a_domain_created_later() {
    let Some((daemon, dom0)) = machine() else { return };
    let end = End::new(daemon.client(), 0, 5, Role::Server);
    end.assert_quiet();
    let _guest = daemon.guest(5);
    make_domain(&dom0, 5);
    end.assert_quiet();
    end.take_peer_event();
    end.assert_quiet();
    destroy(&daemon, &dom0, 5);
    end.assert_detected();
}

#[test]
fn guest_client_detects_only_its_servers_end() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    end.assert_quiet();
    create_and_destroy(&daemon, &dom0, 8);
    end.take_peer_event();
    end.assert_quiet();
    destroy(&daemon, &dom0, 3);
    end.assert_events();
    assert!(end.watch.is_gone());
}

#[test]
fn guest_client_detects_end_of_silent_server() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    destroy(&daemon, &dom0, 3);
    end.assert_events();
    assert!(!end.watch.is_gone());
    end.assert_detected();
}

#[test]
fn program_can_remove_the_publication() {
    for noticed in [false, true] {
        let Some((daemon, _dom0)) = machine() else { return };
        let server = daemon.guest(3);
        publish(&server);
        let end = End::new(daemon.guest(4), 4, 3, Role::Client);
        server.rm(PATH).unwrap();
        if noticed {
            end.assert_events();
        }
        end.take_peer_event();
        end.take();
        assert!(!end.readable(ANSWER_TIMEOUT + SHORT), "spurious wake-up");
        assert!(!end.watch.is_gone());
    }
}

#[test]
fn event_from_connecting_is_not_the_peers() {
    let Some((daemon, _dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    end.watch.take_event();
    server.rm(PATH).unwrap();
    end.assert_events();
    assert!(!end.watch.is_gone());
    end.watch.take_event();
    assert!(!end.readable(ANSWER_TIMEOUT + SHORT), "spurious wake-up");
}

#[test]
fn guest_client_detects_end_of_a_server_with_a_mark() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    create_mark(&server, SERVER_MARK);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    // The server's next channel at the same path, and the end of that.
    server.write(&format!("{PATH}/ring-ref"), "9").unwrap();
    server.rm(PATH).unwrap();
    create_and_destroy(&daemon, &dom0, 8);
    end.assert_quiet();
    assert!(!end.watch.is_gone());
    destroy(&daemon, &dom0, 3);
    end.assert_detected();
}

#[test]
fn server_program_can_remove_the_publication() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    create_mark(&daemon.guest(4), CLIENT_MARK);
    let end = End::new(server, 3, 4, Role::Server);
    end.take_peer_event();
    dom0.rm(PATH).unwrap();
    end.assert_quiet();
    assert!(!end.watch.is_gone());
}

/// A server of several clients publishes the next channel at the same path, and ends some time.
#[test]
fn publication_can_be_replaced() {
    for with_gap in [false, true] {
        let Some((daemon, _dom0)) = machine() else { return };
        let server = daemon.guest(3);
        publish(&server);
        let end = End::new(daemon.guest(4), 4, 3, Role::Client);
        if with_gap {
            server.rm(PATH).unwrap();
            end.assert_events();
            publish(&server);
        }
        server.write(&format!("{PATH}/ring-ref"), "9").unwrap();
        end.assert_events();
        end.take_peer_event();
        end.take();
        server.rm(PATH).unwrap();
        assert!(!end.readable(ANSWER_TIMEOUT + SHORT), "spurious wake-up");
        assert!(!end.watch.is_gone());
    }
}

#[test]
fn an_end_creates_and_removes_only_its_own_mark() {
    let Some((daemon, dom0)) = machine() else { return };
    let mark = |path| dom0.read_text(path).ok();
    // A guest has one connection here, so the first client has one of dom0's.
    create_mark(&dom0, SERVER_MARK);
    let first = End::new(daemon.client(), 4, 3, Role::Client);
    let second = End::new(daemon.guest(4), 4, 3, Role::Client);
    let first_mark = first.watch.create_mark(5).unwrap().expect("a mark");
    let second_mark = second.watch.create_mark(6).unwrap().expect("a mark");
    drop(first_mark);
    assert_eq!(mark(CLIENT_MARK).as_deref(), Some("6"));
    drop(second_mark);
    assert_eq!(mark(CLIENT_MARK), None);

    dom0.rm(SERVER_MARK).unwrap();
    let server = End::new(daemon.guest(3), 3, 4, Role::Server);
    let server_mark = server.watch.create_mark(PORT).unwrap().expect("a mark");
    assert_eq!(mark(SERVER_MARK).as_deref(), Some("21"));
    drop(server_mark);
    assert_eq!(mark(SERVER_MARK), None);
    // No empty directory is left.
    for domain in [3, 4] {
        let data = dom0.directory(&format!("/local/domain/{domain}/data")).unwrap();
        assert!(data.is_empty(), "{data:?}");
    }
}

#[test]
fn no_mark_is_created_for_a_foreign_server_or_dom0() {
    let Some((daemon, _dom0)) = machine() else { return };
    publish(&daemon.guest(3));
    let client = End::new(daemon.guest(4), 4, 3, Role::Client);
    assert!(client.watch.create_mark(5).unwrap().is_none());
    let dom0 = End::new(daemon.client(), 0, 3, Role::Server);
    assert!(dom0.watch.create_mark(PORT).unwrap().is_none());
}

#[test]
fn guest_server_is_not_woken_by_a_mark() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(server, 3, 4, Role::Server);
    end.assert_quiet();
    let client = daemon.guest(4);
    for (other, last) in [(8, false), (9, true)] {
        create_mark(&client, CLIENT_MARK);
        end.assert_quiet();
        end.take_peer_event();
        end.assert_quiet();
        create_and_destroy(&daemon, &dom0, other);
        end.assert_quiet();
        if last {
            destroy(&daemon, &dom0, 4);
        } else {
            client.rm(CLIENT_MARK).unwrap();
        }
        end.assert_detected();
        assert!(end.watch.reset() && !end.watch.is_gone());
        end.assert_quiet();
    }
}

#[test]
fn client_without_a_mark_is_supported() {
    let Some((daemon, _dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(server, 3, 4, Role::Server);
    end.take_peer_event();
    create_mark(&daemon.guest(4), CLIENT_MARK);
    end.take_peer_event();
    end.assert_quiet();
}

#[test]
fn dead_daemon_wakes_once() {
    let Some((mut daemon, _dom0)) = machine() else { return };
    let end = End::new(daemon.client(), 0, 3, Role::Server);
    daemon.kill();
    end.assert_events();
    end.take_peer_event();
    end.assert_quiet();
    assert!(!end.watch.is_gone());
}
