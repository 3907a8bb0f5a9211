//! A channel as C holds it: the public structure, and behind it what programs don't see.
//!
//! Another thread may close a channel while calls are under way: they end with an error, and closing waits until
//! all have left before it frees anything. So every call is counted, in a lane of its kind: a thread that reads and
//! one that writes never touch the same counter.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use nix::errno::Errno;
use vchan::barrier;
use vchan::channel::{cancellation, Channel};
use vchan::ring::Role;
use vchan::transport::Transport;
use vchan::{Error, Result};

use crate::cancelled;
use crate::errors::{answer, guarded, null, report};
use crate::event::Event;
use crate::lane::Lane;
use crate::layout::{libxenvchan, Flags};
use crate::logger::Logger;

/// The whole of a channel. C gets a pointer to its beginning.
#[repr(C)]
pub(crate) struct Handle {
    public: UnsafeCell<libxenvchan>,
    private: Private,
}

struct Private {
    channel: Arc<Channel>,
    transport: Box<dyn Transport>,
    logger: Logger,
    /// What `public.event` points at.
    _event: Event,
    closing: AtomicBool,
    /// The last `server_persist` that the channel was told.
    persistent: AtomicBool,
    lanes: [Lane; 3],
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
    transport: Box<dyn Transport>,
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
        closing: AtomicBool::new(false),
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
    let lane = &private.lanes[kind as usize];
    let mut logger = Logger::NONE;
    let result = cancelled::attempts(|| {
        let ticket = lane.enter();
        let result = guarded(|| {
            if private.closing.load(Ordering::SeqCst) {
                return Err(Error::Closed);
            }
            // SAFETY: `ctrl` is alive while this call is counted.
            let flags = unsafe { Flags::read(ctrl) };
            private.tell_persistence(flags)?;
            body(&Call { private, flags })
        });
        if result.is_err() {
            logger = private.logger;
        }
        // Nothing of the channel may be touched after this, unless the call is made again.
        lane.leave(ticket);
        result
    });
    match result {
        Ok(value) => value,
        Err(error) => {
            report(what, logger, &error);
            failure
        }
    }
}

/// Closes a channel and frees it. Leaves errno alone.
///
/// # Safety
///
/// As for [`call`], and no call may begin later.
pub(crate) unsafe fn close(ctrl: *mut libxenvchan) {
    let errno = Errno::last_raw();
    let _held = cancellation::hold();
    let handle = ctrl.cast::<Handle>();
    // SAFETY: by the contract.
    let private = unsafe { &(*handle).private };
    if private.closing.swap(true, Ordering::SeqCst) {
        return;
    }
    private.channel.closer().close();
    // Who has not seen that is counted by now.
    barrier::make();
    private.lanes.iter().for_each(Lane::wait_until_empty);
    // SAFETY: made by `new`, nobody is inside any more, and the program lets go of it; the path is from `strdup`.
    unsafe {
        libc::free((*ctrl).xs_path.cast());
        drop(Box::from_raw(handle));
    }
    Errno::set_raw(errno);
}
