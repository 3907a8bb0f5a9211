//! Waits with and without spinning, and at the moment when spinning ends.

use std::hint;
use std::time::{Duration, Instant};

use vchan::unstable::Internals;

use crate::support::{client, connect, rounds, server, spawn, Random, LONG};
use crate::world::World;

/// A message arrives at about the moment when the reader stops spinning and goes to sleep.
fn messages_at_the_boundary(world: &dyn World, spin: Duration, seed: u64) {
    let server = server(world).buffer_size(1024).spin(spin).without_extra_events();
    let (mut reader, mut client) = connect(&server, &client(world).spin(spin).without_extra_events());
    reader.set_timeout(Some(LONG));
    let messages = rounds(3000) as u64;
    let reading = spawn("reader", move || {
        for number in 0..messages {
            let mut message = [0; 8];
            reader.recv(&mut message).expect("no wake-up was lost");
            assert_eq!(u64::from_le_bytes(message), number);
        }
    });
    let mut random = Random::new(seed);
    for number in 0..messages {
        while client.channel().ring().producer.pending().expect("the reader is there") > 0
            && !reading.is_finished()
        {
            hint::spin_loop();
        }
        let pause = spin + Duration::from_nanos(random.below(1000) as u64);
        let begun = Instant::now();
        while begun.elapsed() < pause {
            hint::spin_loop();
        }
        client.send(&number.to_le_bytes()).expect("send");
    }
    reading.join().expect("the reader");
}

pub fn no_wake_up_is_lost_without_spinning(world: &dyn World) {
    messages_at_the_boundary(world, Duration::ZERO, 1);
}

pub fn no_wake_up_is_lost_by_spinning_briefly(world: &dyn World) {
    messages_at_the_boundary(world, Duration::from_micros(2), 2);
}

pub fn no_wake_up_is_lost_by_spinning(world: &dyn World) {
    messages_at_the_boundary(world, Duration::from_micros(50), 3);
}
