//! A channel as C holds it: the public structure, and behind it what programs don't see.
//!
//! Another thread may close a channel while calls are under way: they end with an error, and closing waits until
//! all have left before it frees anything. So every call is counted, in a lane of its kind: a thread that reads and
//! one that writes never touch the same counter.
//!
//! A thread that closes in a signal handler can't wait for its own call, which the handler has interrupted. That one frees the
//! channel when it leaves.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use vchan::ring::Role;
use vchan::transport::Transport;
use vchan::unstable::thread::depth;
use vchan::unstable::{cancellation, CallGate, Channel, Own};
use vchan::{Error, Result};

use crate::cancelled;
use crate::errors::{answer, guarded, null, report};
use crate::event::Event;
use crate::layout::{libxenvchan, Flags};
use crate::logger::Logger;

/// Nobody has closed the channel.
const OPEN: u8 = 0;
/// Somebody closes it, and frees it when the others have left.
const CLOSING: u8 = 1;
/// This thread has closed it in a signal handler, and its call frees it when it leaves.
const LEFT_TO_THE_CALL: u8 = 2;

/// For how long closing waits for the calls of others. They leave within microseconds once the channel is closed; only one that
/// was left by `longjmp`, in a thread that goes on with something else, never does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The whole of a channel. C gets a pointer to its beginning.
#[repr(C)]
pub(crate) struct Handle {
    public: UnsafeCell<libxenvchan>,
    private: Private,
}

struct Private {
    channel: Arc<Channel>,
    transport: Arc<dyn Transport>,
    logger: Logger,
    /// What `public.event` points at.
    _event: Event,
    /// One of the three above.
    door: AtomicU8,
    /// The last `server_persist` that the channel was told.
    persistent: AtomicBool,
    lanes: [CallGate; 3],
}

/// The kinds of calls that different threads make at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// From the ring.
    Reading,
    /// Into the ring.
    Writing,
    /// Anything else.
    Asking,
}

/// What the body of an entry gets.
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

/// Makes the C side of a channel. `path` is what the program called it.
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
    // SAFETY: a string that ends in zero.
    public.xs_path = unsafe { libc::strdup(path.as_ptr()) };
    let private = Private {
        channel,
        transport,
        logger,
        _event: event,
        door: AtomicU8::new(OPEN),
        persistent: AtomicBool::new(false),
        lanes: Default::default(),
    };
    Box::into_raw(Box::new(Handle { public: UnsafeCell::new(public), private })).cast()
}

impl Private {
    /// Passes the program's `server_persist` on to the channel, if it has changed.
    #[inline]
    fn tell_persistence(&self, flags: Flags) -> Result<()> {
        let persistent = flags.persistent();
        // A client has no use for the flag, and a program may have set it there.
        if self.persistent.load(Ordering::Relaxed) == persistent || self.channel.ring().role() == Role::Client
        {
            return Ok(());
        }
        self.persistent.store(persistent, Ordering::Relaxed);
        self.channel.set_persistent(persistent)
    }
}

impl Private {
    /// Whether this thread is in a call, which a signal handler has interrupted. `now` is the [depth] of the entry that asks.
    fn is_inside(&self, now: usize) -> bool {
        self.lanes.iter().any(|gate| gate.own(now) == Own::Inside)
    }

    /// Waits until no other thread is in a call, after the door was shut. Says whether that has come true.
    ///
    /// Polls: a caller that has left must not touch the channel again, not even to wake this thread.
    fn wait_for_others(&self) -> bool {
        CallGate::order_close();
        let (mut pause, mut waited) = (Duration::from_micros(1), Duration::ZERO);
        while !self.lanes.iter().all(CallGate::is_empty) {
            if self.lanes.iter().all(CallGate::is_empty_of_the_living) {
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

/// Runs the body of the entry `what` on a channel and answers as C wants it: `failure` where it failed.
///
/// # Safety
///
/// `ctrl` must be NULL or a channel that [`new`] made and that nobody has finished closing.
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
    let gate = &private.lanes[kind as usize];
    let mut logger = Logger::NONE;
    // A thread that is cancelled between two attempts stays counted until it has ended.
    let ticket = gate.enter();
    let result = cancelled::attempts(|| {
        guarded(|| {
            if private.door.load(Ordering::SeqCst) != OPEN {
                return Err(Error::Closed);
            }
            // SAFETY: `ctrl` is alive while this call is counted.
            let flags = unsafe { Flags::read(ctrl) };
            private.tell_persistence(flags)?;
            body(&Call { private, flags })
        })
    });
    if result.is_err() {
        logger = private.logger;
    }
    let left_to_the_call = private.door.load(Ordering::Relaxed) == LEFT_TO_THE_CALL;
    // Nothing of the channel may be touched after this, unless it was left to this thread.
    ticket.leave();
    if left_to_the_call {
        // SAFETY: made by `new`; no other thread is inside.
        unsafe { free_after_the_last(ctrl, depth()) };
    }
    match result {
        Ok(value) => value,
        Err(error) => {
            report(what, logger, &error);
            failure
        }
    }
}

/// Closes a channel and frees it, for an entry at the [depth] `now`. Leaves errno alone.
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
    if private.door.swap(CLOSING, Ordering::SeqCst) != OPEN {
        return;
    }
    private.channel.closer().close();
    if !private.wait_for_others() {
        // Somebody may still be inside, so nothing can be freed, ever.
        private.channel.withdraw();
    } else if private.is_inside(now) {
        private.channel.withdraw();
        private.door.store(LEFT_TO_THE_CALL, Ordering::Relaxed);
    } else {
        // SAFETY: made by `new`, nobody is inside any more, and the program lets go of it.
        unsafe { free(ctrl) };
    }
    Errno::set_raw(errno);
}

/// Frees a channel that was closed in a signal handler when the last of the calls has left which the handler has interrupted.
///
/// # Safety
///
/// `ctrl` must be from [`new`], and no other thread in a call.
#[cold]
unsafe fn free_after_the_last(ctrl: *mut libxenvchan, now: usize) {
    let errno = Errno::last_raw();
    let _held = cancellation::hold();
    // SAFETY: the caller's.
    if !unsafe { &(*ctrl.cast::<Handle>()).private }.is_inside(now) {
        // SAFETY: the program has let go of it, and this was the last call.
        unsafe { free(ctrl) };
    }
    Errno::set_raw(errno);
}

/// # Safety
///
/// `ctrl` must be from [`new`], and nobody inside.
unsafe fn free(ctrl: *mut libxenvchan) {
    // SAFETY: the caller's; the path is from `strdup`.
    unsafe {
        libc::free((*ctrl).xs_path.cast());
        drop(Box::from_raw(ctrl.cast::<Handle>()));
    }
}
