//! Leaving the shared line alone for a moment.
//!
//! All indices of both directions lie in one cache line. A side that looks at it again and again takes it away from a
//! peer that moves many small messages, each of which writes there, and costs it more time than the message does. So a
//! side that waits in the midst of a stream begins with a pause. Meanwhile the peer moves several messages undisturbed. One
//! that waits for the answer to what it has written looks at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::ring::{Endpoint, Want};

/// After so many waits for data with nothing written in between, it is a stream.
const STREAM: u32 = 16;
/// How long the pause is for each KiB of the ring, which must not run full (or empty) meanwhile.
const PER_KIB: Duration = Duration::from_nanos(10);
/// The longest.
const LONGEST: Duration = Duration::from_nanos(640);

/// What is known of the last waits for data.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// How much had been written at the last one.
    written: AtomicU32,
    /// How many there were since something was written.
    waits: AtomicU32,
}

impl Linger {
    /// How long to look at nothing at the beginning of a wait.
    pub(super) fn pause(&self, ring: &Endpoint, want: Want) -> Duration {
        let size = match want {
            Want::Space => ring.producer.size(),
            Want::Data if self.reads_only(ring.producer.written()) => ring.consumer.size(),
            Want::Data => return Duration::ZERO,
        };
        (PER_KIB * (size / 1024)).min(LONGEST)
    }

    fn reads_only(&self, written: u32) -> bool {
        let before = self.written.load(Ordering::Relaxed);
        let waits = if before == written { self.waits.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.written.store(written, Ordering::Relaxed);
        self.waits.store(waits, Ordering::Relaxed);
        waits > STREAM
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    #[test]
    fn only_who_reads_without_writing_is_in_a_stream() {
        let linger = Linger::default();
        let pauses = |written| (0..100).filter(|_| linger.reads_only(written)).count();
        assert_eq!(pauses(0), 100 - STREAM as usize);
        assert!(!linger.reads_only(1));
        assert_eq!(pauses(1), 100 - STREAM as usize);
    }
}
