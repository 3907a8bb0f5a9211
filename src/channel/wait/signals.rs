//! Which signals end a sleep: those with a handler without `SA_RESTART`, as for a blocked `read`.
//!
//! A sleep waits for several descriptors. No system call for that honours `SA_RESTART`. `epoll_wait` fails with
//! `EINTR` after every handler, and also after the process was stopped, frozen or traced; `ppoll` only after a
//! handler. So this module tracks the handlers of the process. If all of them restart, interruptions are ignored. If
//! only some do, their signals are blocked during a `ppoll` that also watches a signalfd for them, and delivered when
//! it returns. Any other interruption is by a handler that does not restart.
//!
//! The kernel does not report new handlers. So the handlers are looked up again when a sleep begins some time after
//! the last look-up, and after each interruption. A sleep may end although the handler that ran restarts, if another
//! handler without `SA_RESTART` was installed since the last look-up.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::time::{clock_gettime, ClockId};

use super::cancel;
use super::deadline::Deadline;

/// How long a look-up of the handlers is valid when a sleep begins.
const FRESH: Duration = Duration::from_millis(20);

/// The last signal number, and the kernel's signal set with its size in bytes.
const LAST_SIGNAL: libc::c_int = 64;
type SignalSet = u64;
const SET_SIZE: usize = size_of::<SignalSet>();

/// A sleep ends after this time to look for a cancellation, in a program that cancels threads: the C library sends a
/// signal only to threads in its own cancellation points.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The same in a program with several threads where none was cancelled yet, to notice the first cancellation.
const LOOK_FOR_THE_FIRST: Duration = Duration::from_millis(500);

/// Signals that cannot be handled, or that a thread causes itself.
const LEFT_OUT: [libc::c_int; 7] =
    [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

/// Signals that the C library reserves.
const OF_THE_C_LIBRARY: std::ops::RangeInclusive<libc::c_int> = 32..=34;

/// A time in milliseconds, by a clock that is read without a system call everywhere.
#[derive(Clone, Copy)]
pub(super) struct Coarse(Duration);

impl Coarse {
    pub(super) fn now() -> Coarse {
        // Miri only has the precise one.
        let clock = if cfg!(miri) { ClockId::CLOCK_MONOTONIC } else { ClockId::CLOCK_MONOTONIC_COARSE };
        // Reading an existing clock cannot fail.
        Coarse(clock_gettime(clock).map_or(Duration::ZERO, Duration::from))
    }

    pub(super) fn elapsed(self) -> Duration {
        Coarse::now().0.saturating_sub(self.0)
    }

    fn millis(self) -> i64 {
        self.0.as_millis() as i64
    }
}

fn bit(signal: libc::c_int) -> SignalSet {
    1 << (signal - 1)
}

/// How the process handles its signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Handlers {
    /// Some handler does not restart what it interrupts.
    interrupting: bool,
    /// The signals with handlers that restart, as the kernel's set.
    restarting: SignalSet,
    /// Some thread was cancelled before.
    cancels: bool,
}

static INTERRUPTING: AtomicBool = AtomicBool::new(false);
static RESTARTING: AtomicU64 = AtomicU64::new(0);
static CANCELS: AtomicBool = AtomicBool::new(false);
/// When `CANCELS` was last refreshed, in milliseconds.
static ASKED: AtomicI64 = AtomicI64::new(i64::MIN);
/// When all three were last refreshed, in milliseconds.
static FOUND: AtomicI64 = AtomicI64::new(i64::MIN);

/// The flags of a handler, `None` without one.
fn handler_flags(signal: libc::c_int) -> Option<libc::c_int> {
    // SAFETY: zeroes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: changes nothing, and fills in what it was given.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    let handled = result == 0 && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
    handled.then_some(action.sa_flags)
}

impl Handlers {
    fn find() -> Handlers {
        let mut handlers = Handlers { cancels: cancel::was_used(), ..Handlers::default() };
        let signals = (1..=LAST_SIGNAL).filter(|n| !LEFT_OUT.contains(n) && !OF_THE_C_LIBRARY.contains(n));
        for signal in signals.filter(|_| !cfg!(miri)) {
            match handler_flags(signal) {
                Some(flags) if flags & libc::SA_RESTART != 0 => handlers.restarting |= bit(signal),
                Some(_) => handlers.interrupting = true,
                None => {}
            }
        }
        INTERRUPTING.store(handlers.interrupting, Relaxed);
        RESTARTING.store(handlers.restarting, Relaxed);
        CANCELS.store(handlers.cancels, Relaxed);
        FOUND.store(Coarse::now().millis(), Relaxed);
        handlers
    }

    /// For a sleep that begins now.
    fn at(now: Coarse) -> Handlers {
        let age = now.millis().saturating_sub(FOUND.load(Relaxed));
        if age > FRESH.as_millis() as i64 {
            return Handlers::find();
        }
        // One system call at most per tick of this clock.
        if !CANCELS.load(Relaxed) && ASKED.swap(now.millis(), Relaxed) != now.millis() {
            CANCELS.store(cancel::was_used(), Relaxed);
        }
        Handlers {
            interrupting: INTERRUPTING.load(Relaxed),
            restarting: RESTARTING.load(Relaxed),
            cancels: CANCELS.load(Relaxed),
        }
    }
}

thread_local! {
    /// The call was interrupted only to look for a cancellation of the thread. Its caller restarts it.
    static LOOK_WANTED: Cell<bool> = const { Cell::new(false) };
    /// The caller has just looked.
    static LOOKED: Cell<bool> = const { Cell::new(false) };
}

/// As [`take_look_request`], without clearing it.
pub fn is_look_requested() -> bool {
    LOOK_WANTED.get()
}

/// Whether the interrupted call must be restarted after a look for a cancellation of this thread.
pub fn take_look_request() -> bool {
    LOOK_WANTED.take()
}

/// The caller has looked. The next sleep of this thread need not ask for it.
pub fn note_look() {
    LOOKED.set(true);
}

/// The restarted call is over: clears what [`note_look`] set.
pub fn forget_look() {
    LOOKED.set(false);
}

/// Whether this call is restarted after a look for a cancellation.
pub(super) fn is_restarted_call() -> bool {
    LOOKED.get()
}

/// Ends the sleep for a look for a cancellation.
fn request_look() -> Errno {
    LOOK_WANTED.set(true);
    Errno::EINTR
}

/// One sleep of a thread.
pub(super) struct Sleep {
    begun: Coarse,
    handlers: Handlers,
    deadline: Deadline,
    /// The caller looks for a cancellation when asked.
    looks: bool,
}

impl Sleep {
    /// Begins now and ends at `deadline`. Fails if the caller must look for a cancellation first, see [`LOOK_WANTED`].
    pub(super) fn begin(deadline: Deadline, looks: bool) -> nix::Result<Sleep> {
        let begun = Coarse::now();
        let handlers = Handlers::at(begun);
        let looked = LOOKED.take();
        if looks && handlers.cancels && !looked {
            return Err(request_look());
        }
        Ok(Sleep { begun, handlers, deadline, looks })
    }

    /// The time left.
    pub(super) fn left(&self) -> Option<Duration> {
        match self.deadline {
            Deadline::After(length) => Some(length.saturating_sub(self.begun.elapsed())),
            other => other.left(),
        }
    }

    /// The time left until the end, or until a look for a cancellation.
    fn left_for_now(&self) -> Option<Duration> {
        let left = self.left();
        let pause = match self.handlers.cancels {
            true => LOOK_AGAIN,
            false => LOOK_FOR_THE_FIRST,
        };
        if self.looks && (self.handlers.cancels || cancel::is_possible()) {
            Some(left.map_or(pause, |left| left.min(pause)))
        } else {
            left
        }
    }

    /// The time of [`left_for_now`](Self::left_for_now) has passed. Fails if the caller must look for a cancellation.
    fn look_again(&mut self) -> nix::Result<()> {
        if !self.looks || self.is_over() {
            return Ok(());
        }
        if !self.handlers.cancels {
            self.handlers.cancels = cancel::was_used();
            CANCELS.store(self.handlers.cancels, Relaxed);
        }
        if self.handlers.cancels {
            return Err(request_look());
        }
        Ok(())
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// Whether some handler does not restart what it interrupts.
    pub(super) fn has_interrupting_handlers(&self) -> bool {
        self.handlers.interrupting
    }

    /// After an interruption. Fails if it ends the sleep.
    pub(super) fn interrupted(&mut self) -> nix::Result<()> {
        self.handlers = Handlers::find();
        if self.handlers.interrupting {
            return Err(Errno::EINTR);
        }
        if self.looks && self.handlers.cancels {
            return Err(request_look());
        }
        Ok(())
    }

    /// Waits for `set`. `EINTR`: a handler ends the sleep.
    pub(super) fn wait(&mut self, set: &Epoll, found: &mut [EpollEvent]) -> nix::Result<usize> {
        loop {
            let left = self.left_for_now();
            let result = if self.has_interrupting_handlers() {
                poll_or_handler(set.0.as_fd(), left, self.handlers.restarting).and_then(|woken| match woken {
                    PollEnd::Ready => set.wait(found, EpollTimeout::ZERO).map(Some),
                    PollEnd::Late => Ok(Some(0)),
                    PollEnd::Handled => Ok(None),
                })
            } else {
                epoll_wait(set, found, left).map(Some)
            };
            match result {
                // Another thread may have taken what there was.
                Ok(Some(0)) if !self.is_over() => self.look_again()?,
                Ok(Some(count)) => return Ok(count),
                Ok(None) => {}
                Err(Errno::EINTR) => self.interrupted()?,
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Sleep {
    /// Waits until `word` is no longer `seen`, or until [`wake`].
    pub(super) fn wait_for_change(&mut self, word: &AtomicU32, seen: u32) -> nix::Result<()> {
        loop {
            // Without a timeout the kernel honours SA_RESTART, so EINTR is final. With one, every handler and every
            // cancellation interrupts.
            let left = match self.left_for_now() {
                None if self.has_interrupting_handlers() => None,
                None => Some(LONG),
                left => left,
            };
            match futex_wait(word, seen, left) {
                // Back to sleep at once: a signal in between would not end the call.
                Err(Errno::ETIMEDOUT) => {
                    self.look_again()?;
                    if self.is_over() {
                        return Ok(());
                    }
                }
                Err(Errno::EINTR) if left.is_none() => return Err(Errno::EINTR),
                Err(Errno::EINTR) => self.interrupted()?,
                Err(errno) if errno != Errno::EAGAIN => return Err(errno),
                _ => return Ok(()),
            }
        }
    }
}

/// Practically for ever. Only a futex wait with a timeout is interrupted by every handler.
const LONG: Duration = Duration::from_secs(3600);

fn futex_wait(word: &AtomicU32, seen: u32, left: Option<Duration>) -> nix::Result<()> {
    let left = left.map(timespec);
    let left = left.as_ref().map_or(ptr::null(), ptr::from_ref);
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the time are there for the call.
    let result = cancel::with_programs_setting(|| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation, seen, left)
    });
    Errno::result(result).map(drop)
}

/// Wakes `count` threads that wait for the word to change.
pub(super) fn wake(word: &AtomicU32, count: libc::c_int) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word is there. It can't fail.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, count) };
}

fn timespec(left: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: left.as_secs().min(i32::MAX as u64) as _,
        tv_nsec: left.subsec_nanos() as libc::c_long,
    }
}

/// In milliseconds, rounded up, so that a wait is never too short.
pub(super) fn millis(left: Option<Duration>) -> libc::c_int {
    left.map_or(-1, |left| left.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as libc::c_int)
}

/// `epoll_wait` as a system call, which is no cancellation point.
fn epoll_wait(set: &Epoll, found: &mut [EpollEvent], left: Option<Duration>) -> nix::Result<usize> {
    if cfg!(miri) {
        return set.wait(found, EpollTimeout::try_from(millis(left)).unwrap_or(EpollTimeout::NONE));
    }
    let (fd, events, most) = (set.0.as_raw_fd(), found.as_mut_ptr(), found.len());
    let no_set = ptr::null::<SignalSet>();
    // SAFETY: `events` leads to `most` events, and there is no set of signals.
    let count = cancel::with_programs_setting(|| unsafe {
        libc::syscall(libc::SYS_epoll_pwait, fd, events, most as libc::c_int, millis(left), no_set, SET_SIZE)
    });
    Errno::result(count).map(|count| count as usize)
}

enum PollEnd {
    Ready,
    Late,
    /// A restarting handler has run.
    Handled,
}

/// Waits for `fd` to become readable. `EINTR`: a handler of none of the `restarting` signals ran.
fn poll_or_handler(
    fd: BorrowedFd<'_>,
    left: Option<Duration>,
    restarting: SignalSet,
) -> nix::Result<PollEnd> {
    let mask = thread_mask()?;
    let held_back = restarting & !mask;
    let handled = (held_back != 0).then(|| signal_fd(held_back)).transpose()?;
    let watched = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut fds = [watched(fd.as_raw_fd()), watched(handled.as_ref().map_or(-1, OwnedFd::as_raw_fd))];
    let mut left = left.map(timespec);
    let left = left.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mask = mask | held_back;
    // SAFETY: two descriptors to poll; the time and the set of signals are there for the call.
    let count = cancel::with_programs_setting(|| unsafe {
        libc::syscall(libc::SYS_ppoll, fds.as_mut_ptr(), fds.len(), left, ptr::from_ref(&mask), SET_SIZE)
    });
    Ok(match Errno::result(count)? {
        0 => PollEnd::Late,
        _ if fds[0].revents != 0 => PollEnd::Ready,
        _ => PollEnd::Handled,
    })
}

/// The blocked signals of this thread.
fn thread_mask() -> nix::Result<SignalSet> {
    let mut mask: SignalSet = 0;
    let no_set = ptr::null::<SignalSet>();
    // SAFETY: changes nothing, and fills in the set.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, no_set, ptr::from_mut(&mut mask), SET_SIZE)
    };
    Errno::result(result).map(|_| mask)
}

/// Readable while one of these is pending.
fn signal_fd(signals: SignalSet) -> nix::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is there for the call.
    let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, ptr::from_ref(&signals), SET_SIZE, flags) };
    // SAFETY: a new descriptor without another owner.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Waits until one of `fds` is readable, or for `deadline`. Returns whether one is. `EINTR`: a handler without
/// `SA_RESTART` has run.
pub(in crate::channel) fn wait_for_any(
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
    looks: bool,
) -> nix::Result<bool> {
    let set = Epoll::new(nix::sys::epoll::EpollCreateFlags::EPOLL_CLOEXEC)?;
    for fd in fds {
        set.add(fd, EpollEvent::new(nix::sys::epoll::EpollFlags::EPOLLIN, 0))?;
    }
    Sleep::begin(deadline, looks)?.wait(&set, &mut [EpollEvent::empty()]).map(|count| count > 0)
}
