//! The duration of a measurement, and its result.

use std::time::{Duration, Instant};

use crate::count::Usage;
use crate::Result;

/// The time of a run: the first fifth is warm-up and is not counted.
pub struct Meter {
    warm: Instant,
    end: Instant,
    begun: Mark,
    marked: bool,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    units: u64,
    usage: Usage,
}

/// The work done while it counted.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Seconds.
    pub seconds: f64,
    /// Bytes, or messages.
    pub units: u64,
    /// The resources it took.
    pub usage: Usage,
}

impl Meter {
    /// Begins now.
    pub fn start(length: Duration) -> Result<Meter> {
        let now = Instant::now();
        let begun = Mark { at: now, units: 0, usage: Usage::now()? };
        Ok(Meter { warm: now + length / 5, end: now + length, begun, marked: false })
    }

    /// Called regularly with the work done so far. Returns whether the time is up.
    pub fn tick(&mut self, units: u64) -> Result<bool> {
        self.tick_at(Instant::now(), units)
    }

    /// As [`tick`](Self::tick), for callers that have the time already.
    pub fn tick_at(&mut self, now: Instant, units: u64) -> Result<bool> {
        if !self.marked && now >= self.warm {
            self.marked = true;
            self.begun = Mark { at: Instant::now(), units, usage: Usage::now()? };
        }
        Ok(now >= self.end)
    }

    /// Whether the warm-up is over.
    pub fn counts(&self) -> bool {
        self.marked
    }

    /// Ends now.
    pub fn finish(self, units: u64) -> Result<Measured> {
        Ok(Measured {
            seconds: self.begun.at.elapsed().as_secs_f64(),
            units: units - self.begun.units,
            usage: Usage::now()?.since(self.begun.usage),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_fifth_is_not_counted() {
        let mut meter = Meter::start(Duration::from_secs(100)).unwrap();
        let start = meter.begun.at;
        assert!(!meter.tick_at(start + Duration::from_secs(19), 5).unwrap());
        assert!(!meter.counts());
        assert!(!meter.tick_at(start + Duration::from_secs(21), 7).unwrap());
        assert!(meter.counts());
        assert!(meter.tick_at(start + Duration::from_secs(100), 9).unwrap());
        assert_eq!(meter.finish(10).unwrap().units, 3);
    }
}
