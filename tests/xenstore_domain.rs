//! How an end of a channel hears of the end of its peer's domain, and of nothing else, from the real xenstored.

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

/// One end's watch, and what its channel polls.
struct End {
    watch: DomainWatch,
    set: Arc<EventSet>,
    role: Role,
}

impl End {
    fn new(xs: XsClient, own: u16, peer: u16, role: Role) -> End {
        let watch = DomainWatch::over(xs, own, peer, role, PATH).unwrap();
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
        assert!(!self.readable(SHORT), "woken for nothing");
        assert!(!self.take());
    }

    fn take(&self) -> bool {
        self.watch.take()
    }

    /// The peer's first event, after the one that Xen sends to a client.
    fn take_peers_event(&self) {
        if self.role == Role::Client {
            self.watch.take_event();
        }
        self.watch.take_event();
    }

    /// There is something to take; it may come in parts.
    #[track_caller]
    fn assert_news(&self) {
        let end = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < end && self.readable(LONG), "no news");
            if self.take() {
                return;
            }
        }
    }

    /// Takes what comes until the domain is seen to have gone.
    #[track_caller]
    fn assert_told(&self) {
        let end = Instant::now() + LONG;
        while !self.watch.is_gone() {
            assert!(Instant::now() < end && self.readable(LONG), "never told");
            self.take();
        }
    }
}

/// A daemon, and dom0's connection to it. Domain 3 is there, as a toolstack makes it.
fn machine() -> Option<(Xenstored, XsClient)> {
    let daemon = Xenstored::start()?;
    let dom0 = daemon.client();
    make_domain(&dom0, 3);
    Some((daemon, dom0))
}

fn make_domain(dom0: &XsClient, domid: u16) {
    dom0.write(&format!("/local/domain/{domid}/domid"), domid.to_string()).unwrap();
    dom0.mkdir(&format!("/local/domain/{domid}/data")).unwrap();
    dom0.set_perms(&format!("/local/domain/{domid}/data"), Perm::new(domid, Access::None), &[]).unwrap();
}

/// As `xl destroy` does it.
fn destroy(daemon: &Xenstored, dom0: &XsClient, domid: u16) {
    dom0.rm(&format!("/local/domain/{domid}")).unwrap();
    daemon.destroy(domid);
}

/// Another domain comes and goes; none of that number has been there before.
fn pass_by(daemon: &Xenstored, dom0: &XsClient, domid: u16) {
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
    server.mkdir(&format!("{PATH}/client")).unwrap();
    let writers = [Perm::new(4, Access::Write)];
    server.set_perms(&format!("{PATH}/client"), Perm::new(3, Access::None), &writers).unwrap();
}

fn leave_mark(client: &XsClient) {
    let mark = format!("{PATH}/client/alive");
    client.write(&mark, "1").unwrap();
    client.set_perms(&mark, Perm::new(4, Access::None), &[Perm::new(3, Access::Read)]).unwrap();
}

#[test]
fn dom0_hears_of_its_peer_only() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    for (role, other) in [(Role::Server, 8), (Role::Client, 9)] {
        let end = End::new(daemon.client(), 0, 3, role);
        end.assert_quiet();
        pass_by(&daemon, &dom0, other);
        server.write("/local/domain/3/data/anything", "1").unwrap();
        end.take_peers_event();
        end.assert_quiet();
    }
    let ends = [Role::Server, Role::Client].map(|role| End::new(daemon.client(), 0, 3, role));
    destroy(&daemon, &dom0, 3);
    for end in ends {
        end.assert_told();
        assert!(!end.watch.reset(), "the domain comes back");
    }
}

#[test]
fn dom0_serves_a_domain_that_comes_later() {
    let Some((daemon, dom0)) = machine() else { return };
    let end = End::new(daemon.client(), 0, 5, Role::Server);
    end.assert_quiet();
    let _guest = daemon.guest(5);
    make_domain(&dom0, 5);
    end.assert_quiet();
    end.take_peers_event();
    end.assert_quiet();
    destroy(&daemon, &dom0, 5);
    end.assert_told();
}

#[test]
fn a_guests_client_hears_of_its_server_only() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    end.assert_quiet();
    pass_by(&daemon, &dom0, 8);
    end.take_peers_event();
    end.assert_quiet();
    destroy(&daemon, &dom0, 3);
    end.assert_news();
    assert!(end.watch.is_gone());
}

#[test]
fn a_guests_client_hears_of_a_server_that_kept_silence() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    destroy(&daemon, &dom0, 3);
    end.assert_news();
    assert!(!end.watch.is_gone());
    end.assert_told();
}

#[test]
fn a_program_may_remove_what_was_published() {
    for noticed in [false, true] {
        let Some((daemon, _dom0)) = machine() else { return };
        let server = daemon.guest(3);
        publish(&server);
        let end = End::new(daemon.guest(4), 4, 3, Role::Client);
        server.rm(PATH).unwrap();
        if noticed {
            end.assert_news();
        }
        end.take_peers_event();
        end.take();
        assert!(!end.readable(ANSWER_TIMEOUT + SHORT), "woken for nothing");
        assert!(!end.watch.is_gone());
    }
}

#[test]
fn xens_event_on_connecting_is_none_of_the_peers() {
    let Some((daemon, _dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(daemon.guest(4), 4, 3, Role::Client);
    end.watch.take_event();
    server.rm(PATH).unwrap();
    end.assert_news();
    assert!(!end.watch.is_gone());
    end.watch.take_event();
    assert!(!end.readable(ANSWER_TIMEOUT + SHORT), "woken for nothing");
}

#[test]
fn a_servers_program_may_remove_what_was_published() {
    let Some((daemon, _dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    leave_mark(&daemon.guest(4));
    let end = End::new(server, 3, 4, Role::Server);
    end.take_peers_event();
    daemon.client().rm(PATH).unwrap();
    end.assert_news();
    end.assert_quiet();
    assert!(!end.watch.is_gone());
}

#[test]
fn a_guests_server_is_not_woken_by_a_mark() {
    let Some((daemon, dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(server, 3, 4, Role::Server);
    end.assert_quiet();
    let client = daemon.guest(4);
    for (other, last) in [(8, false), (9, true)] {
        leave_mark(&client);
        end.assert_quiet();
        end.take_peers_event();
        end.assert_quiet();
        pass_by(&daemon, &dom0, other);
        end.assert_quiet();
        if last {
            daemon.destroy(4);
        } else {
            client.rm(&format!("{PATH}/client/alive")).unwrap();
        }
        end.assert_told();
        assert!(end.watch.reset() && !end.watch.is_gone());
        end.assert_quiet();
    }
}

#[test]
fn a_client_without_a_mark_is_done_without() {
    let Some((daemon, _dom0)) = machine() else { return };
    let server = daemon.guest(3);
    publish(&server);
    let end = End::new(server, 3, 4, Role::Server);
    end.take_peers_event();
    leave_mark(&daemon.guest(4));
    end.take_peers_event();
    end.assert_quiet();
}

#[test]
fn a_daemon_that_has_gone_wakes_once() {
    let Some((mut daemon, _dom0)) = machine() else { return };
    let end = End::new(daemon.client(), 0, 3, Role::Server);
    daemon.kill();
    end.assert_news();
    end.take_peers_event();
    end.assert_quiet();
    assert!(!end.watch.is_gone());
}
