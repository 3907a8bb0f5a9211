//! Random schedules of longer conversations under shuttle, with more threads than can be tried exhaustively.

use std::sync::Arc;

use shuttle::rand::{thread_rng, Rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{thread, Config, Runner};

use super::calls::{text, Side, WaitPlace};
use super::world::World;

/// Tries `body` under random schedules. In half of them most threads stand still for long.
fn check(name: &str, body: fn()) {
    // The same schedules in each run, so that a failure repeats. Another seed tries others.
    let seed = std::env::var("VCHAN_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
    let schedules =
        std::env::var("VCHAN_SCHEDULES").map_or(2000, |count| count.parse().expect("a number of schedules"));
    let begun = std::time::Instant::now();
    let mut config = Config::new();
    config.max_steps = shuttle::MaxSteps::FailAfter(200_000);
    let run = |scheduler: Box<dyn Scheduler + Send>| Runner::new(scheduler, config.clone()).run(body);
    let tried = run(Box::new(RandomScheduler::new_from_seed(seed, schedules / 2)))
        + run(Box::new(PctScheduler::new_from_seed(seed, 3, schedules - schedules / 2)));
    println!("model {name}: {tried} random schedules, {:.1?}", begun.elapsed());
}

/// A world whose sides may spin, with rings of 1 to 4 bytes.
fn any_world() -> World {
    let mut rng = thread_rng();
    World::new(rng.gen_range(0..3), rng.gen_range(0..3), rng.gen(), rng.gen())
}

/// A wait for any event takes the events of pollers on the same side, so a world has one or the other.
fn any_wait_place() -> WaitPlace {
    if thread_rng().gen() {
        WaitPlace::Poll
    } else {
        WaitPlace::Wait
    }
}

fn any_write(side: &Side, place: WaitPlace, data: &[u8]) -> bool {
    if thread_rng().gen() {
        side.write(data)
    } else {
        side.write_from(place, data)
    }
}

fn any_read(side: &Side, place: WaitPlace, len: usize) -> Vec<u8> {
    if thread_rng().gen() {
        side.read(len)
    } else {
        side.read_from(place, len)
    }
}

const LEN: usize = 12;

/// A reader and a writer on each side, each blocking or polling: two directions over one event channel, two threads of
/// one side asleep at once.
#[test]
fn two_directions_of_two_threads() {
    check("two directions, two threads of each side", || {
        let world = any_world();
        let (server, client) = world.pair();
        let sides = [Side::new(&world, server, 0), Side::new(&world, client, 1)];
        let mut threads = Vec::new();
        for side in &sides {
            let (reader, writer, place) = (side.clone(), side.clone(), any_wait_place());
            threads.push(thread::spawn(move || assert_eq!(any_read(&reader, place, LEN), text(LEN))));
            threads.push(thread::spawn(move || assert!(any_write(&writer, place, &text(LEN)))));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The same, and one side leaves when it has written: the other gets every byte and then the end.
#[test]
fn leaving_after_the_last_byte() {
    check("two directions, and the end", || {
        let world = any_world();
        let (server, client) = world.pair();
        let (one, other) = if thread_rng().gen() {
            (Side::new(&world, server, 0), Side::new(&world, client, 1))
        } else {
            (Side::new(&world, client, 1), Side::new(&world, server, 0))
        };
        let (reader, writer, place) = (other.clone(), other, any_wait_place());
        let reading = thread::spawn(move || assert_eq!(any_read(&reader, place, LEN + 1), text(LEN)));
        // Ends when the other side leaves: there is no reader.
        let writing = thread::spawn(move || assert!(!any_write(&writer, place, &text(100))));
        assert!(any_write(&one, any_wait_place(), &text(LEN)));
        one.channel.leave();
        reading.join().unwrap();
        writing.join().unwrap();
    });
}

/// On one side one thread reads, one writes, two wait for any event, all blocked at once. Then the channel is closed.
#[test]
fn many_parked_threads_and_a_closer() {
    check("four sleepers and a closer", || {
        let world = any_world();
        let (server, client) = world.pair();
        let closer = server.closer().clone();
        let other = Side::new(&world, client, 1);
        let side = Side::new(&world, server, 0);
        let (reader, writer) = (side.clone(), side.clone());
        let mut threads = vec![
            thread::spawn(move || assert_eq!(reader.read(3), [0, 1])),
            thread::spawn(move || assert!(!writer.write(&text(20)))),
        ];
        for _ in 0..2 {
            let waiter = side.clone();
            threads.push(thread::spawn(move || while waiter.channel.wait(None).is_ok() {}));
        }
        for n in 0..2 {
            assert!(other.write(&[n]));
            other.read(2);
        }
        // The last byte is read before the end comes.
        while other.channel.ring().producer.pending().unwrap() > 0 {
            thread::yield_now();
        }
        closer.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A persistent server echoes for one client after the other. Each finds the rings as the last one left them.
#[test]
fn one_client_after_the_other() {
    check("persistent server, three clients", || {
        let world = any_world();
        let server = world.server(u32::MAX - 3);
        server.set_persistent(true).unwrap();
        let server = Side::new(&world, server, 0);
        let echo = thread::spawn(move || {
            for _ in 0..3 * 4 {
                let place = any_wait_place();
                let byte = any_read(&server, place, 1);
                assert!(any_write(&server, place, &byte));
            }
        });
        for n in 0..3 {
            let client = Side::new(&world, world.client(), 1);
            let data = [n, 100 + n, n, 7];
            let (writer, sent, place) = (client.clone(), data, any_wait_place());
            let writing = thread::spawn(move || assert!(any_write(&writer, place, &sent)));
            assert_eq!(any_read(&client, place, data.len()), data);
            writing.join().unwrap();
            assert_eq!(Arc::strong_count(&client.channel), 1);
        }
        echo.join().unwrap();
    });
}
