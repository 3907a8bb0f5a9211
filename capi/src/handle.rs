//! The C view of a channel: the public structure, followed by private data.
//!
//! Another thread can close a channel during calls: they end with an error, and closing waits until all have
//! returned before it frees anything. So every call is counted, per kind: a thread that reads and one that
//! writes never touch the same counter.
//!
//! A thread that closes in a signal handler cannot wait for its own call, which the handler has interrupted.
//! That call frees the channel when it returns.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use vchan::transport::Role;
use vchan::transport::Transport;
use vchan::unstable::thread::depth;
use vchan::unstable::{cancellation, CallGate, Channel, Own};
use vchan::{Error, Result};

use crate::cancelled;
use crate::errors::{answer, guarded, null, report};
use crate::event::Event;
use crate::layout::{libxenvchan, Flags};
use crate::logger::Logger;

/// The channel is not closed.
const OPEN: u8 = 0;
/// A thread is closing it, and frees it when the other calls have returned.
const CLOSING: u8 = 1;
/// This thread has closed it in a signal handler, and the interrupted call frees it when it returns.
const FREED_BY_CALL: u8 = 2;

/// How long closing waits for calls of other threads. They return within microseconds once the channel is
/// closed, except one that was abandoned by `longjmp` in a thread that does something else since.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A whole channel. C gets a pointer to its beginning.
#[repr(C)]
pub(crate) struct Handle {
    public: UnsafeCell<libxenvchan>,
    private: Private,
}

struct Private {
    channel: Arc<Channel>,
    transport: Arc<dyn Transport>,
    logger: Logger,
    /// The target of `public.event`.
    _event: Event,
    /// `OPEN`, `CLOSING` or `FREED_BY_CALL`.
    state: AtomicU8,
    /// The last `server_persist` that was passed to the channel.
    persistent: AtomicBool,
    gates: [CallGate; 3],
}

/// The kinds of calls that different threads can make at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Reads from a ring.
    Reading,
    /// Writes into a ring.
    Writing,
    /// Anything else.
    Asking,
}

/// The argument of a function's body.
pub(crate) struct Call<'a> {
    private: &'a Private,
    pub(crate) flags: Flags,
}

impl Call<'_> {
    pub(crate) fn channel(&self) -> &Channel {
        &self.private.channel
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.private.transport
    }
}

/// Creates the C side of a channel. `path` is the program's name for it.
pub(crate) fn new(
    channel: Arc<Channel>,
    transport: Arc<dyn Transport>,
    path: &CStr,
    logger: Logger,
) -> *mut libxenvchan {
    channel.look_for_cancellation();
    let event = Event::new(channel.evtchn_fd(), channel.events_fd().as_raw_fd(), logger);
    let mut public = libxenvchan::describing(channel.ring(), channel.event_port());
    public.event = event.as_ptr();
    // SAFETY: a NUL-terminated string.
    public.xs_path = unsafe { libc::strdup(path.as_ptr()) };
    let private = Private {
        channel,
        transport,
        logger,
        _event: event,
        state: AtomicU8::new(OPEN),
        persistent: AtomicBool::new(false),
        gates: Default::default(),
    };
    Box::into_raw(Box::new(Handle { public: UnsafeCell::new(public), private })).cast()
}

impl Private {
    /// Passes the program's `server_persist` on to the channel, if it has changed.
    #[inline]
    fn update_persistence(&self, flags: Flags) -> Result<()> {
        let persistent = flags.persistent();
        // The flag has no meaning for a client, but a program can set it there.
        if self.persistent.load(Ordering::Relaxed) == persistent || self.channel.ring().role() == Role::Client
        {
            return Ok(());
        }
        self.persistent.store(persistent, Ordering::Relaxed);
        self.channel.set_persistent(persistent)
    }
}

impl Private {
    /// Whether this thread is in a call that a signal handler has interrupted. `now` is the [depth] of the
    /// current function.
    fn is_inside(&self, now: usize) -> bool {
        self.gates.iter().any(|gate| gate.own(now) == Own::Inside)
    }

    /// Waits until no other thread is in a call, after the state has changed. Returns `false` after a
    /// timeout.
    ///
    /// Polls: a call that has returned must not touch the channel again, not even to wake this thread.
    fn wait_for_others(&self) -> bool {
        CallGate::order_close();
        let (mut pause, mut waited) = (Duration::from_micros(1), Duration::ZERO);
        while !self.gates.iter().all(CallGate::is_empty) {
            if self.gates.iter().all(CallGate::is_empty_of_the_living) {
                return true;
            }
            if waited >= CLOSE_TIMEOUT {
                return false;
            }
            thread::sleep(pause);
            waited += pause;
            pause = (2 * pause).min(Duration::from_millis(1));
        }
        true
    }
}

/// Runs the body of the function `what` on a channel and converts the result to a C return value: `failure`
/// if it failed.
///
/// # Safety
///
/// `ctrl` must be NULL or a channel from [`new`] that was not freed.
#[inline]
pub(crate) unsafe fn call<T: Copy>(
    ctrl: *mut libxenvchan,
    kind: Kind,
    what: &str,
    failure: T,
    mut body: impl FnMut(&Call<'_>) -> Result<T>,
) -> T {
    if ctrl.is_null() {
        return answer(what, Logger::NONE, failure, || Err(null("the channel")));
    }
    // SAFETY: by the contract `ctrl` begins a `Handle`. No reference is made to its public part.
    let private = unsafe { &(*ctrl.cast::<Handle>()).private };
    let gate = &private.gates[kind as usize];
    let mut logger = Logger::NONE;
    // A thread that is cancelled between two attempts stays counted until it has ended.
    let inside = gate.enter();
    let result = cancelled::attempts(|| {
        guarded(|| {
            if private.state.load(Ordering::SeqCst) != OPEN {
                return Err(Error::Closed);
            }
            // SAFETY: `ctrl` is alive while this call is counted.
            let flags = unsafe { Flags::read(ctrl) };
            private.update_persistence(flags)?;
            body(&Call { private, flags })
        })
    });
    if result.is_err() {
        logger = private.logger;
    }
    let freed_by_call = private.state.load(Ordering::Relaxed) == FREED_BY_CALL;
    // The channel must not be touched after this, unless this thread has to free it.
    inside.leave();
    if freed_by_call {
        // SAFETY: created by `new`; no other thread is in a call.
        unsafe { free_after_last_call(ctrl, depth()) };
    }
    match result {
        Ok(value) => value,
        Err(error) => {
            report(what, logger, &error);
            failure
        }
    }
}

/// Closes a channel and frees it, for a function at the [depth] `now`. Preserves errno.
///
/// # Safety
///
/// As for [`call`], and no call may begin later.
pub(crate) unsafe fn close(ctrl: *mut libxenvchan, now: usize) {
    let errno = Errno::last_raw();
    let _held = cancellation::hold();
    let handle = ctrl.cast::<Handle>();
    // SAFETY: by the contract.
    let private = unsafe { &(*handle).private };
    if private.state.swap(CLOSING, Ordering::SeqCst) != OPEN {
        return;
    }
    private.channel.closer().close();
    if !private.wait_for_others() {
        // A call may still be running, so nothing can ever be freed.
        private.channel.withdraw();
    } else if private.is_inside(now) {
        private.channel.withdraw();
        private.state.store(FREED_BY_CALL, Ordering::Relaxed);
    } else {
        // SAFETY: created by `new`, no call is running, and the program gives up ownership.
        unsafe { free(ctrl) };
    }
    Errno::set_raw(errno);
}

/// Frees a channel that was closed in a signal handler, when the last of the interrupted calls returns.
///
/// # Safety
///
/// `ctrl` must be from [`new`], and no other thread in a call.
#[cold]
unsafe fn free_after_last_call(ctrl: *mut libxenvchan, now: usize) {
    let errno = Errno::last_raw();
    let _held = cancellation::hold();
    // SAFETY: the caller's.
    if !unsafe { &(*ctrl.cast::<Handle>()).private }.is_inside(now) {
        // SAFETY: the program has given up ownership, and this was the last call.
        unsafe { free(ctrl) };
    }
    Errno::set_raw(errno);
}

/// # Safety
///
/// `ctrl` must be from [`new`], and no call running.
unsafe fn free(ctrl: *mut libxenvchan) {
    // SAFETY: the caller's; the path is from `strdup`.
    unsafe {
        libc::free((*ctrl).xs_path.cast());
        drop(Box::from_raw(ctrl.cast::<Handle>()));
    }
}
