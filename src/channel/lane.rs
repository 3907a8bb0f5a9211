//! Counting the calls that are under way, so that closing can wait for them.

use std::sync::atomic::Ordering;

use super::sync::{AtomicPtr, AtomicU32, AtomicUsize};
use crate::barrier;
use crate::fault::{fault, Fault};
use crate::thread;

/// The number of this thread.
#[cfg(not(model))]
use crate::thread::number as me;

/// The threads of a model have no numbers of their own.
#[cfg(model)]
fn me() -> u32 {
    use std::cell::Cell;
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    super::sync::thread_local! {
        static NUMBER: Cell<u32> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.with(Cell::get)
}

/// How many seats a block has.
const SEATS: usize = if cfg!(model) { 2 } else { 8 };

/// Counts the calls of one kind that are under way.
///
/// A thread that calls for the first time takes a seat for good. Nobody else counts there, so it needs no atomic exchange,
/// which would cost as much as all the rest of a short call; and no fence where the thread that closes can [make](barrier::make) one
/// for all. The seat of a thread that has ended, or that a fork has left behind, is taken by another one.
///
/// A thread can be inside more than once: in a signal handler. The seat tells where on the stack the outermost of these calls
/// began, so a call that was left by `longjmp` is recognised once the stack is shorter.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Lane {
    first: Block,
}

/// Seats, and where there are more. Blocks live as long as the lane.
#[derive(Debug, Default)]
struct Block {
    seats: [Seat; SEATS],
    next: AtomicPtr<Block>,
}

#[derive(Debug, Default)]
struct Seat {
    /// The [number](thread::number) of its thread, 0 for nobody's.
    thread: AtomicU32,
    /// The same for the kernel, 0 as long as it isn't known.
    kernel: AtomicU32,
    /// The [depth](thread::depth) at which the outermost call began, 0 outside.
    begun: AtomicUsize,
}

/// How a call is counted.
#[derive(Clone, Copy, Debug)]
pub struct Ticket<'a> {
    seat: &'a Seat,
    /// What the seat is to say after the call.
    before: usize,
}

/// Whether this thread is inside, see [`Lane::own`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It isn't, or its call was left by `longjmp`.
    Outside,
    /// This is in a signal handler that has interrupted its call.
    Inside,
}

impl Seat {
    #[inline(always)]
    fn sit(&self) -> Ticket<'_> {
        let now = thread::depth();
        let before = match self.begun.load(Ordering::Relaxed) {
            0 => 0,
            begun => still_inside(begun, now),
        };
        if before == 0 {
            self.begun.store(now, Ordering::Relaxed);
        }
        if !fault(Fault::UncountedCall) {
            order_entry();
        }
        Ticket { seat: self, before }
    }

    /// Whether it says that its thread, another one than this, is inside.
    fn is_taken(&self, me: u32) -> bool {
        self.begun.load(Ordering::SeqCst) != 0 && self.thread.load(Ordering::Relaxed) != me
    }

    /// Whether its thread lives. Nothing else ends its call.
    fn has_owner(&self) -> bool {
        thread::lives(self.thread.load(Ordering::Relaxed), self.kernel.load(Ordering::Relaxed))
    }

    /// Takes the seat if it is that of `owner`.
    fn take(&self, owner: u32, me: u32) -> bool {
        let taken = self.thread.compare_exchange(owner, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if taken {
            // Whatever a thread that has ended left there.
            self.begun.store(0, Ordering::Relaxed);
            self.kernel.store(thread::kernel_number(), Ordering::Relaxed);
        }
        taken
    }
}

/// The call that began there, or none if it was left.
#[cold]
fn still_inside(begun: usize, now: usize) -> usize {
    if thread::was_left(begun, now) {
        0
    } else {
        begun
    }
}

/// What is looked at after this was not changed before [`barrier::make`] in the thread that closes, or its looks at the seat after that
/// show the call.
#[inline(always)]
fn order_entry() {
    #[cfg(not(model))]
    if !barrier::is_available() {
        return std::sync::atomic::fence(Ordering::SeqCst);
    }
    barrier::light();
}

impl Lane {
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::successors(Some(&self.first), |block| {
            // SAFETY: null, or a block that lives as long as the lane.
            unsafe { block.next.load(Ordering::Acquire).as_ref() }
        })
    }

    fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.blocks().flat_map(|block| &block.seats)
    }

    /// A call begins. What is looked at after this was not changed before [`is_empty`](Self::is_empty) knew of the call, or else
    /// shows the change.
    #[inline(always)]
    pub fn enter(&self) -> Ticket<'_> {
        let me = me();
        match self.first.seats.iter().find(|seat| seat.thread.load(Ordering::Relaxed) == me) {
            Some(seat) => seat.sit(),
            None => self.find_seat(me).sit(),
        }
    }

    #[cold]
    fn find_seat(&self, me: u32) -> &Seat {
        let own = |seat: &&Seat| seat.thread.load(Ordering::Relaxed) == me;
        let free = |seat: &&Seat| seat.take(0, me);
        let left_behind = |seat: &&Seat| {
            let owner = seat.thread.load(Ordering::Relaxed);
            !seat.has_owner() && seat.take(owner, me)
        };
        if let Some(seat) = self.seats().find(own).or_else(|| self.seats().find(free)) {
            return seat;
        }
        if let Some(seat) = self.seats().find(left_behind) {
            return seat;
        }
        let block = Box::<Block>::default();
        block.seats[0].take(0, me);
        self.append(block)
    }

    /// Appends a block and returns its first seat.
    fn append(&self, block: Box<Block>) -> &Seat {
        let new = Box::into_raw(block);
        let mut last = &self.first;
        loop {
            let null = std::ptr::null_mut();
            match last.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: blocks live as long as the lane.
                Ok(_) => return unsafe { &(*new).seats[0] },
                // SAFETY: as above.
                Err(next) => last = unsafe { &*next },
            }
        }
    }

    /// To be made after the door was shut, and before the first look whether anybody is inside.
    pub fn order_close() {
        if !fault(Fault::UncountedClose) {
            barrier::make();
        }
    }

    /// Whether no other thread's call is under way, for a thread that has just shut the door on later ones, and [put that in order](Self::order_close).
    pub fn is_empty(&self) -> bool {
        let me = me();
        self.seats().all(|seat| !seat.is_taken(me))
    }

    /// As [`is_empty`](Self::is_empty), but calls of threads that have ended, or that a fork has left behind, don't count. Asks the
    /// system.
    pub fn is_empty_of_the_living(&self) -> bool {
        let me = me();
        self.seats().all(|seat| !seat.is_taken(me) || !seat.has_owner())
    }

    /// Whether this thread is inside itself, for an entry of the C interface at this [depth](thread::depth).
    pub fn own(&self, now: usize) -> Own {
        let me = me();
        let seat = self.seats().find(|seat| seat.thread.load(Ordering::Relaxed) == me);
        match seat.map_or(0, |seat| seat.begun.load(Ordering::Relaxed)) {
            0 => Own::Outside,
            begun if still_inside(begun, now) == 0 => Own::Outside,
            _ => Own::Inside,
        }
    }
}

impl Ticket<'_> {
    /// The call ends. The lane may be gone after this.
    #[inline(always)]
    pub fn leave(self) {
        self.seat.begun.store(self.before, Ordering::Release);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut next = self.first.next.load(Ordering::Relaxed);
        while !next.is_null() {
            // SAFETY: made by `append`, and nobody is inside any more.
            let block = unsafe { Box::from_raw(next) };
            next = block.next.load(Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    fn wait_until_empty(lane: &Lane) {
        while !lane.is_empty() {
            std::thread::yield_now();
        }
    }

    /// As an entry that a handler calls: in a frame of its own.
    #[inline(never)]
    fn call(lane: &Lane) {
        lane.enter().leave();
    }

    /// The same.
    #[inline(never)]
    fn own(lane: &Lane) -> Own {
        lane.own(thread::depth())
    }

    /// More threads than seats in a block, all inside at once, and a call within a call.
    #[test]
    fn every_call_counts() {
        let threads = 2 * SEATS + 1;
        let (lane, inside, may_leave) =
            (Lane::default(), Barrier::new(threads + 1), Barrier::new(threads + 1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let outer = lane.enter();
                    call(&lane);
                    assert_eq!(own(&lane), Own::Inside);
                    inside.wait();
                    may_leave.wait();
                    outer.leave();
                    assert_eq!(own(&lane), Own::Outside);
                });
            }
            inside.wait();
            let inside = lane.seats().filter(|seat| seat.begun.load(Ordering::SeqCst) != 0);
            assert_eq!(inside.count(), threads);
            assert!(!lane.is_empty() && !lane.is_empty_of_the_living());
            may_leave.wait();
        });
        wait_until_empty(&lane);
    }

    #[test]
    fn a_thread_does_not_count_for_itself() {
        let lane = Lane::default();
        let ticket = lane.enter();
        assert!(lane.is_empty());
        ticket.leave();
    }

    /// A thread that ends inside, as after a `longjmp`, is not waited for, and its seat is used again.
    #[test]
    #[cfg(not(miri))]
    fn seats_of_threads_that_have_ended() {
        let lane = Lane::default();
        for _ in 0..4 * SEATS {
            let left = || {
                std::hint::black_box(lane.enter());
            };
            std::thread::scope(|scope| drop(scope.spawn(left)));
            while !lane.is_empty_of_the_living() {
                std::thread::yield_now();
            }
        }
        assert!(lane.blocks().count() <= 2);
    }

    /// No call is inside any more when the door was shut and the lane is empty.
    #[test]
    fn nobody_slips_in() {
        for _ in 0..200 {
            let (lane, closing, freed) = (Lane::default(), AtomicBool::new(false), AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| loop {
                        let ticket = lane.enter();
                        let closed = closing.load(Ordering::SeqCst);
                        assert!(closed || !freed.load(Ordering::SeqCst), "inside of what was freed");
                        ticket.leave();
                        if closed {
                            break;
                        }
                    });
                }
                std::thread::sleep(Duration::from_micros(100));
                closing.store(true, Ordering::SeqCst);
                Lane::order_close();
                wait_until_empty(&lane);
                freed.store(true, Ordering::SeqCst);
            });
        }
    }
}
