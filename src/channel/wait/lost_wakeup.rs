//! A workaround for peers that lose wake-ups.
//!
//! The historical unixcat can lose one when its ring is full. Both sides then sleep: the peer despite free space, this
//! side for its data. Any further event releases it. So a side that waits sends an event after a few milliseconds
//! without progress, then at growing intervals, then no more. A peer that repeatedly moved right after such an event
//! gets one before every sleep. A peer of this implementation loses no wake-up and gets none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::deadline::Deadline;

/// The first extra event comes after this time; each further one after twice the time.
const FIRST: Duration = Duration::from_millis(4);
const MAX_EVENTS: u32 = 9;
/// A peer that moves within this time after an extra event moved because of it.
const PROMPT: Duration = Duration::from_millis(2);
/// This many prompt moves prove that the peer loses wake-ups.
const PROOF: u32 = 3;

/// Evidence that the peer loses wake-ups.
#[derive(Debug)]
pub(super) struct LostWakeupWorkaround {
    max_events: u32,
    prompt_moves: AtomicU32,
}

/// The extra events of one wait.
#[derive(Debug)]
pub(super) struct ExtraEvents<'a> {
    peer: &'a LostWakeupWorkaround,
    max: u32,
    sent: u32,
    last: Option<Instant>,
}

impl LostWakeupWorkaround {
    pub(super) fn new(enabled: bool) -> LostWakeupWorkaround {
        LostWakeupWorkaround {
            max_events: if enabled { MAX_EVENTS } else { 0 },
            prompt_moves: AtomicU32::new(0),
        }
    }

    /// Begins one wait.
    pub(super) fn extra_events(&self, peer_is_ours: bool) -> ExtraEvents<'_> {
        ExtraEvents { peer: self, max: if peer_is_ours { 0 } else { self.max_events }, sent: 0, last: None }
    }
}

impl ExtraEvents<'_> {
    /// Whether one is due before the first sleep.
    pub(super) fn is_due_at_once(&self) -> bool {
        self.max > 0 && self.peer.prompt_moves.load(Ordering::Relaxed) >= PROOF
    }

    /// When the next one is due, without progress.
    pub(super) fn due(&self) -> Deadline {
        if self.sent < self.max {
            Deadline::After(FIRST * (1 << self.sent))
        } else {
            Deadline::Never
        }
    }

    /// The peer turned out to be of this implementation.
    pub(super) fn end(&mut self) {
        self.max = 0;
    }

    pub(super) fn sent(&mut self) {
        self.sent += 1;
        self.last = Some(Instant::now());
    }

    /// The peer moved: the wait is over.
    pub(super) fn record_move(&self) {
        match self.last {
            None => {}
            Some(last) if last.elapsed() < PROMPT => {
                self.peer.prompt_moves.fetch_add(1, Ordering::Relaxed);
            }
            // The event did not prompt this move.
            Some(_) => self.peer.prompt_moves.store(0, Ordering::Relaxed),
        }
    }
}
