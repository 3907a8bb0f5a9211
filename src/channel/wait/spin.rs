//! Carries out the steps of a policy before a park. Only this file reads the policy's clock and spins.

use std::hint;
use std::thread;
use std::time::Instant;

use once_cell::sync::Lazy;

use super::policy::{Attempt, Conditions, Outcome, Policy, Step};
use super::tuning::{BRIEF_DELAY, CHECKS, WORK_PER_BYTE};

/// Start of a wait that is going to park, and whether it spun before.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitStart {
    /// Absent in models.
    at: Option<Instant>,
    spun: bool,
}

impl WaitStart {
    /// A wait that parks at once.
    pub(super) fn now() -> WaitStart {
        WaitStart { at: Some(Instant::now()), spun: false }
    }

    pub(super) fn has_spun(&self) -> bool {
        self.spun
    }

    /// Tells the policy that the park is over.
    pub(super) fn record_park(self, policy: &Policy) {
        if let Some(at) = self.at {
            policy.record(
                &Attempt::parking(),
                Outcome::Parked { wait: nanoseconds_since(at), spun: self.spun },
            );
        }
    }
}

/// Waits without a park. `None`: the wait is over. Otherwise the caller parks. `moved` counts the bytes that the peer
/// moved during a yield.
pub(super) fn run(
    policy: &Policy,
    conditions: &Conditions,
    mut ready: impl FnMut() -> bool,
    moved: impl Fn() -> u32,
) -> Option<WaitStart> {
    // A model has no time: it checks once, if at all.
    if cfg!(model) {
        return if policy.may_spin() && ready() { None } else { Some(WaitStart { at: None, spun: true }) };
    }
    let mut attempt = policy.begin(conditions);
    let mut begun = attempt.is_sample.then(Instant::now);
    loop {
        match policy.next(&attempt) {
            Step::Delay(time) => {
                delay(time);
                attempt.delayed = true;
            }
            Step::Check => {
                for _ in 0..CHECKS {
                    if ready() {
                        let outcome =
                            begun.map_or(Outcome::ReadyAtOnce, |at| Outcome::Ready(nanoseconds_since(at)));
                        policy.record(&attempt, outcome);
                        return None;
                    }
                    hint::spin_loop();
                }
                // Not before the first checks: reading the clock costs as much as they do.
                attempt.elapsed = nanoseconds_since(*begun.get_or_insert_with(Instant::now));
            }
            Step::Yield => {
                let at = *begun.get_or_insert_with(Instant::now);
                thread::yield_now();
                attempt.yields += 1;
                let ready = ready();
                attempt.elapsed = nanoseconds_since(at).saturating_sub(moved().saturating_mul(WORK_PER_BYTE));
                if ready {
                    policy.record(&attempt, Outcome::Yielded(attempt.elapsed));
                    return None;
                }
            }
            Step::Park => {
                policy.record(&attempt, Outcome::Failed);
                let at = begun.unwrap_or_else(Instant::now);
                return Some(WaitStart { at: Some(at), spun: attempt.has_spun() });
            }
        }
    }
}

/// The brief spin of a call that must not wait. Returns whether it was successful.
pub(super) fn run_brief(policy: &Policy, ready: impl Fn() -> bool) -> bool {
    // A model has no time.
    let checks = if cfg!(model) { 0 } else { policy.begin_brief() };
    if checks == 0 {
        return false;
    }
    let is_ready = (0..checks).any(|_| {
        delay(BRIEF_DELAY);
        ready()
    });
    policy.record_brief(is_ready);
    is_ready
}

/// The time of one spin-loop hint. It differs by a factor of ten between processors.
static HINT: Lazy<u32> = Lazy::new(|| {
    const HINTS: u32 = 256;
    let once = || {
        let begun = Instant::now();
        (0..HINTS).for_each(|_| hint::spin_loop());
        begun.elapsed().as_nanos() as u32 / HINTS
    };
    // The least of several: a measurement may be interrupted.
    (0..4).map(|_| once()).min().unwrap_or_default().max(1)
});

/// Accesses no memory for this many nanoseconds.
fn delay(nanoseconds: u32) {
    (0..nanoseconds / *HINT).for_each(|_| hint::spin_loop());
}

fn nanoseconds_since(begun: Instant) -> u32 {
    u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX)
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::super::tuning::{Tuning, BRIEF_CHECKS};
    use super::*;

    fn policy(spin: Duration) -> Policy {
        Policy::new(Tuning::new(Some(spin), true))
    }

    #[test]
    fn a_timeout_shorter_than_the_spin_is_kept() {
        let policy = policy(Duration::from_secs(1));
        let conditions = Conditions { timeout: Some(Duration::from_millis(1)), ..Conditions::default() };
        let begun = Instant::now();
        assert!(run(&policy, &conditions, || false, || 0).is_some());
        assert!(begun.elapsed() < Duration::from_millis(500));
    }

    #[test]
    fn a_brief_spin_ends_with_the_first_success() {
        let (policy, checks) = (policy(Duration::from_micros(50)), Cell::new(0));
        let is_ready_at = |number| {
            checks.set(checks.get() + 1);
            checks.get() == number
        };
        if !policy.may_spin() {
            return;
        }
        assert!(run_brief(&policy, || is_ready_at(2)));
        assert_eq!(checks.take(), 2);
        assert!(!run_brief(&policy, || is_ready_at(BRIEF_CHECKS + 1)));
        assert_eq!(checks.get(), BRIEF_CHECKS);
    }

    #[test]
    fn each_yield_is_followed_by_a_check() {
        let tuning = Tuning { beside: false, ..Tuning::new(None, true) };
        let (policy, checks) = (Policy::new(tuning), Cell::new(0));
        let conditions = Conditions { may_yield: true, ..Conditions::default() };
        let count = || {
            checks.set(checks.get() + 1);
            false
        };
        assert!(run(&policy, &conditions, count, || 0).is_some());
        assert_eq!(checks.get(), tuning.yields);
    }
}
