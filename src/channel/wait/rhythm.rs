//! Whether a wait for data is part of a stream or waits for an answer.

use std::sync::atomic::{AtomicU32, Ordering};

use super::tuning::{SAMPLE, STREAM};

/// Distinguishes streams from requests and answers, by the number of waits for data since the last write.
#[derive(Debug, Default)]
pub(super) struct Rhythm(AtomicU32);

/// Bits of the word: waits for data without a write in between, the number of waits for an answer modulo [`SAMPLE`],
/// and a hash of the total written, to notice a write.
const WAIT_BITS: u32 = 5;
const ANSWER_BITS: u32 = 6;
const MAX_WAITS: u32 = (1 << WAIT_BITS) - 1;
const _: () = assert!(SAMPLE <= 1 << ANSWER_BITS && STREAM < MAX_WAITS);

impl Rhythm {
    /// A wait for data begins. Returns whether it is part of a stream, and whether it must be timed.
    pub(super) fn begin(&self, written: u32) -> (bool, bool) {
        let word = self.0.load(Ordering::Relaxed);
        // Large writes change only the high bits.
        let written = (written ^ written >> 16) << (WAIT_BITS + ANSWER_BITS);
        let is_same = word >> (WAIT_BITS + ANSWER_BITS) == written >> (WAIT_BITS + ANSWER_BITS);
        let waits = if is_same { (word & MAX_WAITS) + 1 } else { 0 };
        let is_stream = waits > STREAM;
        let answers = (word >> WAIT_BITS) + u32::from(!is_stream);
        let answers = answers % SAMPLE;
        self.0.store(waits.min(MAX_WAITS) | answers << WAIT_BITS | written, Ordering::Relaxed);
        (is_stream, !is_stream && answers == 0)
    }
}
