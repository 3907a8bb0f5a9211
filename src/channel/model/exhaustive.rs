//! Every schedule of small transfers, under loom.
//!
//! A side that sleeps for ever is a deadlock, which loom reports. So a transfer that ends under every schedule shows
//! that no side sleeps that could go on: a receiver beside an idle sender gets everything that was sent, a sender
//! beside an idle receiver fills the ring. Bytes that are read before they are published, or overwritten before they
//! are read, are races of the ring's cells, which loom reports, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use loom::model::Builder;
use loom::thread;

use super::calls::{text, Side, WaitPlace};
use super::world::World;
use crate::channel::CallGate;
use crate::ring::Interest;

/// Runs `body` under every schedule with at most `preemptions` switches away from a thread that can go on. `None`: no
/// limit.
fn check(name: &str, preemptions: Option<usize>, body: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let begun = Instant::now();
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 50_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let bound = preemptions.map_or("any number of".into(), |bound| bound.to_string());
    let count = count.load(Ordering::Relaxed);
    println!("model {name}: {count} schedules, {bound} preemptions, {:.1?}", begun.elapsed());
}

/// How a side waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// In its calls.
    Blocking,
    /// In its calls, after another check.
    Spinning,
    /// In its calls. Both sides begin with an offer of heavy fences, and withdraw it when they enable notifications.
    Offering,
    /// The same after another check, which makes the offer again.
    OfferingAgain,
    /// Polling a descriptor.
    Polling,
    /// For any event, after another check.
    ForEvents,
    /// For any event at once.
    ForEventsAtOnce,
}

const ALL_WAITS: [Waits; 7] = [
    Waits::Blocking,
    Waits::Spinning,
    Waits::Offering,
    Waits::OfferingAgain,
    Waits::Polling,
    Waits::ForEvents,
    Waits::ForEventsAtOnce,
];

/// A transfer in one direction.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    /// From the client to the server.
    up: bool,
    waits: Waits,
    /// Bytes.
    len: usize,
    /// The ring's order.
    order: u8,
}

impl Transfer {
    /// The sender, the receiver, and the world, which the whole body holds.
    fn world(self) -> (World, Side, Side) {
        let spin = matches!(self.waits, Waits::Spinning | Waits::OfferingAgain | Waits::ForEvents);
        let extensions = matches!(self.waits, Waits::Offering | Waits::OfferingAgain);
        let world = World::new(self.order, self.order, spin, extensions);
        let (server, client) = world.pair();
        let (server, client) = (Side::new(&world, server, 0), Side::new(&world, client, 1));
        if self.up {
            (world, client, server)
        } else {
            (world, server, client)
        }
    }

    fn write(self, side: &Side, data: &[u8]) -> bool {
        match self.waits {
            Waits::Polling => side.write_from(WaitPlace::Poll, data),
            Waits::ForEvents | Waits::ForEventsAtOnce => side.write_from(WaitPlace::Wait, data),
            Waits::Blocking | Waits::Spinning | Waits::Offering | Waits::OfferingAgain => side.write(data),
        }
    }

    fn read(self, side: &Side, len: usize) -> Vec<u8> {
        match self.waits {
            Waits::Polling => side.read_from(WaitPlace::Poll, len),
            Waits::ForEvents | Waits::ForEventsAtOnce => side.read_from(WaitPlace::Wait, len),
            Waits::Blocking | Waits::Spinning | Waits::Offering | Waits::OfferingAgain => side.read(len),
        }
    }
}

fn for_all(
    name: &str,
    preemptions: usize,
    len: usize,
    body: impl Fn(Transfer) + Copy + Send + Sync + 'static,
) {
    for up in [true, false] {
        for waits in ALL_WAITS {
            let transfer = Transfer { up, waits, len, order: 1 };
            let direction = if up { "up" } else { "down" };
            check(&format!("{name}, {direction}, {waits:?}"), Some(preemptions), move || body(transfer));
        }
    }
}

/// Neither side closes: an idle side must not leave the other asleep.
#[test]
fn transfer() {
    for_all("transfer", 2, 3, |transfer| {
        let (_world, sender, receiver) = transfer.world();
        let thread = thread::spawn(move || {
            assert!(transfer.write(&sender, &text(transfer.len)));
            sender
        });
        assert_eq!(transfer.read(&receiver, transfer.len), text(transfer.len));
        thread.join().unwrap();
    });
}

/// One byte through a ring of one byte, without a limit.
#[test]
fn transfer_unbounded() {
    for up in [true, false] {
        let transfer = Transfer { up, waits: Waits::Blocking, len: 1, order: 0 };
        check(&format!("unbounded, up {up}"), None, move || {
            let (_world, sender, receiver) = transfer.world();
            let thread = thread::spawn(move || {
                assert!(sender.write(&text(1)));
                sender
            });
            assert_eq!(receiver.read(1), text(1));
            thread.join().unwrap();
        });
    }
}

/// The receiver stops when there is exactly room for the rest.
#[test]
fn idle_receiver() {
    for_all("idle receiver", 2, 4, |transfer| {
        let (_world, sender, receiver) = transfer.world();
        let thread = thread::spawn(move || {
            assert!(transfer.write(&sender, &text(transfer.len)));
            sender
        });
        assert_eq!(transfer.read(&receiver, transfer.len - 2), text(transfer.len - 2));
        let _sender = thread.join().unwrap();
        assert_eq!(receiver.channel.ring().available(Interest::Readable), Ok(2));
    });
}

/// The sender leaves after its last byte.
#[test]
fn closing_sender() {
    for len in [0, 1, 2] {
        for_all(&format!("closing sender after {len}"), 3, len, |transfer| {
            let (_world, sender, receiver) = transfer.world();
            let thread = thread::spawn(move || {
                assert!(transfer.write(&sender, &text(transfer.len)));
                sender.channel.leave();
                sender
            });
            // More than there will be, so the end is found.
            assert_eq!(transfer.read(&receiver, transfer.len + 1), text(transfer.len));
            thread.join().unwrap();
        });
    }
}

/// The sender ends its stream after its last byte and stays for an answer.
#[test]
fn half_closing_sender() {
    for len in [0, 1] {
        for_all(&format!("half-closing sender after {len}"), 2, len, |transfer| {
            let (_world, sender, receiver) = transfer.world();
            let thread = thread::spawn(move || {
                assert!(transfer.write(&sender, &text(transfer.len)));
                sender.channel.finish().unwrap();
                assert_eq!(transfer.read(&sender, 1), [7]);
                sender
            });
            // More than there will be, so the end is found.
            assert_eq!(transfer.read(&receiver, transfer.len + 1), text(transfer.len));
            assert!(transfer.write(&receiver, &[7]));
            thread.join().unwrap();
        });
    }
}

/// The receiver leaves while the sender is at any point of its work. The sender notices.
#[test]
fn closing_receiver() {
    for len in [0, 1] {
        for_all(&format!("closing receiver after {len}"), 2, len, |transfer| {
            let (_world, sender, receiver) = transfer.world();
            let thread = thread::spawn(move || {
                // More than ever fits.
                assert!(!transfer.write(&sender, &text(transfer.len + 3)));
                sender
            });
            assert_eq!(transfer.read(&receiver, transfer.len), text(transfer.len));
            receiver.channel.leave();
            thread.join().unwrap();
        });
    }
}

/// Stray events come to either side at any time.
#[test]
fn stray_events() {
    for_all("stray events", 1, 3, |transfer| {
        let (world, sender, receiver) = transfer.world();
        let writing = thread::spawn(move || {
            assert!(transfer.write(&sender, &text(transfer.len)));
            sender
        });
        let ringing = thread::spawn(move || {
            world.stray_event(0);
            world.stray_event(1);
            world
        });
        assert_eq!(transfer.read(&receiver, transfer.len), text(transfer.len));
        writing.join().unwrap();
        ringing.join().unwrap();
    });
}

/// A question and an answer: both directions over one event channel.
#[test]
fn both_directions() {
    for_all("both directions", 2, 1, |transfer| {
        let (_world, asking, answering) = transfer.world();
        let thread = thread::spawn(move || {
            let question = transfer.read(&answering, 1);
            assert!(transfer.write(&answering, &question));
            answering
        });
        assert!(transfer.write(&asking, &[7]));
        assert_eq!(transfer.read(&asking, 1), [7]);
        thread.join().unwrap();
    });
}

/// A reader and a writer of one side, blocked at once on one event channel. Neither takes the other's event away.
#[test]
fn two_threads_of_one_side() {
    for up in [true, false] {
        let transfer = Transfer { up, waits: Waits::Blocking, len: 2, order: 0 };
        check(&format!("two threads, up {up}"), Some(1), move || {
            let (_world, one, other) = transfer.world();
            let writer = one.clone();
            let writing = thread::spawn(move || {
                assert!(writer.write(&text(2)));
                writer
            });
            let reading = thread::spawn(move || {
                assert_eq!(one.read(1), [9]);
                one
            });
            assert!(other.write(&[9]));
            assert_eq!(other.read(2), text(2));
            writing.join().unwrap();
            reading.join().unwrap();
        });
    }
}

/// A thread closes the channel that another sleeps on.
#[test]
fn closer() {
    for up in [true, false] {
        for writes in [true, false] {
            let transfer = Transfer { up, waits: Waits::Blocking, len: 1, order: 0 };
            check(&format!("closer, up {up}, writes {writes}"), Some(2), move || {
                let (_world, one, other) = transfer.world();
                let closer = one.channel.closer().clone();
                let sleeping = thread::spawn(move || {
                    assert!(if writes { !one.write(&text(4)) } else { one.read(1).is_empty() });
                    // By then the peer can see it.
                    assert!(!one.channel.ring().own_live());
                    one
                });
                let closing = thread::spawn(move || closer.close());
                // The other side notices in its turn.
                other.read(2);
                sleeping.join().unwrap();
                closing.join().unwrap();
            });
        }
    }
}

/// A persistent server has a client that offers heavy fences, and then one that they do not reach, of this or another
/// implementation.
#[test]
fn clients_of_different_kinds() {
    for foreign in [true, false] {
        check(&format!("clients of different kinds, foreign {foreign}"), Some(3), move || {
            let world = World::new(1, 1, false, true);
            let server = world.server(u32::MAX);
            server.set_persistent(true).unwrap();
            let server = Side::new(&world, server, 0);
            let first = Side::new(&world, world.client(), 1);
            for _ in 0..3 {
                assert!(server.write(&[1]));
                assert_eq!(first.read(1), [1]);
            }
            drop(first);
            let second = Side::new(&world, world.unreached_client(foreign), 1);
            let writing = thread::spawn(move || {
                // The request that a client begins with is used up by the first byte.
                assert!(server.write(&[2]) && server.write(&[3]));
                server
            });
            assert_eq!(second.read(2), [2, 3]);
            writing.join().unwrap();
        });
    }
}

/// A channel is closed and freed while other threads are in their first and second calls. No call is inside what was
/// freed.
#[test]
fn closing_waits_for_calls() {
    check("closing waits for calls", Some(3), || {
        let gate = loom::sync::Arc::new(CallGate::default());
        let door = loom::sync::Arc::new(loom::sync::atomic::AtomicBool::new(false));
        // A call reads the cell, closing writes it. Loom reports if both meet.
        let freed = loom::sync::Arc::new(loom::cell::UnsafeCell::new(false));
        let call = {
            let (gate, door, freed) = (gate.clone(), door.clone(), freed.clone());
            move || {
                for _ in 0..2 {
                    let ticket = gate.enter();
                    if !door.load(Ordering::SeqCst) {
                        // SAFETY: no thread writes, which the model shows.
                        assert!(!freed.with(|freed| unsafe { *freed }));
                    }
                    ticket.leave();
                }
            }
        };
        let calling = thread::spawn(call);
        door.store(true, Ordering::SeqCst);
        CallGate::order_close();
        while !gate.is_empty() {
            thread::yield_now();
        }
        // SAFETY: no call is inside, which the model shows.
        freed.with_mut(|freed| unsafe { *freed = true });
        calling.join().unwrap();
    });
}
