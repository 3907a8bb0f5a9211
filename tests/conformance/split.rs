//! Two threads of one channel, both blocked on its one event channel: neither may swallow the other's
//! wake-up.
//!
//! The channels of this suite send no nudges, so a lost wake-up is not repaired, and causes a timeout.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use vchan::unstable::Internals;
use vchan::Vchan;

use crate::support::{client, connect, pair, pair_without_spinning, rounds, server, spawn, Random, LONG};
use crate::world::World;

const RING: usize = 1024;

pub fn both_halves_block_at_once(world: &dyn World) {
    wake_one_or_the_other(pair(world, RING), rounds(4000));
}

pub fn both_halves_block_at_once_without_spinning(world: &dyn World) {
    wake_one_or_the_other(pair_without_spinning(world, RING), rounds(4000));
    // The client as the side with two threads.
    let none = Duration::ZERO;
    let builder = server(world).read_size(RING).write_size(RING).spin(none);
    let (one, two) = connect(&builder, &client(world).spin(none));
    wake_one_or_the_other((two, one), rounds(4000));
}

/// `both` has a reader without data and a writer without space. `other` unblocks one of them at random, and
/// waits until it has continued.
fn wake_one_or_the_other((both, mut other): (Vchan, Vchan), rounds: usize) {
    let (mut reader, mut writer) = both.split();
    let (sender, counts) = mpsc::channel();
    let reading = spawn("reader", move || {
        let mut buffer = [0; RING];
        loop {
            match reader.read(&mut buffer).expect("read") {
                0 => return,
                count => sender.send(count).expect("the receiver exists"),
            }
        }
    });
    let writing = spawn("writer", move || while writer.write(&[1; 333]).is_ok() {});

    other.set_timeout(Some(LONG));
    let full = other.channel().ring().consumer.size() as usize;
    let mut random = Random::new(rounds as u64);
    let mut buffer = vec![0; full];
    for round in 0..rounds {
        match random.below(3) {
            // The writer has filled the ring, and fills it again before this returns for the second time.
            0 => other
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("writer asleep in round {round}: {error}")),
            choice => {
                let len = 1 + random.below(200);
                other.send(&buffer[..len]).expect("send");
                let mut left = len;
                while left > 0 {
                    let count = counts.recv_timeout(LONG);
                    left -= count.unwrap_or_else(|_| panic!("reader asleep in round {round}"));
                }
                if choice == 2 {
                    // Both almost simultaneously.
                    other.send(&buffer[..1]).expect("send");
                    let all = other.recv(&mut buffer);
                    all.unwrap_or_else(|error| panic!("writer asleep in round {round}: {error}"));
                    counts.recv_timeout(LONG).unwrap_or_else(|_| panic!("reader asleep in round {round}"));
                }
            }
        }
    }
    drop(other);
    reading.join().expect("the reader");
    writing.join().expect("the writer");
}

pub fn ping_pong_of_both_halves(world: &dyn World) {
    let (one, two) = pair(world, RING);
    ping_pong(one, two);
    let (one, two) = pair_without_spinning(world, RING);
    ping_pong(two, one);
}

/// One end echoes numbers, the other one sends and checks them, each with a reading and a writing thread.
fn ping_pong(one: Vchan, two: Vchan) {
    let count = rounds(3000) as u32;
    let (mut one_reader, mut one_writer) = one.split();
    let (mut two_reader, mut two_writer) = two.split();
    two_reader.set_timeout(Some(LONG));
    one_reader.set_timeout(Some(LONG));
    let echo = spawn("echo", move || {
        let mut number = [0; 4];
        for _ in 0..count {
            two_reader.read_exact(&mut number).expect("the number");
            two_writer.write_all(&number).expect("the echo");
        }
        (two_reader, two_writer)
    });
    let sending = spawn("send", move || {
        for number in 0..count {
            one_writer.write_all(&number.to_le_bytes()).expect("the number");
        }
        one_writer
    });
    for number in 0..count {
        let mut back = [0; 4];
        one_reader.read_exact(&mut back).expect("the echo");
        assert_eq!(u32::from_le_bytes(back), number);
    }
    sending.join().expect("the sender");
    echo.join().expect("the echo");
}
