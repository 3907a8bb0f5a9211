//! A peer that writes arbitrary values into the shared memory.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vchan::ring::{Corrupt, Field};
use vchan::{Error, State, Vchan};

use crate::raw::*;
use crate::support::{accept, client, inner, rounds, server, spawn, wait_until_asleep, Random, LONG};
use crate::world::World;

const SIZE: u32 = 65536;

/// A server of ours with a raw client, or a client of ours with a raw server.
fn victim(world: &dyn World, serves: bool) -> (Vchan, Raw) {
    if serves {
        let listening = server(world).open().expect("listen");
        let raw = Raw::client(world);
        raw.announce();
        (accept(listening, Some(LONG)).expect("accept"), raw)
    } else {
        let raw = Raw::server(world, 16, 16);
        let victim = client(world).connect().expect("connect");
        raw.take_events();
        (victim, raw)
    }
}

/// Every call fails with the expected error.
fn assert_poisoned(victim: &mut Vchan, expected: Corrupt) {
    let is_corrupt = |what: &str, error: Error| match error {
        Error::Corrupt(corrupt) => assert_eq!(corrupt, expected, "{what}"),
        other => panic!("{what}: {other}"),
    };
    let io = |error: std::io::Error| inner(&error).to_string();
    let text = Error::from(expected).to_string();
    for nonblocking in [false, true] {
        victim.set_nonblocking(nonblocking);
        assert_eq!(io(victim.read(&mut [0; 9]).expect_err("read")), text);
        assert_eq!(io(victim.write(&[0; 9]).expect_err("write")), text);
        is_corrupt("recv", victim.recv(&mut [0; 9]).expect_err("recv"));
        is_corrupt("send", victim.send(&[0; 9]).expect_err("send"));
    }
    is_corrupt("data_ready", victim.data_ready().expect_err("data_ready"));
    is_corrupt("buffer_space", victim.buffer_space().expect_err("buffer_space"));
    is_corrupt("state", victim.state().expect_err("state"));
    is_corrupt("wait", victim.wait(Some(LONG)).expect_err("wait"));
    assert!(text.contains(expected.field.name()) && text.contains(&expected.value.to_string()), "{text}");
}

pub fn invalid_indices(world: &dyn World) {
    for serves in [true, false] {
        let (read, written) = if serves {
            ((LEFT_PROD, Field::LeftProd), (RIGHT_CONS, Field::RightCons))
        } else {
            ((RIGHT_PROD, Field::RightProd), (LEFT_CONS, Field::LeftCons))
        };
        for (offset, field) in [read, written] {
            for value in [SIZE + 1, u32::MAX / 2, u32::MAX - 70_000] {
                let (mut victim, raw) = victim(world, serves);
                raw.u32(offset).store(value, Ordering::SeqCst);
                let first = if field == read.1 { victim.data_ready() } else { victim.buffer_space() };
                assert!(matches!(first, Err(Error::Corrupt(_))), "{first:?}");
                // The failure is permanent.
                raw.u32(offset).store(0, Ordering::SeqCst);
                assert_poisoned(&mut victim, Corrupt { field, value });
            }
        }
        // A sleeping call fails when it wakes up.
        for (write, (offset, field)) in [(false, read), (true, written)] {
            let (mut victim, raw) = victim(world, serves);
            let thread = spawn("blocked", move || {
                let result = if write { victim.write_all(&[0; 70_000]) } else { victim.read_exact(&mut [0]) };
                (result.expect_err("corrupt"), victim)
            });
            wait_until_asleep("blocked");
            raw.u32(offset).store(SIZE + 77_777, Ordering::SeqCst);
            raw.send_event();
            let (error, mut victim) = thread.join().expect("the thread");
            assert_eq!(inner(&error).errno(), libc::EPROTO);
            assert_poisoned(&mut victim, Corrupt { field, value: SIZE + 77_777 });
        }
    }
}

pub fn invalid_live_bytes(world: &dyn World) {
    for (serves, offset, field) in [(true, CLI_LIVE, Field::CliLive), (false, SRV_LIVE, Field::SrvLive)] {
        for value in [2u8, 3, 255] {
            let (mut victim, raw) = victim(world, serves);
            raw.u8(offset).store(value, Ordering::SeqCst);
            raw.send_event();
            let error = victim.read(&mut [0; 4]).expect_err("corrupt");
            assert_eq!(inner(&error).errno(), libc::EPROTO);
            raw.u8(offset).store(1, Ordering::SeqCst);
            assert_poisoned(&mut victim, Corrupt { field, value: value.into() });
        }
        // A peer that has left cannot become one that has not connected yet.
        let (mut victim, raw) = victim(world, serves);
        raw.u8(offset).store(0, Ordering::SeqCst);
        assert_eq!(victim.read(&mut [0; 4]).expect("the end"), 0);
        raw.u8(offset).store(2, Ordering::SeqCst);
        assert!(matches!(victim.state(), Err(Error::Corrupt(_))));
    }
    let listening = server(world).open().expect("listen");
    let raw = Raw::client(world);
    raw.u8(CLI_LIVE).store(9, Ordering::SeqCst);
    raw.send_event();
    let error = accept(listening, Some(LONG)).expect_err("corrupt");
    assert_eq!(error.to_string(), "the shared memory is corrupt: cli_live is 9");
}

pub fn invalid_orders(world: &dyn World) {
    use Field::{LeftOrder, RightOrder};
    for (left, right, field, value) in [
        (9, 16, LeftOrder, 9),
        (16, 21, RightOrder, 21),
        (0, 0, LeftOrder, 0),
        (65535, 16, LeftOrder, 65535),
        (16, 32768 + 16, RightOrder, 32784),
        (10, 10, RightOrder, 10),
        (11, 11, RightOrder, 11),
    ] {
        let raw = Raw::server(world, left, right);
        match client(world).connect() {
            Err(Error::Corrupt(corrupt)) => assert_eq!(corrupt, Corrupt { field, value }),
            other => panic!("{other:?}"),
        }
        drop(raw);
    }
    // Grants that are not shared.
    let raw = Raw::server(world, 16, 16);
    raw.u32(24).store(0xFFFF_FFF0, Ordering::SeqCst);
    client(world).connect().expect_err("no such grants");
}

/// Once connected, orders and grants are never read again.
pub fn own_indices_overwritten(world: &dyn World) {
    for serves in [true, false] {
        let (mut victim, raw) = victim(world, serves);
        for offset in [LEFT_ORDER, RIGHT_ORDER] {
            raw.u16(offset).store(0xFFFF, Ordering::SeqCst);
        }
        for n in 0..40 {
            raw.u32(24 + 4 * n).store(0xAAAA_AAAA, Ordering::SeqCst);
        }
        let (own_prod, own_cons) = if serves { (RIGHT_PROD, LEFT_CONS) } else { (LEFT_PROD, RIGHT_CONS) };
        victim.write_all(b"ten bytes!").expect("write");
        raw.write(b"ten bytes!");
        victim.recv(&mut [0; 5]).expect("recv");
        for value in [1, 0x8000_0000, u32::MAX] {
            raw.u32(own_prod).store(value, Ordering::SeqCst);
            raw.u32(own_cons).store(value, Ordering::SeqCst);
            assert_eq!(victim.buffer_space().expect("space"), SIZE as usize - 10);
            assert_eq!(victim.data_ready().expect("data"), 5);
        }
        victim.write_all(b"more").expect("write");
        let mut text = [0; 5];
        victim.recv(&mut text).expect("recv");
        assert_eq!(&text, b"ytes!");
        assert_eq!(raw.u32(own_prod).load(Ordering::SeqCst), 14);
        assert_eq!(raw.u32(own_cons).load(Ordering::SeqCst), 10);
        // The own live byte can be overwritten, too; only the peer would see an end.
        assert_eq!(victim.state().expect("state"), State::Connected);
    }
}

/// Random writes and events: each call returns success or a documented error.
pub fn random_writes_everywhere(world: &dyn World) {
    for round in 0..rounds(120) as u64 {
        let (mut victim, raw) = victim(world, round % 2 == 0);
        victim.set_timeout(Some(Duration::from_millis(5)));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(round);
                while !stop.load(Ordering::Relaxed) {
                    spoil(&raw, &mut random);
                }
            });
            let mut random = Random::new(round + 1000);
            for _ in 0..30 {
                if let Err(error) = any_call(&mut victim, &mut random) {
                    let known = matches!(
                        error,
                        Error::Corrupt(_)
                            | Error::PeerClosed
                            | Error::PeerFinished
                            | Error::PeerAborted
                            | Error::PeerDied
                            | Error::TimedOut(_)
                            | Error::WouldBlock
                            | Error::PacketTooLarge { .. }
                    );
                    assert!(known, "round {round}: {error}");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

fn spoil(raw: &Raw, random: &mut Random) {
    let value = random.next();
    match random.below(8) {
        0..=2 => raw.u32(4 * random.below(4)).store((value % 131_072) as u32, Ordering::Relaxed),
        3 => raw.u32(4 * random.below(1024)).store(value as u32, Ordering::Relaxed),
        4 => raw.u8(20 + random.below(2)).store((value % 5) as u8, Ordering::Relaxed),
        5 => raw.u8(22 + random.below(2)).store(value as u8, Ordering::Relaxed),
        6 => raw.u8(random.below(24)).store(value as u8, Ordering::Relaxed),
        _ => raw.send_event(),
    }
}

fn any_call(victim: &mut Vchan, random: &mut Random) -> vchan::Result<()> {
    let mut buffer = vec![0; random.below(100_000)];
    let from_io =
        |error: std::io::Error| *error.into_inner().expect("an inner error").downcast().expect("ours");
    victim.set_nonblocking(random.below(3) == 0);
    match random.below(7) {
        0 => victim.read(&mut buffer).map(drop).map_err(from_io),
        1 => victim.write(&buffer).map(drop).map_err(from_io),
        2 => victim.send(&buffer),
        3 => victim.recv(&mut buffer),
        4 => victim.wait(Some(Duration::from_millis(1))),
        5 => victim.buffer_space().and_then(|_| victim.data_ready()).map(drop),
        _ => victim.state().map(drop),
    }
}
