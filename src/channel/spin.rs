//! Looking again for a short while before asking to be woken.
//!
//! Going to sleep and being woken costs tens of microseconds on an idle core and system calls on both sides; a peer
//! that is busy moves on within a few. Spinning is a loss, though, where the peer can't run meanwhile (it shares our
//! processor) or has nothing to say. So every wait teaches: where waits are long on the average nobody spins; where
//! they are short and spinning fails all the same, it is tried ever more seldom; a success brings it back. Meanwhile the
//! processor is [given away](super::yielding), if that helps.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use super::yielding::Yielding;

/// The longest spin, unless `VCHAN_SPIN` or the builder says otherwise.
const DEFAULT_MAX: Duration = Duration::from_micros(50);
/// Below this a spin is not worth its set-up.
const LEAST: u32 = 1_000;
/// Waits that are longer than so many spins on the average are not spun for.
const TOO_LONG: u32 = 4;
/// A longer wait is taken for this, so that one does not count for many. In nanoseconds.
const LONGEST: u32 = 1_000_000;
/// After many failures, one wait in 2 to the power of this is still spun for.
const MOST_SELDOM: u32 = 12;
/// Of the waits that are not spun for, one in so many is timed.
const TIMED: u32 = 16;
/// So many failures are more than chance.
const HOPELESS: u32 = 2;
/// After these, a spin is as long as two waits on the average, and not shorter than this. In nanoseconds.
const PROBE: u32 = 5_000;
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;

/// `VCHAN_SPIN`: the longest spin in microseconds, 0 or `off` for none.
static FROM_ENVIRONMENT: Lazy<Duration> = Lazy::new(|| match std::env::var("VCHAN_SPIN") {
    Ok(text) if text == "off" => Duration::ZERO,
    Ok(text) => text.parse().map_or(DEFAULT_MAX, Duration::from_micros),
    Err(_) => DEFAULT_MAX,
});

/// What one direction of a channel knows of its waits. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Spin {
    max: u32,
    /// Whether there is another processor for the peer.
    beside: bool,
    /// Where the peer may share our processor.
    yielding: Option<Yielding>,
    /// The average wait.
    average: AtomicU32,
    /// How often spinning failed lately.
    failures: AtomicU32,
    /// How many more waits are not spun for.
    pause: AtomicU32,
    /// How many were not spun for.
    skipped: AtomicU32,
}

/// When a wait began, if it is timed: two looks at the clock are a good part of a short wait's cost, and more where
/// they are system calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun(Option<Instant>);

impl Spin {
    /// At most `max` at a time; `None` for the default. Whether the peer runs under the same scheduler as this side.
    pub(super) fn new(max: Option<Duration>, same_scheduler: bool) -> Spin {
        let max = max.unwrap_or(*FROM_ENVIRONMENT).min(Duration::from_secs(1)).as_nanos() as u32;
        let yielding = same_scheduler.then(Yielding::default);
        Spin { beside: processors() > 1, yielding, ..Spin::up_to(max) }
    }

    fn up_to(max: u32) -> Spin {
        let zero = || AtomicU32::new(0);
        let (average, failures, pause, skipped) = (zero(), zero(), zero(), zero());
        Spin { max, beside: true, yielding: None, average, failures, pause, skipped }
    }

    /// After a `pause`, looks until `done` says so or the time is up, `limit` at the latest. If it was in vain, says when that began,
    /// for [`slept`](Self::slept). Where it `yields`, `moved` says how many bytes the peer has moved then.
    pub(super) fn until(
        &self,
        limit: Option<Duration>,
        pause: Duration,
        yields: bool,
        mut done: impl FnMut() -> bool,
        moved: impl Fn() -> u32,
    ) -> Option<Begun> {
        // A model has no time: it looks once, if at all.
        if cfg!(model) {
            return if self.max >= LEAST && done() { None } else { Some(Begun(None)) };
        }
        if limit.is_some_and(|limit| limit.as_nanos() < u128::from(self.max)) {
            return Some(self.skip());
        }
        if !self.worth_it() {
            return if yields && self.yield_until(done, moved) { None } else { Some(self.skip()) };
        }
        let (mut begun, most) = (linger(pause), u128::from(self.most()));
        loop {
            for _ in 0..LOOKS {
                if done() {
                    self.succeeded(begun);
                    return None;
                }
                hint::spin_loop();
            }
            // Not before the first looks: reading the clock costs as much as they do.
            let begun = *begun.get_or_insert_with(Instant::now);
            if begun.elapsed().as_nanos() >= most {
                self.failed();
                return Some(Begun(Some(begun)));
            }
        }
    }

    /// The longest that is spun now.
    fn most(&self) -> u32 {
        if self.failures.load(Ordering::Relaxed) < HOPELESS {
            self.max
        } else {
            self.average.load(Ordering::Relaxed).saturating_mul(2).max(PROBE).min(self.max)
        }
    }

    fn yield_until(&self, done: impl FnMut() -> bool, moved: impl Fn() -> u32) -> bool {
        let hopeless = !self.beside || self.failures.load(Ordering::Relaxed) >= HOPELESS;
        let done = hopeless
            && self.waits_are_short()
            && self.yielding.as_ref().is_some_and(|yielding| yielding.until(done, moved));
        if done {
            self.was_short();
        }
        done
    }

    /// The peer has asked for an event instead of looking itself, and will run as soon as it gets that.
    pub(super) fn peer_sleeps(&self) {
        if let Some(yielding) = &self.yielding {
            yielding.peer_sleeps();
        }
    }

    fn skip(&self) -> Begun {
        let skipped = self.skipped.load(Ordering::Relaxed).wrapping_add(1);
        self.skipped.store(skipped, Ordering::Relaxed);
        Begun((skipped % TIMED == 0).then(Instant::now))
    }

    /// The wait that began then, and for which somebody slept, is over.
    pub(super) fn slept(&self, begun: Begun) {
        if let Begun(Some(begun)) = begun {
            self.learn(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(LONGEST));
        }
    }

    /// Whether the peer seems to run beside this side and to keep up with it.
    #[inline]
    pub(super) fn hopeful(&self) -> bool {
        self.beside && self.failures.load(Ordering::Relaxed) < HOPELESS && self.waits_are_short()
    }

    fn waits_are_short(&self) -> bool {
        self.max >= LEAST && self.average.load(Ordering::Relaxed) / TOO_LONG <= self.max
    }

    fn worth_it(&self) -> bool {
        if !self.beside || !self.waits_are_short() {
            return false;
        }
        let pause = self.pause.load(Ordering::Relaxed);
        if pause > 0 {
            self.pause.store(pause - 1, Ordering::Relaxed);
        }
        pause == 0
    }

    fn succeeded(&self, begun: Option<Instant>) {
        let failures = self.failures.load(Ordering::Relaxed);
        if failures > 0 {
            self.failures.store(failures / 2, Ordering::Relaxed);
        }
        if begun.is_some() {
            self.slept(Begun(begun));
        } else {
            self.was_short();
        }
    }

    fn was_short(&self) {
        if self.average.load(Ordering::Relaxed) > 0 {
            self.learn(0);
        }
    }

    fn failed(&self) {
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        self.failures.store(failures, Ordering::Relaxed);
        self.pause.store(1 << failures.min(MOST_SELDOM), Ordering::Relaxed);
    }

    fn learn(&self, wait: u32) {
        let average = self.average.load(Ordering::Relaxed);
        self.average.store(average - average.div_ceil(8) + wait.min(LONGEST) / 8, Ordering::Relaxed);
    }
}

/// Looks at nothing for so long; says when that began.
fn linger(pause: Duration) -> Option<Instant> {
    let begun = (!pause.is_zero()).then(Instant::now)?;
    while begun.elapsed() < pause {
        (0..LOOKS).for_each(|_| hint::spin_loop());
    }
    Some(begun)
}

/// How many processors the peer could be running on. Not how many this thread may use: a thread that is bound to one
/// of two gains most by spinning. Where the peer shares its one processor, the outcomes say so.
fn processors() -> libc::c_long {
    // SAFETY: reads a number.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    fn looks(spin: &Spin) -> u32 {
        let mut looks = 0;
        spin.until(
            None,
            Duration::ZERO,
            true,
            || {
                looks += 1;
                false
            },
            || 0,
        );
        looks
    }

    #[test]
    fn failures_make_it_seldom_and_a_success_brings_it_back() {
        let spin = Spin::up_to(10_000);
        assert!(spin.hopeful());
        let spun = (0..5000).filter(|_| looks(&spin) > 0).count();
        // Once in 2, 4, 8, … 4096 waits.
        assert!((10..=16).contains(&spun), "{spun}");
        assert!(!spin.hopeful());
        let mut done = 0;
        for _ in 0..100_000 {
            done += u32::from(spin.until(None, Duration::ZERO, true, || true, || 0).is_none());
        }
        assert!(done > 90_000, "{done}");
        assert!(spin.hopeful());
    }

    #[test]
    fn long_waits_are_not_spun_for() {
        let spin = Spin::up_to(10_000);
        for _ in 0..20 {
            spin.learn(LONGEST);
        }
        assert_eq!(looks(&spin), 0);
        // Short ones make up for it.
        for _ in 0..60 {
            spin.learn(1000);
        }
        assert!(looks(&spin) > 0);
    }

    #[test]
    fn off_is_off() {
        let spin = Spin::new(Some(Duration::ZERO), true);
        assert_eq!((0..200).map(|_| looks(&spin)).sum::<u32>(), 0);
        assert!(!spin.hopeful());
    }

    #[test]
    fn a_short_limit_is_kept() {
        let spin = Spin::up_to(1_000_000_000);
        let begun = Instant::now();
        assert!(spin.until(Some(Duration::from_millis(1)), Duration::ZERO, true, || false, || 0).is_some());
        assert!(begun.elapsed() < Duration::from_millis(500));
    }
}
