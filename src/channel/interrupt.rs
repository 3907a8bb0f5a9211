//! Which signals end a wait: those alone that have a handler without `SA_RESTART`, as for a blocking `read`.
//!
//! `epoll_wait` fails with `EINTR` after any handler, and after `SIGSTOP` and `SIGCONT`, a tracer's attach, the freezer. So an
//! `EINTR` of its own proves nothing, and a process without such a handler sleeps on. Where there is one, the sleep is a
//! `ppoll`, which a stop or a tracer doesn't end, with the signals blocked that have a restarting handler; a signalfd for those
//! ends the sleep so that their handlers run, and the sleep goes on.
//!
//! To look at all handlers costs some microseconds, as much as a short sleep. So what was seen is kept for a while.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::limit::Limit;

/// How long what was seen counts, for a sleep that begins. Such a sleep looks again when it has lasted that long.
const FRESH: Duration = Duration::from_millis(10);

/// Raised by the thread's own instructions, and so never in a sleep.
const SYNCHRONOUS: [libc::c_int; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

/// What the last look at the process's handlers has shown. Each field stands for itself.
static PLAIN: AtomicU64 = AtomicU64::new(0);
static RESTARTING: AtomicU64 = AtomicU64::new(0);
/// When that was, in nanoseconds; 0 for never.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// The signals that have a handler and are not blocked, a bit for each: 1 << (number - 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signals {
    /// Their handlers end a system call.
    plain: u64,
    /// After their handlers a system call goes on.
    restarting: u64,
}

fn numbers() -> impl Iterator<Item = libc::c_int> {
    1..=64
}

fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// A clock that costs next to nothing and is precise to a few milliseconds.
fn coarse_now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is there to be filled.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32).as_nanos() as u64
}

/// The signals that this thread blocks.
fn blocked() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `set` is emptied first, then filled with the thread's mask, which is not changed.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), set.as_mut_ptr());
        set.assume_init()
    }
}

impl Signals {
    /// As seen a while ago, and whether that is so recent that a short sleep may rely on it.
    fn recent() -> (Signals, bool) {
        let fresh = FRESH.as_nanos() as u64;
        let seen = SEEN.load(Ordering::Relaxed);
        if seen == 0 || coarse_now().saturating_sub(seen) > fresh {
            return (Signals::now(), true);
        }
        (Signals::of_process().unblocked(), false)
    }

    /// Looks at the handlers.
    #[cold]
    fn now() -> Signals {
        if cfg!(miri) {
            return Signals { plain: 0, restarting: 0 };
        }
        let mut signals = Signals { plain: 0, restarting: 0 };
        for signal in numbers().filter(|signal| !SYNCHRONOUS.contains(signal)) {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: only reads the signal's action, into `action`.
            if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
                // The C library's own.
                continue;
            }
            // SAFETY: filled, and all zeros are a value, too.
            let action = unsafe { action.assume_init() };
            match action.sa_sigaction {
                libc::SIG_DFL | libc::SIG_IGN => {}
                _ if action.sa_flags & libc::SA_RESTART != 0 => signals.restarting |= bit(signal),
                _ => signals.plain |= bit(signal),
            }
        }
        PLAIN.store(signals.plain, Ordering::Relaxed);
        RESTARTING.store(signals.restarting, Ordering::Relaxed);
        SEEN.store(coarse_now(), Ordering::Relaxed);
        signals.unblocked()
    }

    fn of_process() -> Signals {
        Signals { plain: PLAIN.load(Ordering::Relaxed), restarting: RESTARTING.load(Ordering::Relaxed) }
    }

    /// Those that this thread doesn't block. Asks only where something may end a wait.
    fn unblocked(self) -> Signals {
        if self.plain == 0 {
            return self;
        }
        let mask = blocked();
        // SAFETY: `mask` is initialized.
        let held = numbers().filter(|&signal| unsafe { libc::sigismember(&mask, signal) } == 1);
        let held = held.fold(0, |held, signal| held | bit(signal));
        Signals { plain: self.plain & !held, restarting: self.restarting & !held }
    }
}

/// How to sleep.
#[cfg(not(model))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// In any system call, but no longer than that; its `EINTR` is to be [looked into](ends_the_wait).
    Freely(Limit),
    /// In [`poll`].
    Precisely,
}

/// How a sleep until `limit` is to be made, as far as is known without a system call, as a rule.
#[cfg(not(model))]
pub(super) fn how_to_sleep(limit: Limit) -> How {
    match Signals::recent() {
        (Signals { plain: 0, .. }, true) => How::Freely(limit),
        (Signals { plain: 0, .. }, false) => How::Freely(limit.or(Limit::After(FRESH))),
        _ => How::Precisely,
    }
}

/// Whether an `EINTR` of a sleep that was made [freely](How::Freely) ends the wait: only where a handler was installed
/// meanwhile that does so.
#[cold]
pub(super) fn ends_the_wait() -> bool {
    Signals::now().plain != 0
}

/// A signal mask and a descriptor to sleep with, so that restarting handlers don't end the wait.
struct Screen {
    mask: libc::sigset_t,
    arrival: OwnedFd,
}

impl Screen {
    fn new(restarting: u64) -> nix::Result<Screen> {
        let (mut mask, mut screened) = (blocked(), MaybeUninit::uninit());
        // SAFETY: `screened` is emptied first; the numbers are those of signals.
        let fd = unsafe {
            libc::sigemptyset(screened.as_mut_ptr());
            for signal in numbers().filter(|&signal| restarting & bit(signal) != 0) {
                libc::sigaddset(screened.as_mut_ptr(), signal);
                libc::sigaddset(&mut mask, signal);
            }
            libc::signalfd(-1, screened.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        let fd = Errno::result(fd)?;
        // SAFETY: a fresh descriptor.
        Ok(Screen { mask, arrival: unsafe { OwnedFd::from_raw_fd(fd) } })
    }
}

/// Waits until one of the descriptors is readable, or until `limit`: says which. `EINTR` only where a handler without
/// `SA_RESTART` ran.
pub(super) fn poll<const N: usize>(fds: [BorrowedFd<'_>; N], limit: Limit) -> nix::Result<bool> {
    let limit = limit.fixed();
    loop {
        let (signals, is_new) = Signals::recent();
        let precise = signals.plain != 0;
        let step = if precise || is_new { limit } else { limit.or(Limit::After(FRESH)).fixed() };
        // Without a descriptor for it, the rarer mistake is to end a wait too early.
        let screen = (precise && signals.restarting != 0).then(|| Screen::new(signals.restarting).ok());
        match poll_once(fds, screen.flatten().as_ref(), step) {
            Ok(Some(true)) => return Ok(true),
            Ok(None) if limit.is_over() => return Ok(false),
            Ok(_) => {}
            Err(Errno::EINTR) if !precise && !ends_the_wait() => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Says whether one of the descriptors is readable, `None` after the limit.
fn poll_once<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    screen: Option<&Screen>,
    limit: Limit,
) -> nix::Result<Option<bool>> {
    let awaited = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is passed over.
    let arrival = screen.map_or(-1, |screen| screen.arrival.as_raw_fd());
    let mut all = [awaited(-1), awaited(-1), awaited(arrival)];
    all[..N].copy_from_slice(&fds.map(|fd| awaited(fd.as_raw_fd())));
    let timeout = limit.time_left();
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mask = screen.map_or(ptr::null(), |screen| ptr::from_ref(&screen.mask));
    // SAFETY: `all`, the time and the mask live as long as the call.
    let count = unsafe { libc::ppoll(all.as_mut_ptr(), all.len() as libc::nfds_t, timeout, mask) };
    Ok(match Errno::result(count)? {
        0 => None,
        _ => Some(all[..N].iter().any(|fd| fd.revents != 0)),
    })
}
