//! Waits that spin, don't, or are just about to stop.

use std::hint;
use std::time::{Duration, Instant};

use crate::support::{client, connect, server, spawn, Random, LONG};
use crate::world::World;

/// A message comes at about the moment when the other side gives up spinning and goes to sleep.
fn messages_at_the_boundary(world: &dyn World, spin: Duration, seed: u64) {
    let server = server(world).buffer_size(1024).spin(spin).without_nudges();
    let (mut echo, mut client) = connect(&server, &client(world).spin(spin).without_nudges());
    echo.set_timeout(Some(LONG));
    client.set_timeout(Some(LONG));
    let echoing = spawn("echo", move || {
        let mut message = [0; 8];
        while echo.recv(&mut message).is_ok() {
            echo.send(&message).expect("no wake-up was lost on the way back");
        }
    });
    let mut random = Random::new(seed);
    let span = spin.max(Duration::from_micros(20));
    for number in 0..1500u64 {
        let pause = span.mul_f64(random.below(200) as f64 / 100.0);
        let begun = Instant::now();
        while begun.elapsed() < pause {
            hint::spin_loop();
        }
        client.send(&number.to_le_bytes()).expect("send");
        let mut back = [0; 8];
        client.recv(&mut back).expect("no wake-up was lost");
        assert_eq!(u64::from_le_bytes(back), number);
    }
    drop(client);
    echoing.join().expect("echo");
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
