//! Each system call of the client fails in turn, with the real xenstored at the other end.

mod support {
    #[path = "../../../tests/support/inject.rs"]
    pub mod inject;
    pub mod xenstored;
}

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use support::inject::Injector;
use support::xenstored::{Xenstored, LONG};
use vchan_xenstore::{Nodes, XsClient, XsError};

/// The system call behind the C library's poll: newer architectures only have ppoll.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
const POLL: libc::c_long = libc::SYS_poll;
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm")))]
const POLL: libc::c_long = libc::SYS_ppoll;

/// The system calls, and the errors of each.
const KINDS: [(libc::c_long, &str, &[i32]); 11] = [
    (libc::SYS_statx, "statx", &[libc::EACCES, libc::EIO]),
    (libc::SYS_socket, "socket", &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS]),
    (libc::SYS_connect, "connect", &[libc::ECONNREFUSED, libc::EACCES, libc::EINTR, libc::EAGAIN]),
    (libc::SYS_sendto, "sendto", &[libc::EPIPE, libc::ENOBUFS, libc::EINTR, libc::EAGAIN]),
    (libc::SYS_read, "read", &[libc::EIO, libc::ECONNRESET, libc::EINTR, libc::EAGAIN]),
    (libc::SYS_write, "write", &[libc::EIO, libc::EINTR]),
    (POLL, "poll", &[libc::ENOMEM, libc::EINTR]),
    (libc::SYS_eventfd2, "eventfd2", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    (libc::SYS_epoll_create1, "epoll_create1", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    (libc::SYS_epoll_ctl, "epoll_ctl", &[libc::ENOMEM, libc::ENOSPC]),
    (libc::SYS_close, "close", &[libc::EIO, libc::EINTR]),
];

/// Other system calls: pauses, and the standard library's check of descriptors before closing.
const HARMLESS: [libc::c_long; 2] = [libc::SYS_clock_nanosleep, libc::SYS_fcntl];

/// The requests of a channel.
fn work(xs: &XsClient) -> Result<(), XsError> {
    xs.write("/faults/a", "1")?;
    assert_eq!(xs.read("/faults/a")?, b"1");
    xs.watch("/faults", "token")?;
    assert_eq!(xs.next_event(Some(LONG))?.expect("the first event").token, "token");
    xs.transaction(|transaction| {
        transaction.write("/faults/b", "2")?;
        transaction.read("/faults/b")
    })?;
    assert_eq!(xs.directory("/faults")?.len(), 2);
    xs.unwatch("/faults", "token")?;
    xs.rm("/faults")
}

fn session(socket: &Path) -> Result<(), XsError> {
    let xs = XsClient::connect(socket)?.with_timeout(LONG);
    work(&xs).inspect_err(|_| match xs.read("/") {
        // A late reply to an earlier request is not taken for this one.
        Ok(value) => assert_eq!(value, b""),
        Err(error) => assert!(matches!(error, XsError::Closed { .. }), "{error}"),
    })
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn each_system_call_fails_in_turn() {
    let Some(daemon) = Xenstored::start() else { return };
    let injector = match Injector::load() {
        Ok(injector) => injector,
        Err(reason) => {
            let line = format!("SKIPPED each_system_call_fails_in_turn: {reason}\n");
            return std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    };
    let socket = daemon.socket();
    let (result, counts) = injector.count(|| session(&socket));
    result.unwrap();
    let before = descriptors();
    let mut table = BTreeMap::new();
    for (nr, _) in &counts {
        let known = KINDS.iter().any(|kind| kind.0 == *nr) || HARMLESS.contains(nr);
        assert!(known, "system call {nr} is made, and no errors for it are listed");
    }
    for (nr, name, errors) in &KINDS {
        // The number of waits depends on the daemon.
        let count = counts.iter().find(|counted| counted.0 == *nr).map_or(0, |counted| counted.1).max(2);
        for (nth, &error) in (1..=count).flat_map(|nth| errors.iter().map(move |error| (nth, error))) {
            let Some(result) = injector.fail(*nr, nth, error, || session(&socket)) else { continue };
            let tally: &mut (u32, u32) = table.entry(name).or_default();
            match result {
                Ok(()) => tally.1 += 1,
                Err(failed) => {
                    tally.0 += 1;
                    assert_eq!(failed.errno(), error, "{name} no. {nth}: {failed}");
                }
            }
            assert_eq!(descriptors(), before, "{name} no. {nth} with errno {error} leaves descriptors");
            // The daemon still serves.
            let xs = daemon.client();
            if let Err(error) = xs.rm("/faults") {
                assert_eq!(error.errno(), libc::ENOENT, "{error}");
            }
        }
    }
    println!("Xenstore client: system call: failed with the same errno, succeeded");
    for (name, (failed, succeeded)) in &table {
        println!("  {name}: {failed}, {succeeded}");
    }
    let tried: u32 = table.values().map(|(failed, succeeded)| failed + succeeded).sum();
    assert!(tried > 80, "only {tried} system calls were made to fail: does this test still work?");
}
