//! Counting the calls that are under way, so that closing can wait for them.

use std::sync::atomic::{fence, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use vchan::barrier;

/// How many threads count their calls of one kind at the least price. One, or two, is the usual thing.
const SEATS: usize = 4;

/// Counts the calls of one kind that are under way.
///
/// A thread that calls for the first time takes a seat for good. Nobody else counts there, so it needs no atomic exchange,
/// which would cost as much as all the rest of a short call; and no fence where whoever closes can [make](barrier::make) one
/// for all. Those who find no seat count together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Lane {
    seats: [Seat; SEATS],
    standing: AtomicUsize,
}

#[derive(Debug, Default)]
struct Seat {
    /// Whose it is, 0 for nobody's.
    thread: AtomicUsize,
    /// Their calls: more than one where a signal handler calls, too.
    calls: AtomicUsize,
}

/// How a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticket {
    Seat(usize),
    Standing,
}

/// A number for this thread that no other living one has.
#[inline]
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Lane {
    /// A call begins. What is looked at after this was not changed before [`wait_until_empty`](Self::wait_until_empty) knew
    /// of the call, or else shows the change.
    #[inline]
    pub(crate) fn enter(&self) -> Ticket {
        let me = this_thread();
        match self.seats.iter().position(|seat| seat.thread.load(Ordering::Relaxed) == me) {
            Some(seat) => self.sit(seat),
            None => self.find_seat(me),
        }
    }

    #[inline]
    fn sit(&self, seat: usize) -> Ticket {
        let calls = &self.seats[seat].calls;
        calls.store(calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if barrier::is_available() {
            barrier::light();
        } else {
            fence(Ordering::SeqCst);
        }
        Ticket::Seat(seat)
    }

    #[cold]
    fn find_seat(&self, me: usize) -> Ticket {
        let take =
            |seat: &Seat| seat.thread.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        match self.seats.iter().position(take) {
            Some(seat) => self.sit(seat),
            None => {
                self.standing.fetch_add(1, Ordering::SeqCst);
                Ticket::Standing
            }
        }
    }

    /// A call ends. The lane may be gone after this.
    #[inline]
    pub(crate) fn leave(&self, ticket: Ticket) {
        match ticket {
            Ticket::Seat(seat) => {
                let calls = &self.seats[seat].calls;
                calls.store(calls.load(Ordering::Relaxed) - 1, Ordering::Release);
            }
            Ticket::Standing => drop(self.standing.fetch_sub(1, Ordering::Release)),
        }
    }

    fn is_empty(&self) -> bool {
        self.standing.load(Ordering::SeqCst) == 0
            && self.seats.iter().all(|seat| seat.calls.load(Ordering::SeqCst) == 0)
    }

    /// Waits until no call is under way, for who has just shut the door on later ones, and made a barrier.
    ///
    /// Polls: a caller that has left must not touch the channel again, not even to wake this thread. Calls leave
    /// within microseconds once the channel is closed.
    pub(crate) fn wait_until_empty(&self) {
        let mut pause = Duration::from_micros(1);
        while !self.is_empty() {
            thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::Barrier;

    use super::*;

    /// More threads than seats, all inside at once, and a call within a call.
    #[test]
    fn every_call_counts() {
        let (lane, inside, may_leave) = (Lane::default(), Barrier::new(SEATS + 3), Barrier::new(SEATS + 3));
        thread::scope(|scope| {
            for _ in 0..SEATS + 2 {
                scope.spawn(|| {
                    let (outer, inner) = (lane.enter(), lane.enter());
                    assert_eq!(outer, inner);
                    lane.leave(inner);
                    inside.wait();
                    may_leave.wait();
                    lane.leave(outer);
                });
            }
            inside.wait();
            assert!(lane.seats.iter().all(|seat| seat.calls.load(Ordering::SeqCst) == 1));
            assert_eq!(lane.standing.load(Ordering::SeqCst), 2);
            assert!(!lane.is_empty());
            may_leave.wait();
        });
        lane.wait_until_empty();
        assert!(lane.is_empty());
    }

    /// No call is inside any more when the door was shut and the lane is empty.
    #[test]
    fn nobody_slips_in() {
        for _ in 0..200 {
            let (lane, closing, freed) = (Lane::default(), AtomicBool::new(false), AtomicBool::new(false));
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| loop {
                        let ticket = lane.enter();
                        let closed = closing.load(Ordering::SeqCst);
                        assert!(closed || !freed.load(Ordering::SeqCst), "inside of what was freed");
                        lane.leave(ticket);
                        if closed {
                            break;
                        }
                    });
                }
                thread::sleep(Duration::from_micros(100));
                closing.store(true, Ordering::SeqCst);
                barrier::make();
                lane.wait_until_empty();
                freed.store(true, Ordering::SeqCst);
            });
        }
    }
}
