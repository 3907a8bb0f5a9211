//! Runs scripts from seeds, one after another, under a watchdog.

use std::io::Write;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Once};
use std::time::Duration;

use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};

use crate::engine::{Script, Tally};

/// The environment variable with the only seed to run.
const SEED: &str = "VCHAN_SEED";

/// The time limit of a script, above that of any script on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The seed of the current script, printed if the process is killed.
static LATEST: AtomicU64 = AtomicU64::new(u64::MAX);

/// Runs `count` scripts of up to `len` bytes, or the one that the environment selects. Prints what was tried.
pub fn run(name: &str, count: u64, len: usize, script: impl Fn(&[u8]) -> Tally) -> Tally {
    print_seed_on_sigsegv();
    if let Ok(seed) = std::env::var(SEED) {
        let seed: u64 = seed.parse().unwrap_or_else(|_| panic!("{SEED} is {seed:?}, not a number"));
        say(&format!("hostile {name}: {}", once(name, seed, len, &script)));
        // A single script does not try everything.
        std::process::exit(0);
    }
    let mut tally = Tally::default();
    for seed in 0..count {
        tally.add(&once(name, seed, len, &script));
    }
    say(&format!("hostile {name}: {tally}"));
    tally
}

/// Bypasses the test harness, which only shows the output of failing tests.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error");
}

fn once(name: &str, seed: u64, len: usize, script: &impl Fn(&[u8]) -> Tally) -> Tally {
    LATEST.store(seed, Ordering::Relaxed);
    let bytes = Script::from_seed(seed, len / 8 + (seed as usize * 37) % len);
    let (done, is_done) = mpsc::channel::<()>();
    let name_again = name.to_owned();
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(TIME_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("hostile {name_again}: {SEED}={seed} hangs");
            std::process::abort();
        }
    });
    let result = catch_unwind(AssertUnwindSafe(|| script(&bytes)));
    drop(done);
    watchdog.join().expect("the watchdog");
    result.unwrap_or_else(|panic| {
        eprintln!("hostile {name}: failed with {SEED}={seed}, the script {}", hex(&bytes));
        resume_unwind(panic)
    })
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An access beyond the rings kills the process; only a signal handler can still print.
fn print_seed_on_sigsegv() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let action = SigAction::new(SigHandler::Handler(killed), SaFlags::SA_RESETHAND, SigSet::empty());
        // SAFETY: the handler is async-signal-safe; when it returns, the access is repeated and kills the
        // process.
        unsafe { sigaction(Signal::SIGSEGV, &action) }.expect("a signal handler");
    });
}

extern "C" fn killed(_: libc::c_int) {
    let mut digits = [b'0'; 20];
    let mut rest = LATEST.load(Ordering::Relaxed);
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    for text in [b"\nhostile: an access beyond the rings, in or near VCHAN_SEED=".as_slice(), &digits, b"\n"]
    {
        // SAFETY: an open descriptor, and bytes of that length.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
}
