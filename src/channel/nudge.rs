//! Further events for a peer that may have missed one.
//!
//! The historical unixcat can lose a wake-up when its ring is full: it then sleeps although there is space, and so
//! do we, waiting for its data. Any further event releases it. So a side that waits sends one when nothing has moved
//! for a moment, then at ever longer intervals, and then no more until something has moved. A peer that was seen
//! to move right after such an event gets one, from then on, every time this side goes to sleep. An end of this
//! implementation misses no event and gets none of these.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::limit::Limit;

const FIRST: Duration = Duration::from_millis(4);
const TIMES: u32 = 9;
/// A peer that moves within this time of a nudge moved because of it.
const PROMPT: Duration = Duration::from_millis(2);
/// How often that must have been seen.
const CONVINCED: u32 = 3;

/// What is known of a peer's forgetfulness.
#[derive(Debug)]
pub(super) struct Forgetful {
    most: u32,
    seen: AtomicU32,
}

/// The nudges of one wait.
#[derive(Debug)]
pub(super) struct Nudges<'a> {
    peer: &'a Forgetful,
    most: u32,
    sent: u32,
    last: Option<Instant>,
}

impl Forgetful {
    /// Nothing is known yet of the peer. With `nudges` false, none is ever sent.
    pub(super) fn new(nudges: bool) -> Forgetful {
        Forgetful { most: if nudges { TIMES } else { 0 }, seen: AtomicU32::new(0) }
    }

    /// For one wait. None are sent to a peer that `misses_none`.
    pub(super) fn nudges(&self, misses_none: bool) -> Nudges<'_> {
        Nudges { peer: self, most: if misses_none { 0 } else { self.most }, sent: 0, last: None }
    }

    fn convinced(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= CONVINCED
    }
}

impl Nudges<'_> {
    /// Whether to send one before the first sleep.
    pub(super) fn at_once(&self) -> bool {
        self.most > 0 && self.peer.convinced()
    }

    /// When the next one is due, if nothing moves.
    pub(super) fn due(&self) -> Limit {
        if self.sent < self.most {
            Limit::After(FIRST * (1 << self.sent))
        } else {
            Limit::Never
        }
    }

    /// The peer has turned out to be one that misses none.
    pub(super) fn end(&mut self) {
        self.most = 0;
    }

    /// One was sent.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
        self.last = Some(Instant::now());
    }

    /// The wait is over: something moved.
    pub(super) fn moved(&self) {
        match self.last {
            None => {}
            Some(last) if last.elapsed() < PROMPT => {
                self.peer.seen.fetch_add(1, Ordering::Relaxed);
            }
            // It moved in its own time, so it wasn't the nudge that it had been waiting for.
            Some(_) => self.peer.seen.store(0, Ordering::Relaxed),
        }
    }
}
