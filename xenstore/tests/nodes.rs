//! The client against the real xenstored: nodes, permissions, transactions.

mod support {
    pub mod xenstored;
}

use nix::{
    sys::signal::{kill, Signal},
    unistd::Pid,
};
use support::xenstored::{Xenstored, LONG, SHORT};
use vchan_xenstore::{Access, Nodes, Perm, Transaction, XsClient, XsError, PAYLOAD_MAX};

fn errno<T: std::fmt::Debug>(result: Result<T, XsError>) -> i32 {
    let error = result.unwrap_err();
    assert!(error.path().is_some() && error.operation().is_some(), "{error:?}");
    error.errno()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn nodes_are_created_read_listed_and_removed() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();

    assert_eq!(errno(xs.read("/a/b")), libc::ENOENT);
    assert_eq!(errno(xs.directory("/a")), libc::ENOENT);
    assert_eq!(errno(xs.rm("/a/b/c")), libc::ENOENT);

    xs.write("/a/b", "value").unwrap();
    xs.mkdir("/a/empty").unwrap();
    xs.mkdir("/a/empty").unwrap();
    assert_eq!(xs.read("/a/b").unwrap(), b"value");
    assert_eq!(xs.read("/a").unwrap(), b"");
    assert_eq!(sorted(xs.directory("/a").unwrap()), ["b", "empty"]);
    assert_eq!(xs.directory("/a/empty").unwrap(), [""; 0]);

    xs.write("/a/b", b"\0binary\xff").unwrap();
    assert_eq!(xs.read("/a/b").unwrap(), b"\0binary\xff");
    assert!(matches!(xs.read_text("/a/b"), Err(XsError::BadValue { .. })));

    xs.rm("/a").unwrap();
    assert_eq!(errno(xs.read("/a/b")), libc::ENOENT);
    xs.rm("/a").unwrap();
}

#[test]
fn invalid_requests_are_not_sent() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    let room = PAYLOAD_MAX - "/x\0".len();
    assert_eq!(errno(xs.write("/x", vec![b'v'; room + 1])), libc::EINVAL);
    assert_eq!(errno(xs.write(&format!("/{}", "p".repeat(3072)), "")), libc::EINVAL);
    assert_eq!(errno(xs.read(&"p".repeat(2049))), libc::EINVAL);
    for bad in ["/a.b", "/a//b", "/a/", "", "/a b"] {
        assert!(matches!(xs.read(bad), Err(XsError::Invalid { .. })), "{bad:?}");
    }
    // The daemon's own limit for absolute paths is below the protocol's.
    assert!(matches!(xs.read(&format!("/{}", "p".repeat(3000))), Err(XsError::Refused { .. })));
    assert_eq!(errno(xs.read("/x")), libc::ENOENT);
}

#[test]
fn relative_paths_are_below_the_domains_home() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    assert_eq!(errno(xs.own_domid()), libc::ENOENT);
    xs.write("/local/domain/0/domid", "0").unwrap();
    assert_eq!(xs.own_domid().unwrap(), 0);
    xs.write("data/vchan/3/port", "here").unwrap();
    assert_eq!(xs.read("/local/domain/0/data/vchan/3/port").unwrap(), b"here");
    assert_eq!(xs.domain_path(7).unwrap(), "/local/domain/7");

    xs.write("/local/domain/7/domid", "7").unwrap();
    xs.set_perms("/local/domain/7/domid", Perm::new(0, Access::None), &[Perm::new(7, Access::Read)]).unwrap();
    assert_eq!(daemon.guest(7).own_domid().unwrap(), 7);
}

#[test]
fn permissions_are_set_read_and_enforced() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    let guest = daemon.guest(7);
    let (owner, reader) = (Perm::new(0, Access::None), Perm::new(7, Access::Read));

    xs.write("/node", "secret").unwrap();
    assert_eq!(xs.get_perms("/node").unwrap(), [owner]);
    let refused = guest.read("/node").unwrap_err();
    assert_eq!(refused.errno(), libc::EACCES);
    assert!(refused.is_not_yet());

    xs.set_perms("/node", owner, &[reader]).unwrap();
    assert_eq!(xs.get_perms("/node").unwrap(), [owner, reader]);
    assert_eq!(guest.read("/node").unwrap(), b"secret");
    assert_eq!(errno(guest.write("/node", "mine")), libc::EACCES);
    assert_eq!(errno(guest.set_perms("/node", reader, &[])), libc::EACCES);
    assert_eq!(errno(guest.write("/other", "x")), libc::EACCES);
    assert_eq!(errno(daemon.guest(8).read("/node")), libc::EACCES);

    // A guest publishes a node below its own directory for another domain.
    xs.mkdir("/local/domain/7/data").unwrap();
    let (owner, peer) = (Perm::new(7, Access::None), Perm::new(9, Access::Read));
    xs.set_perms("/local/domain/7/data", owner, &[]).unwrap();
    guest
        .transaction(|t| {
            t.write("data/vchan/9/port/ring-ref", "8")?;
            t.set_perms("data/vchan/9/port/ring-ref", owner, &[peer])
        })
        .unwrap();
    let peer = daemon.guest(9);
    assert_eq!(peer.read_number::<u32>("/local/domain/7/data/vchan/9/port/ring-ref").unwrap(), 8);
    assert_eq!(errno(peer.rm("/local/domain/7/data/vchan/9/port/ring-ref")), libc::EACCES);
}

#[test]
fn commit_makes_changes_visible() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, other) = (daemon.client(), daemon.client());

    let transaction = xs.begin().unwrap();
    transaction.write("/t/x", "1").unwrap();
    assert_eq!(transaction.read("/t/x").unwrap(), b"1");
    assert_eq!(errno(other.read("/t/x")), libc::ENOENT);
    transaction.commit().unwrap();
    assert_eq!(other.read("/t/x").unwrap(), b"1");

    let transaction = xs.begin().unwrap();
    transaction.rm("/t").unwrap();
    transaction.abort().unwrap();
    let transaction = xs.begin().unwrap();
    transaction.rm("/t").unwrap();
    drop(transaction);
    assert_eq!(other.read("/t/x").unwrap(), b"1");

    let failed = xs.transaction(|t| {
        t.write("/t/x", "2")?;
        t.read("/absent").map(drop)
    });
    assert_eq!(errno(failed), libc::ENOENT);
    assert_eq!(other.read("/t/x").unwrap(), b"1");
}

#[test]
fn dropped_transactions_free_the_quota() {
    let Some(daemon) = Xenstored::start() else { return };
    let guest = daemon.guest(7);
    for _ in 0..50 {
        drop(guest.begin().unwrap());
    }
    let open: Result<Vec<Transaction<'_>>, XsError> = (0..50).map(|_| guest.begin()).collect();
    assert_eq!(errno(open), libc::ENOSPC);
}

#[test]
fn conflict_is_eagain_and_repeated() {
    let Some(daemon) = Xenstored::start() else { return };
    let (xs, other) = (daemon.client(), daemon.client());
    xs.write("/counter", "1").unwrap();

    let transaction = xs.begin().unwrap();
    transaction.read("/counter").unwrap();
    transaction.write("/counter", "2").unwrap();
    other.write("/counter", "10").unwrap();
    let conflict = transaction.commit().unwrap_err();
    assert!(conflict.refused_with(libc::EAGAIN), "{conflict:?}");
    assert_eq!(xs.read("/counter").unwrap(), b"10");

    let mut runs = 0;
    let seen = xs.transaction(|t| {
        runs += 1;
        let seen: u32 = t.read_number("/counter")?;
        if runs < 3 {
            other.write("/counter", (seen + 10).to_string())?;
        }
        t.write("/counter", (seen + 1).to_string())?;
        Ok(seen)
    });
    assert_eq!((runs, seen.unwrap()), (3, 30));
    assert_eq!(xs.read("/counter").unwrap(), b"31");

    let endless = xs.transaction(|t| {
        let seen: u32 = t.read_number("/counter")?;
        other.write("/counter", (seen + 1).to_string())?;
        t.write("/counter", "0")
    });
    assert!(matches!(&endless, Err(XsError::Conflict { .. })), "{endless:?}");
    assert_eq!(errno(endless), libc::EAGAIN);
}

#[test]
fn competing_transactions_lose_no_change() {
    const ROUNDS: u32 = 30;
    let Some(daemon) = Xenstored::start() else { return };
    let clients = [daemon.client(), daemon.client()];
    clients[0].write("/counter", "0").unwrap();
    let count = |xs: &XsClient| {
        for _ in 0..ROUNDS {
            xs.transaction(|t| {
                let seen: u32 = t.read_number("/counter")?;
                t.write("/counter", (seen + 1).to_string())
            })
            .unwrap();
        }
    };
    std::thread::scope(|scope| {
        for xs in &clients {
            scope.spawn(|| count(xs));
        }
    });
    assert_eq!(clients[0].read_number::<u32>("/counter").unwrap(), 2 * ROUNDS);
}

#[test]
fn one_client_serves_several_threads() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let xs = &xs;
            scope.spawn(move || {
                for round in 0..50 {
                    let (path, value) = (format!("/threads/{thread}"), format!("{thread}-{round}"));
                    xs.write(&path, &value).unwrap();
                    assert_eq!(xs.read_text(&path).unwrap(), value);
                }
            });
        }
    });
}

#[test]
fn only_an_empty_directory_is_removed() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    xs.write("/dir/child", "").unwrap();
    assert!(!xs.remove_if_empty("/dir").unwrap());
    xs.rm("/dir/child").unwrap();
    assert!(xs.remove_if_empty("/dir").unwrap());
    assert_eq!(errno(xs.directory("/dir")), libc::ENOENT);
    assert_eq!(errno(xs.remove_if_empty("/dir")), libc::ENOENT);
}

#[test]
fn long_directory_is_listed_in_parts() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    let names: Vec<String> = (0..900).map(|i| format!("a-child-with-a-long-name-{i:04}")).collect();
    for name in &names {
        xs.mkdir(&format!("/long/{name}")).unwrap();
    }
    assert_eq!(sorted(xs.directory("/long").unwrap()), names);
    assert!(!xs.remove_if_empty("/long").unwrap());
}

#[test]
fn stopped_daemon_times_out() {
    let Some(daemon) = Xenstored::start() else { return };
    let xs = daemon.client().with_timeout(SHORT);
    kill(Pid::from_raw(daemon.pid()), Signal::SIGSTOP).unwrap();
    assert_eq!(errno(xs.read("/a")), libc::ETIMEDOUT);
    assert!(matches!(xs.read("/a"), Err(XsError::Closed { .. })));
}

#[test]
fn killed_daemon_is_an_error() {
    let Some(mut daemon) = Xenstored::start() else { return };
    let xs = daemon.client();
    xs.watch("/a", "t").unwrap();
    assert!(xs.next_event(Some(LONG)).unwrap().is_some());
    daemon.kill();
    assert!(matches!(xs.next_event(Some(LONG)), Err(XsError::Connection { .. })));
    assert!(matches!(xs.read("/a"), Err(XsError::Closed { .. })));
}
