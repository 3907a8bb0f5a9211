//! Counts the calls in progress, so that closing can wait for them.

use std::sync::atomic::Ordering;

use super::wait::sync::{AtomicPtr, AtomicU32, AtomicUsize};
use crate::fault::{fault, Fault};
use crate::fence;
use crate::thread;

/// The number of this thread.
#[cfg(not(model))]
use crate::thread::number as me;

/// The threads of a model are one to the system.
#[cfg(model)]
fn me() -> u32 {
    use std::cell::Cell;
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    super::wait::sync::thread_local! {
        static NUMBER: Cell<u32> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.with(Cell::get)
}

/// Slots per block.
const SLOTS: usize = if cfg!(model) { 2 } else { 8 };

/// Counts the calls of one kind in progress.
///
/// Each thread takes a slot with its first call and keeps it. Only this thread counts there, so a call needs no atomic
/// exchange, which would cost as much as the rest of a short call. It needs no fence where the closing thread can make
/// a [heavy](fence::heavy) one. The slot of a thread that has ended, or was left behind by a fork, is taken by
/// another.
///
/// A thread can be inside more than once, in a signal handler. The slot records where on the stack the outermost call
/// began, so a call that was left by `longjmp` is recognised once the stack is shorter.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CallGate {
    first: Block,
}

/// Slots, and the next block. Blocks live as long as the gate.
#[derive(Debug, Default)]
struct Block {
    slots: [CallSlot; SLOTS],
    next: AtomicPtr<Block>,
}

#[derive(Debug, Default)]
struct CallSlot {
    /// The [number](thread::number) of its thread, 0 for none.
    thread: AtomicU32,
    /// The kernel's number of it, 0 while unknown.
    kernel: AtomicU32,
    /// The [depth](thread::depth) at which the outermost call began, 0 outside.
    begun: AtomicUsize,
}

/// One call in progress.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    slot: &'a CallSlot,
    /// What the slot records after the call.
    before: usize,
}

/// Whether this thread is inside, see [`CallGate::own`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It is not, or its call was left by `longjmp`.
    Outside,
    /// A signal handler has interrupted its call.
    Inside,
}

impl CallSlot {
    #[inline(always)]
    fn begin(&self) -> Call<'_> {
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
        Call { slot: self, before }
    }

    /// Whether another thread than this is inside.
    fn is_taken(&self, me: u32) -> bool {
        self.begun.load(Ordering::SeqCst) != 0 && self.thread.load(Ordering::Relaxed) != me
    }

    /// Whether its thread lives. Otherwise its call cannot end.
    fn has_owner(&self) -> bool {
        thread::lives(self.thread.load(Ordering::Relaxed), self.kernel.load(Ordering::Relaxed))
    }

    /// Takes the slot if it is `owner`'s.
    fn take(&self, owner: u32, me: u32) -> bool {
        let taken = self.thread.compare_exchange(owner, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if taken {
            // A thread that has ended may have left this set.
            self.begun.store(0, Ordering::Relaxed);
            self.kernel.store(thread::kernel_number(), Ordering::Relaxed);
        }
        taken
    }
}

/// `begun`, or 0 if that call was abandoned by `longjmp`.
#[cold]
fn still_inside(begun: usize, now: usize) -> usize {
    if thread::was_left(begun, now) {
        0
    } else {
        begun
    }
}

/// After this, either the closing thread's change is visible here, or the checks after its [`fence::heavy`] see the
/// call.
#[inline(always)]
fn order_entry() {
    #[cfg(not(model))]
    if !fence::is_available() {
        return std::sync::atomic::fence(Ordering::SeqCst);
    }
    fence::light();
}

impl CallGate {
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        std::iter::successors(Some(&self.first), |block| {
            // SAFETY: null, or a block that lives as long as the gate.
            unsafe { block.next.load(Ordering::Acquire).as_ref() }
        })
    }

    fn slots(&self) -> impl Iterator<Item = &CallSlot> {
        self.blocks().flat_map(|block| &block.slots)
    }

    /// Begins a call. Either [`is_empty`](Self::is_empty) of the closing thread sees this call, or this call sees the
    /// channel closed.
    #[inline(always)]
    pub fn enter(&self) -> Call<'_> {
        let me = me();
        match self.first.slots.iter().find(|slot| slot.thread.load(Ordering::Relaxed) == me) {
            Some(slot) => slot.begin(),
            None => self.find_slot(me).begin(),
        }
    }

    #[cold]
    fn find_slot(&self, me: u32) -> &CallSlot {
        let own = |slot: &&CallSlot| slot.thread.load(Ordering::Relaxed) == me;
        let free = |slot: &&CallSlot| slot.take(0, me);
        let left_behind = |slot: &&CallSlot| {
            let owner = slot.thread.load(Ordering::Relaxed);
            !slot.has_owner() && slot.take(owner, me)
        };
        if let Some(slot) = self.slots().find(own).or_else(|| self.slots().find(free)) {
            return slot;
        }
        if let Some(slot) = self.slots().find(left_behind) {
            return slot;
        }
        let block = Box::<Block>::default();
        block.slots[0].take(0, me);
        self.append(block)
    }

    /// Appends a block and returns its first slot.
    fn append(&self, block: Box<Block>) -> &CallSlot {
        let new = Box::into_raw(block);
        let mut last = &self.first;
        loop {
            let null = std::ptr::null_mut();
            match last.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: blocks live as long as the gate.
                Ok(_) => return unsafe { &(*new).slots[0] },
                // SAFETY: as above.
                Err(next) => last = unsafe { &*next },
            }
        }
    }

    /// Orders the close before the checks whether any thread is inside.
    pub fn order_close() {
        if !fault(Fault::UncountedClose) {
            fence::heavy();
        }
    }

    /// Whether no other thread is inside. The caller has closed the gate for later calls, and [ordered
    /// that](Self::order_close).
    pub fn is_empty(&self) -> bool {
        let me = me();
        self.slots().all(|slot| !slot.is_taken(me))
    }

    /// As [`is_empty`](Self::is_empty), but threads that have ended, or were left behind by a fork, do not count.
    /// Makes system calls.
    pub fn is_empty_of_the_living(&self) -> bool {
        let me = me();
        self.slots().all(|slot| !slot.is_taken(me) || !slot.has_owner())
    }

    /// Whether this thread itself is inside, for an entry of the C interface at this [depth](thread::depth).
    pub fn own(&self, now: usize) -> Own {
        let me = me();
        let slot = self.slots().find(|slot| slot.thread.load(Ordering::Relaxed) == me);
        match slot.map_or(0, |slot| slot.begun.load(Ordering::Relaxed)) {
            0 => Own::Outside,
            begun if still_inside(begun, now) == 0 => Own::Outside,
            _ => Own::Inside,
        }
    }
}

impl Call<'_> {
    /// Ends the call. The gate may be gone after this.
    #[inline(always)]
    pub fn leave(self) {
        self.slot.begun.store(self.before, Ordering::Release);
    }
}

impl Drop for CallGate {
    fn drop(&mut self) {
        let mut next = self.first.next.load(Ordering::Relaxed);
        while !next.is_null() {
            // SAFETY: made by `append`, and no call is inside any more.
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

    fn wait_until_empty(gate: &CallGate) {
        while !gate.is_empty() {
            std::thread::yield_now();
        }
    }

    /// An entry as a handler makes it, in a frame of its own.
    #[inline(never)]
    fn call(gate: &CallGate) {
        gate.enter().leave();
    }

    /// As above.
    #[inline(never)]
    fn own(gate: &CallGate) -> Own {
        gate.own(thread::depth())
    }

    /// More threads than slots in a block, all inside at once, and a call within a call.
    #[test]
    fn every_call_counts() {
        let threads = 2 * SLOTS + 1;
        let (gate, inside, may_leave) =
            (CallGate::default(), Barrier::new(threads + 1), Barrier::new(threads + 1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let outer = gate.enter();
                    call(&gate);
                    assert_eq!(own(&gate), Own::Inside);
                    inside.wait();
                    may_leave.wait();
                    outer.leave();
                    assert_eq!(own(&gate), Own::Outside);
                });
            }
            inside.wait();
            let inside = gate.slots().filter(|slot| slot.begun.load(Ordering::SeqCst) != 0);
            assert_eq!(inside.count(), threads);
            assert!(!gate.is_empty() && !gate.is_empty_of_the_living());
            may_leave.wait();
        });
        wait_until_empty(&gate);
    }

    #[test]
    fn a_thread_does_not_count_for_itself() {
        let gate = CallGate::default();
        let ticket = gate.enter();
        assert!(gate.is_empty());
        ticket.leave();
    }

    /// A thread that ends inside, as after a `longjmp`, is not waited for, and its slot is reused.
    #[test]
    #[cfg(not(miri))]
    fn seats_of_threads_that_have_ended() {
        let gate = CallGate::default();
        for _ in 0..4 * SLOTS {
            let left = || {
                std::hint::black_box(gate.enter());
            };
            std::thread::scope(|scope| drop(scope.spawn(left)));
            while !gate.is_empty_of_the_living() {
                std::thread::yield_now();
            }
        }
        assert!(gate.blocks().count() <= 2);
    }

    /// After the gate was closed and empty, no call is inside any more.
    #[test]
    fn nobody_slips_in() {
        for _ in 0..200 {
            let (gate, closing, freed) =
                (CallGate::default(), AtomicBool::new(false), AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| loop {
                        let ticket = gate.enter();
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
                CallGate::order_close();
                wait_until_empty(&gate);
                freed.store(true, Ordering::SeqCst);
            });
        }
    }
}
