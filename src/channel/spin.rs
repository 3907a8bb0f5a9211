//! Looking again for a short while before asking to be woken.
//!
//! Going to sleep and being woken costs tens of microseconds on an idle core and system calls on both sides; a peer
//! that is busy moves on within a few. Spinning is a loss, though, where the peer can't run meanwhile (it shares our
//! processor) or has nothing to say. So every wait teaches: where waits are long on the average nobody spins; where
//! they are short and spinning fails all the same, it is tried ever more seldom; a success brings it back. Meanwhile the
//! processor is [given away](super::yielding), if that helps.
//!
//! A peer in another domain has to be woken through two schedulers, which can take so long that even a long spin is cheaper.
//! So one may take longer there. But a long one pays only where a sleep takes a good deal longer still: otherwise it is
//! the peer's work that takes its time.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use super::linger::Pause;
use super::seldom::Seldom;
use super::yielding::Yielding;

/// The longest spin, unless `VCHAN_SPIN` or the builder says otherwise. In nanoseconds, as all that follow.
const DEFAULT_MAX: u32 = 50_000;
/// The same for a peer that another scheduler runs.
const DEFAULT_MAX_APART: u32 = 500_000;
/// A long spin may take so much of what a sleep takes, in percent. More than half: the sleep of a side whose peer
/// sleeps, too, is twice as long as the spin with which one of them has to begin.
const WORTH: u32 = 75;
/// Below this a spin is not worth its set-up.
const LEAST: u32 = 1_000;
/// Waits that are longer than so many spins on the average are not spun for.
const TOO_LONG: u32 = 4;
/// A longer wait is taken for this, so that one does not count for many.
const LONGEST: u32 = 1_000_000;
/// Of the waits that are not spun for, one in so many is timed.
const TIMED: u32 = 16;
/// Where spinning seems hopeless, it is as long as two waits on the average, and not shorter than this.
const PROBE: u32 = 5_000;
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;

/// `VCHAN_SPIN`: the longest spin in microseconds, 0 or `off` for none.
static FROM_ENVIRONMENT: Lazy<Option<Duration>> =
    Lazy::new(|| match std::env::var("VCHAN_SPIN").ok()?.as_str() {
        "off" => Some(Duration::ZERO),
        text => text.parse().map(Duration::from_micros).ok(),
    });

/// What one direction of a channel knows of its waits. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Spin {
    max: u32,
    /// A longer one pays only where it saves enough of a sleep.
    cheap: u32,
    /// Whether there is another processor for the peer.
    beside: bool,
    /// Where the peer may share our processor.
    yielding: Option<Yielding>,
    /// The average wait.
    average: AtomicU32,
    /// The average of those for which nothing was tried but to sleep.
    asleep: AtomicU32,
    tries: Seldom,
    /// How many were not spun for.
    skipped: AtomicU32,
}

/// When a wait began, if it is timed: two looks at the clock are a good part of a short wait's cost, and more where
/// they are system calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Option<Instant>,
    spun: bool,
}

impl Begun {
    /// Whether anything is learned from the sleep that follows.
    pub(super) fn counts(self) -> bool {
        self.spun || self.at.is_some()
    }
}

impl Spin {
    /// At most `max` at a time; `None` for the default. Whether the peer runs under the same scheduler as this side.
    pub(super) fn new(max: Option<Duration>, same_scheduler: bool) -> Spin {
        let chosen = max.or(*FROM_ENVIRONMENT).map(|max| max.min(Duration::from_secs(1)).as_nanos() as u32);
        let beside = !same_scheduler || processors() > 1;
        let yielding = same_scheduler.then(Yielding::default);
        match chosen {
            None if !same_scheduler => Spin { cheap: DEFAULT_MAX, ..Spin::up_to(DEFAULT_MAX_APART) },
            _ => Spin { beside, yielding, ..Spin::up_to(chosen.unwrap_or(DEFAULT_MAX)) },
        }
    }

    fn up_to(max: u32) -> Spin {
        let zero = || AtomicU32::new(0);
        let (average, asleep, skipped, tries) = (zero(), zero(), zero(), Seldom::default());
        Spin { max, cheap: max, beside: true, yielding: None, average, asleep, tries, skipped }
    }

    /// After a `pause`, looks until `done` says so or the time is up, `limit` at the latest. If it was in vain, says when
    /// that began, for [`slept`](Self::slept). Where it `yields`, `moved` says how many bytes the peer has moved then.
    pub(super) fn until<'a>(
        &self,
        limit: Option<Duration>,
        pause: impl FnOnce() -> Pause<'a>,
        yields: bool,
        mut done: impl FnMut() -> bool,
        moved: impl Fn() -> u32,
    ) -> Option<Begun> {
        // A model has no time: it looks once, if at all.
        if cfg!(model) {
            return if self.max >= LEAST && done() { None } else { Some(Begun { at: None, spun: true }) };
        }
        if limit.is_some_and(|limit| limit.as_nanos() < u128::from(self.max)) {
            return Some(self.skip());
        }
        if !self.worth_it() {
            return if yields && self.yield_until(done, moved) { None } else { Some(self.skip()) };
        }
        let (mut begun, most) = (None, u128::from(self.most()));
        let pause = pause();
        pause.pass();
        loop {
            for look in 0..LOOKS {
                if done() {
                    pause.learn(look == 0 && begun.is_none());
                    self.succeeded(begun);
                    return None;
                }
                hint::spin_loop();
            }
            // Not before the first looks: reading the clock costs as much as they do.
            let begun = *begun.get_or_insert_with(Instant::now);
            if begun.elapsed().as_nanos() >= most {
                self.tries.failed();
                return Some(Begun { at: Some(begun), spun: true });
            }
        }
    }

    /// The longest that is spun now.
    fn most(&self) -> u32 {
        if self.tries.is_hopeless() {
            self.average.load(Ordering::Relaxed).saturating_mul(2).max(PROBE).min(self.max)
        } else {
            self.max
        }
    }

    fn yield_until(&self, done: impl FnMut() -> bool, moved: impl Fn() -> u32) -> bool {
        let done = (!self.beside || self.tries.is_hopeless())
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

    /// The wait begins without a spin.
    pub(super) fn skip(&self) -> Begun {
        let skipped = self.skipped.load(Ordering::Relaxed).wrapping_add(1);
        self.skipped.store(skipped, Ordering::Relaxed);
        Begun { at: (skipped % TIMED == 0).then(Instant::now), spun: false }
    }

    /// The wait that began then, and for which somebody slept, is over.
    pub(super) fn slept(&self, begun: Begun) {
        let Some(at) = begun.at else { return };
        let wait = since(at);
        learn(&self.average, wait);
        if !begun.spun {
            learn(&self.asleep, wait);
        }
    }

    /// Whether the peer seems to run beside this side and to keep up with it.
    #[inline]
    pub(super) fn hopeful(&self) -> bool {
        self.may_spin() && !self.tries.is_hopeless() && self.waits_are_short()
    }

    /// Whether that makes sense at all, and is wanted.
    pub(super) fn may_spin(&self) -> bool {
        self.beside && self.max >= LEAST
    }

    fn waits_are_short(&self) -> bool {
        self.max >= LEAST && self.average.load(Ordering::Relaxed) / TOO_LONG <= self.max
    }

    fn worth_it(&self) -> bool {
        self.may_spin() && self.waits_are_short() && self.tries.is_due()
    }

    fn succeeded(&self, begun: Option<Instant>) {
        match begun.map(since) {
            None => self.was_short(),
            Some(wait) => {
                learn(&self.average, wait);
                if wait > self.cheap && wait > self.asleep.load(Ordering::Relaxed) / 100 * WORTH {
                    return self.tries.failed();
                }
            }
        }
        self.tries.succeeded();
    }

    fn was_short(&self) {
        if self.average.load(Ordering::Relaxed) > 0 {
            learn(&self.average, 0);
        }
    }
}

fn since(begun: Instant) -> u32 {
    u32::try_from(begun.elapsed().as_nanos()).unwrap_or(LONGEST).min(LONGEST)
}

fn learn(average: &AtomicU32, wait: u32) {
    let before = average.load(Ordering::Relaxed);
    average.store(before - before.div_ceil(8) + wait / 8, Ordering::Relaxed);
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
            Pause::default,
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
    fn failures_make_it_seldom() {
        let spin = Spin::up_to(10_000);
        assert!(spin.hopeful());
        assert!((0..5000).filter(|_| looks(&spin) > 0).count() < 20);
        assert!(!spin.hopeful());
    }

    #[test]
    fn long_waits_are_not_spun_for() {
        let spin = Spin::up_to(10_000);
        for _ in 0..20 {
            learn(&spin.average, LONGEST);
        }
        assert_eq!(looks(&spin), 0);
        // Short ones make up for it.
        for _ in 0..60 {
            learn(&spin.average, 1000);
        }
        assert!(looks(&spin) > 0);
    }

    #[test]
    fn a_long_spin_pays_only_where_it_saves_enough_of_a_sleep() {
        let spin = Spin { cheap: 1_000, ..Spin::up_to(1_000_000_000) };
        let is_hopeless = |wait| {
            let begun = || Instant::now() - Duration::from_nanos(wait);
            (0..3).for_each(|_| spin.succeeded(Some(begun())));
            spin.tries.is_hopeless()
        };
        assert!(is_hopeless(20_000), "nothing is known of sleeping");
        let asleep = Begun { at: Some(Instant::now() - Duration::from_millis(400)), spun: false };
        (0..20).for_each(|_| spin.slept(asleep));
        assert!(!is_hopeless(20_000));
        assert!(is_hopeless(350_000_000), "a sleep is not much longer");
        assert!(!is_hopeless(0));
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
        assert!(spin.until(Some(Duration::from_millis(1)), Pause::default, true, || false, || 0).is_some());
        assert!(begun.elapsed() < Duration::from_millis(500));
    }
}
