//! Conversations with a peer that behaves as the historical program does, its defects included: it may sleep through
//! an event while its ring is full, and it leaves in a disorderly way.
//!
//! `UNIXCAT_HISTORICAL` names another build to be tested against, such as the historical program itself.

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::thread::JoinHandle;

use common::*;
use nix::sys::signal::Signal;

/// The historical peer, built if need be.
fn historical() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os("UNIXCAT_HISTORICAL").map_or_else(build, PathBuf::from)).clone()
}

fn build() -> PathBuf {
    let binaries = PathBuf::from(env!("CARGO_BIN_EXE_unixcat")).parent().unwrap().to_owned();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "old-unixcat", "--manifest-path", manifest]);
    cargo.arg("--target-dir").arg(binaries.parent().unwrap());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success());
    binaries.join("old-unixcat")
}

/// What a client needs in its environment.
fn configuration(line: &str) -> String {
    let value = line.strip_prefix("XEN_CONFIGURATION=\"").expect(line);
    value.strip_suffix("\"; export XEN_CONFIGURATION").expect(line).to_owned()
}

/// Starts ours and the historical peer, both with piped input, and connects them.
fn connect(place: &Place, old_serves: bool, size: &str, old_flags: &[&str]) -> (Cat, Cat) {
    let old = |listen: &[&str]| {
        let args = [listen, old_flags, &["--buffer-size", size, "0", "port"]].concat();
        place.run(historical(), &args).piped()
    };
    let ours = ["--buffer-size", size, "0", "port"];
    let (mut old, mut ours) = if old_serves {
        let mut old = old(&["-l"]).start();
        let line = old.serving();
        (old, place.client(&ours).env("XEN_CONFIGURATION", configuration(&line)).piped().start())
    } else {
        let mut ours = place.server(&ours).piped().start();
        let line = ours.serving();
        (old(&[]).env("XEN_CONFIGURATION", configuration(&line)).start(), ours)
    };
    old.connected();
    ours.connected();
    (old, ours)
}

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

/// It ends its input in order: ours gets every byte, and ends.
#[test]
fn it_ends_the_conversation() {
    for old_serves in [true, false] {
        let place = Place::new();
        let (mut old, ours) = connect(&place, old_serves, "65536", &["--clean-exit"]);
        let data = noise(3 * MIB, 3);
        drop(feed(&mut old, data.clone()).join().unwrap());
        let ours = ours.end();
        assert_eq!((ours.code, ours.last()), (0, "Disconnected."), "{:?}", ours.stderr);
        assert!(ours.stdout == data, "{} of {} bytes", ours.stdout.len(), data.len());
        assert_eq!(old.end().code, 0);
        place.assert_clean();
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
