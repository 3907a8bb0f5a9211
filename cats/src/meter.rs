//! What has moved, and when: counted by the pumps, looked at by the thread that decides on the end.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Counts the bytes of one conversation.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds after the start.
    last_moved: AtomicU64,
    last_received: AtomicU64,
}

impl Meter {
    /// Starts counting, and the clock.
    pub fn start() -> Meter {
        Meter {
            start: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            last_moved: AtomicU64::new(0),
            last_received: AtomicU64::new(0),
        }
    }

    /// Counts bytes handed to the ring.
    pub fn add_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, SeqCst);
        self.moved();
    }

    /// Counts bytes that came out of the ring.
    pub fn add_received(&self, count: usize) {
        self.received.fetch_add(count as u64, SeqCst);
        self.last_received.store(self.now(), SeqCst);
        self.moved();
    }

    /// Notes that the peer took something out of the ring.
    pub fn moved(&self) {
        self.last_moved.store(self.now(), SeqCst);
    }

    /// The bytes sent and received.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(SeqCst), self.received.load(SeqCst))
    }

    /// When something moved last; at the start if nothing did.
    pub fn last_moved(&self) -> Instant {
        self.start + Duration::from_micros(self.last_moved.load(SeqCst))
    }

    /// When something was received last; at the start if nothing was.
    pub fn last_received(&self) -> Instant {
        self.start + Duration::from_micros(self.last_received.load(SeqCst))
    }

    /// How long the conversation has lasted.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_and_the_last_moment() {
        let meter = Meter::start();
        let start = meter.last_received();
        while meter.elapsed() < Duration::from_micros(2) {}
        meter.add_sent(1);
        assert_eq!((meter.counts(), meter.last_received()), ((1, 0), start));
        assert!(meter.last_moved() > start);
        meter.add_received(2);
        assert_eq!(meter.counts(), (1, 2));
        assert!(meter.last_received() > start);
    }
}
