//! Byte counts and timestamps, updated by the pumps, read by the thread that decides on the end.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Counts the bytes of one conversation.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// Microseconds since `start`.
    last_moved: AtomicU64,
    last_received: AtomicU64,
}

impl Meter {
    /// Starts the clock.
    pub fn start() -> Meter {
        Meter {
            start: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            last_moved: AtomicU64::new(0),
            last_received: AtomicU64::new(0),
        }
    }

    /// Counts bytes written to the ring.
    pub fn add_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, SeqCst);
        self.moved();
    }

    /// Counts bytes read from the ring.
    pub fn add_received(&self, count: usize) {
        self.received.fetch_add(count as u64, SeqCst);
        self.last_received.store(self.now(), SeqCst);
        self.moved();
    }

    /// Records that the peer has consumed something.
    pub fn moved(&self) {
        self.last_moved.store(self.now(), SeqCst);
    }

    /// Bytes sent and received.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(SeqCst), self.received.load(SeqCst))
    }

    /// Time of the last transfer in either direction; initially the start.
    pub fn last_moved(&self) -> Instant {
        self.start + Duration::from_micros(self.last_moved.load(SeqCst))
    }

    /// Time of the last receive; initially the start.
    pub fn last_received(&self) -> Instant {
        self.start + Duration::from_micros(self.last_received.load(SeqCst))
    }

    /// Duration of the conversation.
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
    fn bytes_and_timestamps_are_recorded() {
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
