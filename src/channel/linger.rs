//! Leaving the shared line alone for a moment.
//!
//! All indices of both directions lie in one cache line. A side that looks at it again and again takes it away from a
//! peer that moves many small messages, each of which writes there, and costs it more time than the message does. So a
//! side that waits in the midst of a stream begins with a pause. Meanwhile the peer moves several messages undisturbed.
//! The smaller the messages, the longer, since all of them are written before it looks again.
//! One that waits for the answer to what it has written begins with a shorter one, before the answer can be there: the
//! peer has to write twice, first that it took the question.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use once_cell::sync::Lazy;

use crate::ring::{Endpoint, Interest};

/// After so many waits for data with nothing written in between, it is a stream.
const STREAM: u32 = 16;
/// How long the pause is for each KiB of the ring, which must not run full (or empty) meanwhile. All times are in nanoseconds.
const PER_KIB: u32 = 10;
/// The longest.
const LONGEST: u32 = 2_500;
/// For small messages it may be so many times as long,
const LONGER: u32 = 10;
/// and not longer than this.
const LONGEST_FOR_SMALL: u32 = 10_000;
/// Messages are small where the peer moves no more than so many bytes in a nanosecond of the pause,
const SMALL: u32 = 4;
/// and it moves none but now and then where it takes so many nanoseconds for a byte.
const SELDOM: u32 = 4;
/// The longest before an answer, which may come sooner this time.
const LONGEST_BEFORE_ANSWER: u32 = 400;
/// The pause before an answer is this part of what answers take, in percent.
const PART_OF_ANSWER: u32 = 60;
/// One answer in so many is timed, and has no pause before it.
const TIMED: u32 = 64;
/// An answer that takes longer is taken for this.
const LONG_ANSWER: u32 = 10_000;

/// What a pause hint takes. It differs by a factor of ten among processors, and the clock would take longer.
static HINT: Lazy<u32> = Lazy::new(|| {
    const HINTS: u32 = 256;
    let once = || {
        let begun = Instant::now();
        (0..HINTS).for_each(|_| hint::spin_loop());
        begun.elapsed().as_nanos() as u32 / HINTS
    };
    // The least of some: a measurement may be interrupted.
    (0..4).map(|_| once()).min().unwrap_or_default().max(1)
});

/// Looks at nothing for so long.
pub(super) fn pass(nanoseconds: u32) {
    if nanoseconds > 0 {
        (0..nanoseconds / *HINT).for_each(|_| hint::spin_loop());
    }
}

/// What is known of the last waits for data.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// How much had been written at the last one.
    written: AtomicU32,
    /// How many there were since something was written.
    waits: AtomicU32,
    /// In a stream of small messages: how many times longer the pause is, less one.
    longer: AtomicU32,
    /// How many were waits for an answer, modulo [`TIMED`].
    answers: AtomicU32,
    /// What an answer takes, on the average.
    answer: AtomicU32,
}

/// How a wait is to begin.
#[derive(Debug, Default)]
pub(super) struct Pause<'a> {
    length: u32,
    /// Who wants to know how long the wait took, and when it began.
    timed: Option<(&'a Linger, Instant)>,
    /// Who wants to know how much has come meanwhile.
    stream: Option<(&'a Linger, &'a Endpoint)>,
}

impl Pause<'_> {
    /// Looks at nothing for its length.
    pub(super) fn pass(&self) {
        pass(self.length);
    }

    /// The wait that began like this is over, without a sleep: `at_once`, or after further looks.
    #[inline]
    pub(super) fn learn(&self, at_once: bool) {
        if let Some((linger, begun)) = self.timed {
            linger.learn(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(LONG_ANSWER));
        }
        if let Some((linger, ring)) = self.stream {
            let came = if at_once { ring.known(Interest::Readable, 0).unwrap_or(0) } else { 0 };
            linger.learn_of_stream(self.length, came);
        }
    }
}

impl Linger {
    /// How a wait for `interest` is to begin.
    pub(super) fn pause<'a>(&'a self, ring: &'a Endpoint, interest: Interest) -> Pause<'a> {
        if interest == Interest::Readable && !self.reads_only(ring.producer.written()) {
            return self.before_answer();
        }
        let length = (PER_KIB * (ring.size(interest) / 1024)).min(LONGEST);
        if interest == Interest::Writable {
            return Pause { length, ..Pause::default() };
        }
        let longer = length * (1 + self.longer.load(Ordering::Relaxed));
        Pause { length: longer.min(LONGEST_FOR_SMALL), stream: Some((self, ring)), timed: None }
    }

    fn reads_only(&self, written: u32) -> bool {
        let before = self.written.load(Ordering::Relaxed);
        let waits = if before == written { self.waits.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.written.store(written, Ordering::Relaxed);
        self.waits.store(waits, Ordering::Relaxed);
        waits > STREAM
    }

    fn before_answer(&self) -> Pause<'_> {
        let answers = (self.answers.load(Ordering::Relaxed) + 1) % TIMED;
        self.answers.store(answers, Ordering::Relaxed);
        if answers == 0 {
            return Pause { timed: Some((self, Instant::now())), ..Pause::default() };
        }
        let length = self.answer.load(Ordering::Relaxed) * PART_OF_ANSWER / 100;
        Pause { length: length.min(LONGEST_BEFORE_ANSWER), ..Pause::default() }
    }

    /// So many bytes came during a pause of this length.
    fn learn_of_stream(&self, length: u32, came: u32) {
        let before = self.longer.load(Ordering::Relaxed);
        let small = came >= length / SELDOM && came <= length * SMALL;
        self.longer.store(if small { (before + 1).min(LONGER - 1) } else { before / 2 }, Ordering::Relaxed);
    }

    fn learn(&self, took: u32) {
        let took = took.min(LONG_ANSWER);
        let before = self.answer.load(Ordering::Relaxed);
        self.answer.store(before - before / 4 + took / 4, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_who_reads_without_writing_is_in_a_stream() {
        let linger = Linger::default();
        let pauses = |written| (0..100).filter(|_| linger.reads_only(written)).count();
        assert_eq!(pauses(0), 100 - STREAM as usize);
        assert!(!linger.reads_only(1));
        assert_eq!(pauses(1), 100 - STREAM as usize);
    }

    #[test]
    fn small_messages_make_it_longer_and_others_shorter() {
        let linger = Linger::default();
        let after = |times, came| {
            (0..times).for_each(|_| linger.learn_of_stream(1000, came));
            linger.longer.load(Ordering::Relaxed)
        };
        assert_eq!(after(5, 1000), 5);
        assert_eq!(after(50, 1000), LONGER - 1);
        assert_eq!(after(1, 64), (LONGER - 1) / 2, "one message now and then");
        assert_eq!(after(5, 0), 0);
        assert_eq!(after(5, 20_000), 0, "large ones");
    }

    #[test]
    fn the_pause_is_a_part_of_what_answers_take() {
        let linger = Linger::default();
        let answer = |took| {
            for _ in 0..20 * TIMED {
                let mut pause = linger.before_answer();
                pause.timed = pause.timed.map(|(linger, begun)| (linger, begun - Duration::from_nanos(took)));
                pause.learn(true);
            }
            linger.before_answer().length
        };
        assert_eq!(linger.before_answer().length, 0, "nothing is known of answers");
        // The clock adds something to what they are said to have taken.
        assert!((170..LONGEST_BEFORE_ANSWER).contains(&answer(300)), "{linger:?}");
        assert_eq!(answer(1_000_000), LONGEST_BEFORE_ANSWER);
    }
}
