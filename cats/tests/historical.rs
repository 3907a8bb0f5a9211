//! Conversations with a peer that behaves as the historical program does, its defects included: it may sleep through
//! an event while its ring is full, and it leaves in a disorderly way.
//!
//! `UNIXCAT_HISTORICAL` names another build to be tested against, such as the historical program itself.

mod common;

use std::io::Write;
use std::thread::JoinHandle;

use common::historical::{connect, connect_with};
use common::terminal::Terminal;
use common::*;
use nix::sys::signal::Signal;

/// Feeds `data` from a thread, which gives the open input back.
fn feed(cat: &mut Cat, data: Vec<u8>) -> JoinHandle<std::process::ChildStdin> {
    let mut input = cat.take_input();
    std::thread::spawn(move || {
        input.write_all(&data).unwrap();
        input
    })
}

/// Moves so many bytes each way, then ours ends the conversation.
#[track_caller]
fn transfer(old_serves: bool, size: &str, to_us: usize, from_us: usize, old_flags: &[&str]) {
    let place = Place::new();
    let (mut old, mut ours) = connect(&place, old_serves, size, old_flags);
    let (there, here) = (noise(to_us, 1), noise(from_us, 2));
    let (old_input, our_input) = (feed(&mut old, there.clone()), feed(&mut ours, here.clone()));
    ours.hear(there);
    old.hear(here);
    let (old_input, our_input) = (old_input.join().unwrap(), our_input.join().unwrap());
    drop(our_input);
    let ours = ours.end();
    assert_eq!((ours.code, ours.last()), (0, "Disconnected."), "{ours:?}");
    drop(old_input);
    // How the historical peer ends is its own affair; it must not be in the way of the next.
    drop(old);
}

const MIB: usize = 1 << 20;

#[test]
fn a_stream_from_it() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", mebibytes() * MIB, 0, &[]);
    }
}

#[test]
fn a_stream_to_it() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", 0, mebibytes() * MIB, &[]);
    }
}

#[test]
fn both_at_once() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", mebibytes() * MIB, mebibytes() * MIB, &[]);
    }
}

#[test]
fn its_wake_ups_are_lost_every_time() {
    for old_serves in [true, false] {
        transfer(old_serves, "65536", 4 * MIB, 0, &["--always-lose-wakeup"]);
        transfer(old_serves, "65536", 4 * MIB, 4 * MIB, &["--always-lose-wakeup"]);
    }
}

#[test]
fn all_sizes_of_rings() {
    for size in ["1024", "2048", "4096", "262144"] {
        for old_serves in [true, false] {
            transfer(old_serves, size, MIB, MIB, &[]);
        }
    }
}

/// It ends its input in order: ours, at a terminal where nobody has typed anything more, gets every byte, and ends.
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

/// It leaves before it has taken everything, or before the end of the input of ours.
#[test]
fn it_leaves_early() {
    let zeros = || std::fs::File::open("/dev/zero").unwrap();
    for old_serves in [true, false] {
        let place = Place::new();
        let (mut old, ours) = connect_with(&place, old_serves, "65536", &[], |ours| ours.stdin(zeros()));
        old.hear(vec![0; 1 << 20]);
        old.signal(Signal::SIGINT);
        ours.end().saw_the_peer_leave();
        drop(old);

        let (mut old, ours) = connect(&place, old_serves, "65536", &["--clean-exit"]);
        old.close_input();
        let ours = ours.end();
        let complaint = "unixcat: conversation: the peer left before the end of standard input; see what the other side says";
        assert_eq!(
            (ours.code, ours.last().replace("unixcat-c", "unixcat").as_str()),
            (4, complaint),
            "{ours:?}"
        );
        assert_eq!(old.end().code, 0);
    }
}

/// Ours ends first: it waits until the other, who doesn't look at the ring again, has taken everything.
#[test]
fn ours_ends_the_conversation() {
    for round in 0..10 {
        let place = Place::new();
        let (mut old, mut ours) = connect(&place, round % 2 == 0, "65536", &[]);
        let data = noise(100_000 + round, 4);
        drop(feed(&mut ours, data.clone()).join().unwrap());
        assert_eq!(ours.end().code, 0);
        old.hear(&data);
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

/// It doesn't take anything in while ours is told to go: ours goes all the same.
#[test]
fn it_is_stopped_and_ours_is_told_to_go() {
    for old_serves in [true, false] {
        let place = Place::new();
        let (old, mut ours) = connect(&place, old_serves, "4096", &[]);
        old.signal(Signal::SIGSTOP);
        ours.say(noise(1000, 5));
        ours.signal(Signal::SIGINT);
        assert_eq!(ours.end_within(std::time::Duration::from_secs(10)).code, 0);
        old.signal(Signal::SIGKILL);
    }
}
