//! What a wait does next: delay, check, yield, or park. The policy reads no clock and makes no system call; `spin.rs`
//! carries out its steps.
//!
//! A park costs tens of microseconds and a system call on both sides. A busy peer is ready within a few microseconds, so
//! a wait spins first, unless the peer cannot run meanwhile or waits are long on average. Every wait teaches: a moving
//! average of the time to readiness per direction, and a backoff per mechanism.
//!
//! * **Delay.** All indices share one cache line. A side that checks it in a loop takes it away from the peer. In a
//!   stream the first check comes after a delay in which the peer can move several messages. A wait for an answer is
//!   delayed by a part of the average answer.
//! * **Yield.** Where both sides share a processor spinning fails although waits are short. There a yield costs
//!   half as much as a park and needs no event. If another process ran instead, the next waits do not yield until the
//!   loss is made up.
//! * **Brief spin.** A non-blocking call that finds nothing makes the peer's next call send an event. A few more checks
//!   in less than a microsecond avoid that while a peer is busy.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::backoff::Backoff;
use super::rhythm::Rhythm;
use super::tuning::{
    Tuning, ANSWER_PERCENT, MAX_ANSWER, MAX_STREAM_DELAY, MAX_WAIT, MIN_PARK, SPINS_PER_WAIT, WORTH_OF_SLEEP,
};
use super::yield_budget::YieldBudget;

/// What the executor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Leaves the shared cache line alone for this many nanoseconds.
    Delay(u32),
    /// Checks a few times whether the wait is over.
    Check,
    /// Yields the processor, then checks once.
    Yield,
    /// Ends the attempt: the caller parks.
    Park,
}

/// Which mechanism an attempt uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Spin { delay: u32, limit: u32 },
    Yield { times: u32 },
    Park,
}

/// One wait before it parks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    plan: Plan,
    /// A sample for the average answer time: timed from its beginning, not only after the first checks.
    pub is_sample: bool,
    /// The delay is over.
    pub delayed: bool,
    /// Nanoseconds, once the clock was read.
    pub elapsed: u32,
    /// How often it has yielded.
    pub yields: u32,
}

/// How an attempt, or the park after it, ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Ready before the clock was read.
    ReadyAtOnce,
    /// Ready after this time.
    Ready(u32),
    /// Ready after a yield of this time, less the peer's work.
    Yielded(u32),
    /// Not ready. The caller parks.
    Failed,
    /// Ready after a park; the time of the whole wait.
    Parked { wait: u32, spun: bool },
}

/// What the policy needs to know of a wait that begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    pub timeout: Option<Duration>,
    /// Size of the ring that is waited on, in bytes.
    pub ring_size: u32,
    /// Total bytes that this side has written, for a wait for data.
    pub written: Option<u32>,
    /// A wait may yield: the peer is of this implementation, or this side reads.
    pub may_yield: bool,
}

/// The policy of one direction of a channel.
#[derive(Debug)]
pub(super) struct Policy {
    tuning: Tuning,
    /// Moving average of the time to readiness.
    wait: AtomicU32,
    /// The same for waits that did not spin. A long spin is compared with it.
    parked: AtomicU32,
    rhythm: Rhythm,
    /// Moving average of the samples of answers.
    answer: AtomicU32,
    spin: Backoff,
    yielding: YieldBudget,
    brief: Backoff,
}

impl Policy {
    pub(super) fn new(tuning: Tuning) -> Policy {
        let zero = || AtomicU32::new(0);
        Policy {
            tuning,
            wait: zero(),
            parked: zero(),
            rhythm: Rhythm::default(),
            answer: zero(),
            spin: Backoff::default(),
            yielding: YieldBudget::default(),
            brief: Backoff::default(),
        }
    }

    /// Plans a wait.
    pub(super) fn begin(&self, conditions: &Conditions) -> Attempt {
        let max_spin = self.tuning.max_spin;
        let is_short =
            |timeout: Option<Duration>| timeout.is_some_and(|time| time.as_nanos() < u128::from(max_spin));
        let mut attempt = Attempt::parking();
        if is_short(conditions.timeout) || !self.waits_are_short() {
            return attempt;
        }
        if self.may_spin() && self.spin.should_try() {
            self.plan_spin(&mut attempt, conditions);
        } else if self.tuning.yields > 0
            && conditions.may_yield
            && (!self.tuning.beside || self.spin.is_failing())
            && self.yielding.should_yield()
        {
            attempt.plan = Plan::Yield { times: self.tuning.yields };
        }
        attempt
    }

    /// What an attempt does next.
    pub(super) fn next(&self, attempt: &Attempt) -> Step {
        match attempt.plan {
            Plan::Spin { delay: delay @ 1.., .. } if !attempt.delayed => Step::Delay(delay),
            Plan::Spin { limit, .. } if attempt.elapsed < limit => Step::Check,
            Plan::Yield { times } if attempt.yields < times => Step::Yield,
            Plan::Spin { .. } | Plan::Yield { .. } | Plan::Park => Step::Park,
        }
    }

    /// Learns from an attempt, or from the park that followed it.
    pub(super) fn record(&self, attempt: &Attempt, outcome: Outcome) {
        match outcome {
            Outcome::ReadyAtOnce => {
                self.learn_short();
                self.spin.succeeded();
            }
            Outcome::Ready(wait) => {
                learn(&self.wait, wait);
                if attempt.is_sample {
                    let before = self.answer.load(Ordering::Relaxed);
                    self.answer.store(before - before / 4 + wait.min(MAX_ANSWER) / 4, Ordering::Relaxed);
                }
                let parked = self.parked.load(Ordering::Relaxed);
                if wait > self.tuning.cheap_spin && wait > parked / 100 * WORTH_OF_SLEEP {
                    self.spin.failed();
                } else {
                    self.spin.succeeded();
                }
            }
            Outcome::Yielded(took) => {
                self.yielding.record(took, true);
                self.learn_short();
            }
            Outcome::Failed => match attempt.plan {
                Plan::Spin { .. } => self.spin.failed(),
                Plan::Yield { .. } => self.yielding.record(attempt.elapsed, false),
                Plan::Park => {}
            },
            Outcome::Parked { wait, .. } if wait < MIN_PARK => {}
            Outcome::Parked { wait, spun } => {
                learn(&self.wait, wait);
                if !spun {
                    learn(&self.parked, wait);
                }
            }
        }
    }

    /// Whether a call that must not wait spins briefly, and for how many checks.
    pub(super) fn begin_brief(&self) -> u32 {
        if self.may_spin() && self.brief.should_try() {
            self.tuning.brief_checks
        } else {
            0
        }
    }

    pub(super) fn record_brief(&self, ready: bool) {
        if ready {
            self.brief.succeeded();
        } else {
            self.brief.failed();
        }
    }

    /// Whether the peer runs beside this side and keeps up with it.
    #[inline]
    pub(super) fn peer_keeps_up(&self) -> bool {
        self.may_spin() && !self.spin.is_failing() && self.waits_are_short()
    }

    /// Whether spinning is possible and wanted.
    pub(super) fn may_spin(&self) -> bool {
        self.tuning.beside && self.tuning.max_spin > 0
    }

    fn waits_are_short(&self) -> bool {
        self.tuning.max_spin > 0 && self.wait.load(Ordering::Relaxed) / SPINS_PER_WAIT <= self.tuning.max_spin
    }

    fn plan_spin(&self, attempt: &mut Attempt, conditions: &Conditions) {
        let (is_stream, is_sample) =
            conditions.written.map_or((true, false), |written| self.rhythm.begin(written));
        let delay = if is_stream {
            (self.tuning.stream_delay_per_kib * (conditions.ring_size / 1024)).min(MAX_STREAM_DELAY)
        } else if is_sample {
            0
        } else {
            (self.answer.load(Ordering::Relaxed) * ANSWER_PERCENT / 100).min(self.tuning.max_answer_delay)
        };
        attempt.is_sample = is_sample;
        attempt.plan = Plan::Spin { delay, limit: self.tuning.max_spin };
    }

    /// A wait was too short to be timed.
    fn learn_short(&self) {
        if self.wait.load(Ordering::Relaxed) > MIN_PARK {
            learn(&self.wait, 0);
        }
    }
}

impl Attempt {
    /// One that parks at once.
    pub(super) fn parking() -> Attempt {
        Attempt { plan: Plan::Park, is_sample: false, delayed: false, elapsed: 0, yields: 0 }
    }

    pub(super) fn has_spun(&self) -> bool {
        matches!(self.plan, Plan::Spin { .. })
    }
}

fn learn(average: &AtomicU32, wait: u32) {
    let before = average.load(Ordering::Relaxed);
    average.store(before - before.div_ceil(8) + wait.min(MAX_WAIT) / 8, Ordering::Relaxed);
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::super::tuning::{SAMPLE, STREAM};
    use super::*;

    const READER: Conditions =
        Conditions { timeout: None, ring_size: 65536, written: Some(0), may_yield: true };
    const WRITER: Conditions = Conditions { written: None, ..READER };

    fn tuning() -> Tuning {
        Tuning {
            max_spin: 50_000,
            cheap_spin: 50_000,
            beside: true,
            yields: 2,
            max_answer_delay: 400,
            stream_delay_per_kib: 10,
            brief_checks: 4,
            chunk: 16384,
        }
    }

    fn policy() -> Policy {
        Policy::new(tuning())
    }

    /// The steps of a wait that is never ready; each check takes `per_check`, each yield `per_yield`.
    fn steps(policy: &Policy, conditions: &Conditions, per_check: u32, per_yield: u32) -> Vec<Step> {
        let mut attempt = policy.begin(conditions);
        let mut steps = Vec::new();
        loop {
            let step = policy.next(&attempt);
            steps.push(step);
            match step {
                Step::Delay(_) => attempt.delayed = true,
                Step::Check => attempt.elapsed += per_check,
                Step::Yield => {
                    attempt.yields += 1;
                    attempt.elapsed += per_yield;
                }
                Step::Park => {
                    policy.record(&attempt, Outcome::Failed);
                    return steps;
                }
            }
        }
    }

    fn record(policy: &Policy, outcome: Outcome, times: usize) {
        (0..times).for_each(|_| policy.record(&Attempt::parking(), outcome));
    }

    fn spins(policy: &Policy) -> bool {
        steps(policy, &READER, 50_000, 1000).contains(&Step::Check)
    }

    #[test]
    fn a_new_policy_spins_to_the_limit_and_parks() {
        assert_eq!(steps(&policy(), &READER, 25_000, 0), [Step::Check, Step::Check, Step::Park]);
    }

    #[test]
    fn failures_make_spins_rare_and_yields_take_over() {
        let policy = policy();
        let rounds: Vec<_> = (0..5000).map(|_| steps(&policy, &WRITER, 50_000, 1000)).collect();
        let count = |step| rounds.iter().filter(|steps| steps.contains(&step)).count();
        assert!((10..=16).contains(&count(Step::Check)), "{}", count(Step::Check));
        // A yield that brings nothing backs off in its turn.
        assert!((5..=16).contains(&count(Step::Yield)), "{}", count(Step::Yield));
        assert!(!policy.peer_keeps_up());
    }

    #[test]
    fn a_success_brings_yields_back() {
        let policy = policy();
        (0..100).for_each(|_| drop(steps(&policy, &READER, 50_000, 1000)));
        record(&policy, Outcome::Yielded(1000), 12);
        let yields = (0..1000).filter(|_| {
            let attempt = policy.begin(&READER);
            let yields = policy.next(&attempt) == Step::Yield;
            policy.record(&attempt, if yields { Outcome::Yielded(1000) } else { Outcome::Failed });
            yields
        });
        assert!(yields.count() > 500);
    }

    #[test]
    fn a_slow_yield_is_paid_back() {
        let policy = Policy::new(Tuning { beside: false, ..tuning() });
        let skipped = || (0..).position(|_| policy.next(&policy.begin(&READER)) == Step::Yield);
        record(&policy, Outcome::Yielded(2_000_000), 1);
        assert_eq!(skipped(), Some(10_000));
        record(&policy, Outcome::Yielded(1000), 10_000);
        record(&policy, Outcome::Yielded(400_000), 1);
        assert_eq!(skipped(), Some(0), "the credit was enough");
        record(&policy, Outcome::Yielded(20_200), 1);
        assert_eq!(skipped(), Some(101));
    }

    #[test]
    fn there_are_no_yields_for_a_peer_that_is_woken_byte_by_byte() {
        let policy = Policy::new(Tuning { beside: false, ..tuning() });
        let conditions = Conditions { may_yield: false, ..WRITER };
        assert_eq!(steps(&policy, &conditions, 0, 0), [Step::Park]);
    }

    #[test]
    fn long_waits_are_not_spun_for() {
        let policy = policy();
        record(&policy, Outcome::Parked { wait: MAX_WAIT, spun: false }, 20);
        assert!(!spins(&policy));
        record(&policy, Outcome::Parked { wait: 5000, spun: false }, 60);
        assert!(spins(&policy));
    }

    #[test]
    fn a_park_that_found_an_old_event_teaches_nothing() {
        let policy = policy();
        record(&policy, Outcome::Parked { wait: MAX_WAIT, spun: false }, 20);
        record(&policy, Outcome::Parked { wait: MIN_PARK - 1, spun: false }, 1000);
        assert!(!spins(&policy));
    }

    #[test]
    fn a_long_spin_pays_if_a_sleep_takes_longer() {
        let long = Tuning { max_spin: 1_000_000, cheap_spin: 1_000, ..tuning() };
        for (parked, wait, pays) in [
            (None, 20_000, false),
            (None, 1_000, true),
            (Some(400_000), 20_000, true),
            (Some(400_000), 350_000, false),
            (Some(400_000), 0, true),
        ] {
            let policy = Policy::new(long);
            if let Some(parked) = parked {
                record(&policy, Outcome::Parked { wait: parked, spun: false }, 40);
            }
            record(&policy, Outcome::Ready(wait), 3);
            assert_eq!(!policy.spin.is_failing(), pays, "{parked:?} {wait}");
        }
    }

    #[test]
    fn a_stream_begins_after_waits_without_a_write() {
        let policy = policy();
        let delays = |written, times| {
            let conditions = Conditions { written: Some(written), ..READER };
            let delayed = |_: &u32| matches!(policy.next(&policy.begin(&conditions)), Step::Delay(640));
            (0..times).filter(delayed).count()
        };
        assert_eq!(delays(0, 100), 100 - STREAM as usize);
        assert_eq!(delays(1, 1), 0);
        assert_eq!(delays(1, 100), 100 - STREAM as usize);
    }

    #[test]
    fn the_delay_before_an_answer_is_a_part_of_it() {
        for (answer, delay) in [(300, 150..=180), (600, 300..=360), (1900, 400..=400)] {
            let policy = policy();
            let mut samples = 0;
            let mut last = 0;
            for written in 0..20 * SAMPLE {
                let attempt = policy.begin(&Conditions { written: Some(written), ..READER });
                if let Step::Delay(delay) = policy.next(&attempt) {
                    last = delay;
                }
                samples += u32::from(attempt.is_sample);
                let outcome = if attempt.is_sample { Outcome::Ready(answer) } else { Outcome::ReadyAtOnce };
                policy.record(&attempt, outcome);
            }
            assert_eq!(samples, 20);
            assert!(delay.contains(&last), "{answer}: {last}");
        }
    }

    #[test]
    fn spinning_can_be_off() {
        let policy = Policy::new(Tuning { max_spin: 0, ..tuning() });
        assert!((0..200).all(|_| steps(&policy, &READER, 0, 0) == [Step::Park]));
        assert!(!policy.peer_keeps_up() && policy.begin_brief() == 0);
    }

    #[test]
    fn a_short_timeout_parks() {
        let timeout = Some(Duration::from_micros(40));
        assert_eq!(steps(&policy(), &Conditions { timeout, ..READER }, 0, 0), [Step::Park]);
    }

    #[test]
    fn brief_spins_back_off() {
        let policy = policy();
        assert_eq!(policy.begin_brief(), 4);
        policy.record_brief(false);
        assert_eq!([policy.begin_brief(), policy.begin_brief(), policy.begin_brief()], [0, 0, 4]);
    }
}
