//! The numbers behind waiting. A number that cells of the benchmark justify names them; docs/performance.md has the
//! table of ablations. Times are in nanoseconds.

use std::time::Duration;

use once_cell::sync::Lazy;

/// A failing mechanism is still tried once in 2 to the power of this many waits.
pub(super) const MAX_BACKOFF: u32 = 12;

/// Longest spin for a peer under this kernel (roundtrip+20/own), and for one in another domain (Xen).
const MAX_SPIN: u32 = 50_000;
const MAX_SPIN_OTHER_KERNEL: u32 = 500_000;
/// A lower limit disables spinning, and with it yields.
pub(super) const MIN_SPIN: u32 = 1_000;
/// No spinning and no yields if the average wait exceeds this many longest spins (oneway/one).
pub(super) const SPINS_PER_WAIT: u32 = 4;
/// A spin longer than [`Tuning::cheap_spin`] pays if it takes less than this part of a sleep, in percent (Xen).
pub(super) const WORTH_OF_SLEEP: u32 = 75;
/// Checks between two readings of the clock.
pub(super) const CHECKS: u32 = 16;
/// A longer wait counts as this long, so that one wait does not outweigh many.
pub(super) const MAX_WAIT: u32 = 1_000_000;
/// A park that ends sooner was ended by a stale event, and teaches nothing.
pub(super) const MIN_PARK: u32 = 2_000;
/// One wait for an answer in this many is timed.
pub(super) const SAMPLE: u32 = 64;

/// The delay before the first check: this part of the average answer, in percent, up to a limit (roundtrip+0/own).
pub(super) const ANSWER_PERCENT: u32 = 60;
pub(super) const MAX_ANSWER_DELAY: u32 = 400;
/// A longer answer counts as this long.
pub(super) const MAX_ANSWER: u32 = 10_000;
/// A direction is a stream after this many waits without a write in between.
pub(super) const STREAM: u32 = 16;
/// The delay in a stream, per KiB of the ring, up to a limit (oneway/own, bothways/own).
pub(super) const STREAM_DELAY_PER_KIB: u32 = 10;
pub(super) const MAX_STREAM_DELAY: u32 = 2_500;

/// The spin of a call that must not wait: how many checks, and the delay before each (bothways/own).
pub(super) const BRIEF_CHECKS: u32 = 4;
pub(super) const BRIEF_DELAY: u32 = 200;

/// How often one wait yields the processor (oneway/one, roundtrip+0/one).
pub(super) const YIELDS: u32 = 2;
/// A yield that takes longer than this, plus the peer's work per byte, went to another process.
pub(super) const SLOW_YIELD: u32 = 20_000;
pub(super) const WORK_PER_BYTE: u32 = 1;
/// Credit earned by a successful yield, or by a wait that skips it, and its maximum. A slow yield costs its time.
pub(super) const YIELD_GAIN: i32 = 200;
pub(super) const MAX_YIELD_CREDIT: i32 = 400_000;

/// Bytes that are copied before they are published, so that the peer works on them meanwhile (oneway/own, many+1).
pub(in crate::channel) const CHUNK: usize = 16 * 1024;
/// Up to this part of the ring is one chunk.
pub(super) const CHUNKS_PER_RING: usize = 8;

/// `VCHAN_SPIN`: the longest spin in microseconds, 0 or `off` for none.
static MAX_SPIN_FROM_ENVIRONMENT: Lazy<Option<Duration>> =
    Lazy::new(|| match std::env::var("VCHAN_SPIN").ok()?.as_str() {
        "off" => Some(Duration::ZERO),
        text => text.parse().map(Duration::from_micros).ok(),
    });

/// `VCHAN_WITHOUT`: the mechanisms that the benchmark switches off, separated by commas.
static WITHOUT: Lazy<String> = Lazy::new(|| std::env::var("VCHAN_WITHOUT").unwrap_or_default());

/// Whether the benchmark leaves this mechanism on.
pub(super) fn has(mechanism: &str) -> bool {
    !WITHOUT.split(',').any(|off| off == mechanism)
}

/// What one channel uses. A mechanism that is off has zeros here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// Longest spin, 0 for none.
    pub max_spin: u32,
    /// A spin up to this length needs no comparison with a sleep.
    pub cheap_spin: u32,
    /// The peer can run while this side spins.
    pub beside: bool,
    /// How often one wait yields.
    pub yields: u32,
    pub max_answer_delay: u32,
    pub stream_delay_per_kib: u32,
    pub brief_checks: u32,
    pub chunk: usize,
}

impl Tuning {
    /// For spins of at most `max` (`None` for the default), and a peer whose threads run under this kernel or another.
    pub(super) fn new(max: Option<Duration>, same_kernel: bool) -> Tuning {
        let chosen = max.or(*MAX_SPIN_FROM_ENVIRONMENT);
        let chosen = chosen.map(|max| max.min(Duration::from_secs(1)).as_nanos() as u32);
        let max_spin = chosen.unwrap_or(if same_kernel { MAX_SPIN } else { MAX_SPIN_OTHER_KERNEL });
        let cheap_spin = if chosen.is_none() { MAX_SPIN } else { max_spin };
        let max_spin = if max_spin >= MIN_SPIN { max_spin } else { 0 };
        let on = |mechanism, value| if has(mechanism) { value } else { 0 };
        Tuning {
            max_spin: on("spin", max_spin),
            cheap_spin,
            beside: !same_kernel || processors() > 1,
            yields: if same_kernel { on("yield", YIELDS) } else { 0 },
            max_answer_delay: on("answer-delay", MAX_ANSWER_DELAY),
            stream_delay_per_kib: on("stream-delay", STREAM_DELAY_PER_KIB),
            brief_checks: on("brief-spin", BRIEF_CHECKS),
            chunk: if has("chunks") { CHUNK } else { usize::MAX },
        }
    }
}

/// Processors that are online. The peer may run on any of them, whatever this thread is bound to.
fn processors() -> libc::c_long {
    // SAFETY: reads a number.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }
}
