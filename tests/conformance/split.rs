//! Two threads of one channel, both blocked on its one event channel: neither may swallow the other's wake-up.
//!
//! The channels of this suite send no nudges, so a wake-up that is lost stays lost, and a time-out tells.

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
    // The client as the one with two threads.
    let none = Duration::ZERO;
    let builder = server(world).read_size(RING).write_size(RING).spin(none);
    let (one, two) = connect(&builder, &client(world).spin(none));
    wake_one_or_the_other((two, one), rounds(4000));
}

/// `both` has a reader for which there is nothing and a writer without space. `other` lets one of them go on, chosen
/// by lot, and waits for it to have gone on.
fn wake_one_or_the_other((both, mut other): (Vchan, Vchan), rounds: usize) {
    let (mut reader, mut writer) = both.split();
    let (tell, told) = mpsc::channel();
    let reading = spawn("reader", move || {
        let mut buffer = [0; RING];
        loop {
            match reader.read(&mut buffer).expect("read") {
                0 => return,
                count => tell.send(count).expect("somebody listens"),
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
            // The writer has filled the ring, and does so again before this returns for the second time.
            0 => other
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("writer asleep in round {round}: {error}")),
            choice => {
                let len = 1 + random.below(200);
                other.send(&buffer[..len]).expect("send");
                let mut left = len;
                while left > 0 {
                    let count = told.recv_timeout(LONG);
                    left -= count.unwrap_or_else(|_| panic!("reader asleep in round {round}"));
                }
                if choice == 2 {
                    // Both at nearly the same moment.
                    other.send(&buffer[..1]).expect("send");
                    let all = other.recv(&mut buffer);
                    all.unwrap_or_else(|error| panic!("writer asleep in round {round}: {error}"));
                    told.recv_timeout(LONG).unwrap_or_else(|_| panic!("reader asleep in round {round}"));
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

/// Each end has a thread that echoes what it hears and one that starts a ball and counts it.
fn ping_pong(one: Vchan, two: Vchan) {
    let balls = rounds(3000) as u32;
    let (mut one_reader, mut one_writer) = one.split();
    let (mut two_reader, mut two_writer) = two.split();
    two_reader.set_timeout(Some(LONG));
    one_reader.set_timeout(Some(LONG));
    let echo = spawn("echo", move || {
        let mut ball = [0; 4];
        for _ in 0..balls {
            two_reader.read_exact(&mut ball).expect("the ball");
            two_writer.write_all(&ball).expect("the ball back");
        }
        (two_reader, two_writer)
    });
    let serve = spawn("serve", move || {
        for ball in 0..balls {
            one_writer.write_all(&ball.to_le_bytes()).expect("the ball");
        }
        one_writer
    });
    for ball in 0..balls {
        let mut back = [0; 4];
        one_reader.read_exact(&mut back).expect("the ball back");
        assert_eq!(u32::from_le_bytes(back), ball);
    }
    serve.join().expect("the server of balls");
    echo.join().expect("the echo");
}
