//! Conversations with a peer that behaves like the historical program, defects included: it may sleep through
//! an event while its ring is full, and it leaves without a clean shutdown.
//!
//! `UNIXCAT_HISTORICAL` selects another build to test against, such as the historical program itself.

mod common;

use std::io::Write;
use std::thread::JoinHandle;

use common::historical::{connect, connect_with};
use common::terminal::Terminal;
use common::*;
use nix::sys::signal::Signal;

/// Feeds `data` from a thread, which returns the still open input.
fn feed(cat: &mut Cat, data: Vec<u8>) -> JoinHandle<std::process::ChildStdin> {
    let mut input = cat.take_input();
    std::thread::spawn(move || {
        input.write_all(&data).unwrap();
        input
    })
}

/// Moves `to_us` and `from_us` bytes, then our side ends the conversation.
#[track_caller]
fn transfer(old_serves: bool, size: &str, to_us: usize, from_us: usize, old_flags: &[&str]) {
    let place = Place::new();
    let (mut old, mut ours) = connect(&place, old_serves, size, old_flags);
    let (there, here) = (noise(to_us, 1), noise(from_us, 2));
    let (old_input, our_input) = (feed(&mut old, there.clone()), feed(&mut ours, here.clone()));
    ours.receive(there);
    old.receive(here);
    let (old_input, our_input) = (old_input.join().unwrap(), our_input.join().unwrap());
    drop(our_input);
    let ours = ours.end();
    assert_eq!((ours.code, ours.last()), (0, "Disconnected."), "{ours:?}");
    drop(old_input);
    // The historical peer's exit is not checked; it must not block the next test.
    drop(old);
}

const MIB: usize = 1 << 20;

#[test]
fn stream_from_it() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", mebibytes() * MIB, 0, &[]);
    }
}

#[test]
fn stream_to_it() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", 0, mebibytes() * MIB, &[]);
    }
}

#[test]
fn both_directions_at_once() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", mebibytes() * MIB, mebibytes() * MIB, &[]);
    }
}

#[test]
fn all_its_wakeups_are_lost() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", 4 * MIB, 0, &["--always-lose-wakeup"]);
        transfer(old_serves, "65536", 4 * MIB, 4 * MIB, &["--always-lose-wakeup"]);
    }
}

#[test]
fn all_ring_sizes() {
    for size in ["1024", "2048", "4096", "262144"] {
        for old_serves in [true, false] {
            transfer(old_serves, size, MIB, MIB, &[]);
        }
    }
}

/// It ends cleanly at EOF: our side, at an idle terminal, gets every byte and ends.
#[test]
fn it_ends_the_conversation() {
    for old_serves in [true, false] {
        let place = Place::new();
        let terminal = Terminal::new();
        let at_terminal = |ours: Setup| ours.stdin(terminal.stdio());
        let (mut old, ours) = connect_with(&place, old_serves, "65536", &["--clean-exit"], at_terminal);
        let data = noise(3 * MIB, 3);
        drop(feed(&mut old, data.clone()).join().unwrap());
        let ours = ours.end();
        assert_eq!((ours.code, ours.last()), (0, "Disconnected."), "{:?}", ours.stderr);
        assert!(ours.stdout == data, "{} of {} bytes", ours.stdout.len(), data.len());
        assert_eq!(old.end().code, 0);
        place.assert_clean();
    }
}

/// It leaves before consuming everything, or before the end of our input.
#[test]
fn it_leaves_early() {
    let zeros = || std::fs::File::open("/dev/zero").unwrap();
    for old_serves in [true, false] {
        let place = Place::new();
        let (mut old, ours) = connect_with(&place, old_serves, "65536", &[], |ours| ours.stdin(zeros()));
        old.receive(vec![0; 1 << 20]);
        old.signal(Signal::SIGINT);
        ours.end().saw_the_peer_leave();
        drop(old);

        let (mut old, ours) = connect(&place, old_serves, "65536", &["--clean-exit"]);
        old.close_input();
        let ours = ours.end();
        let message = "unixcat: conversation: the peer left before the end of standard input; \
                       check the other side's messages";
        assert_eq!(
            (ours.code, ours.last().replace("unixcat-c", "unixcat").as_str()),
            (4, message),
            "{ours:?}"
        );
        assert_eq!(old.end().code, 0);
    }
}

/// Our side ends first: it waits until the peer, which doesn't check the ring again, has consumed everything.
#[test]
fn our_side_ends_the_conversation() {
    for round in 0..10 {
        let place = Place::new();
        let (mut old, mut ours) = connect(&place, round % 2 == 0, "65536", &[]);
        let data = noise(100_000 + round, 4);
        drop(feed(&mut ours, data.clone()).join().unwrap());
        assert_eq!(ours.end().code, 0);
        old.receive(&data);
    }
}

#[test]
fn it_is_killed() {
    for old_serves in [true, false] {
        let place = Place::new();
        let (old, mut ours) = connect(&place, old_serves, "65536", &[]);
        let input = ours.take_input();
        old.signal(Signal::SIGKILL);
        assert_eq!(old.end().code, -9);
        let ours = ours.end();
        assert_eq!(ours.code, 3, "{ours:?}");
        drop(input);
    }
}

/// It consumes nothing while our side gets a signal: our side still ends.
#[test]
fn it_is_stopped_and_our_side_gets_a_signal() {
    for old_serves in [true, false] {
        let place = Place::new();
        let (old, mut ours) = connect(&place, old_serves, "4096", &[]);
        old.signal(Signal::SIGSTOP);
        ours.send(noise(1000, 5));
        ours.signal(Signal::SIGINT);
        assert_eq!(ours.end_within(std::time::Duration::from_secs(10)).code, 0);
        old.signal(Signal::SIGKILL);
    }
}
