//! Ending a channel's calls from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::{Error, Result};

/// Closes a channel or a [`Listener`](super::Listener) from anywhere: another thread, or before there is one at all.
///
/// Every call that is blocked (waiting for a server, for a client, for data or space) ends with
/// [`Error::Closed`], later ones fail with it at once, and the peer is told: it can see the end before the first call returns
/// that error. Cloning gives another handle to the same. Thread-safe; [`close`](Self::close) makes one or two short system
/// calls, so it is not for signal handlers.
///
/// ```
/// use vchan::{transport::in_process::InProcess, Closer, Error, Listener};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let closer = Closer::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).closer(&closer).bind()?;
/// let thread = std::thread::spawn(move || listener.accept().map(drop));
/// closer.close();
/// assert!(matches!(thread.join().unwrap(), Err(Error::Closed)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Closer {
    inner: Arc<Inner>,
}

impl Default for Closer {
    fn default() -> Closer {
        Closer::new()
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What a [`Closer`] closes.
pub(super) trait Closable: Send + Sync {
    /// Ends every wait of this side, and leaves.
    fn close(&self);
    /// Leaves with a failure as the reason.
    fn abort(&self);
}

struct Inner {
    closed: AtomicBool,
    /// For a client that waits for its server, and so has no channel yet.
    event: Mutex<Weak<EventFd>>,
    target: OnceLock<Weak<dyn Closable>>,
}

impl Closer {
    /// A handle for the channel or listener that is going to be built with it (one each). Uses no descriptor.
    pub fn new() -> Closer {
        let inner =
            Inner { closed: AtomicBool::new(false), event: Mutex::default(), target: OnceLock::new() };
        Closer { inner: Arc::new(inner) }
    }

    /// Closes the channel or listener.
    pub fn close(&self) {
        if self.inner.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(event) = self.event_slot().upgrade() {
            // An eventfd that is written once can't be full.
            let _ = event.write(1);
        }
        if let Some(target) = self.inner.target.get().and_then(Weak::upgrade) {
            target.close();
        }
    }

    /// Closes the channel because of a failure: as [`close`](Self::close), but the peer learns why, see
    /// [`Vchan::abort`](super::Vchan::abort).
    pub fn abort(&self) {
        if let Some(target) = self.inner.target.get().and_then(Weak::upgrade) {
            target.abort();
        }
        self.close();
    }

    /// Whether [`close`](Self::close) has been called.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.is_closed() {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Ties the handle to its channel or listener. Fails if it has one already.
    pub(super) fn bind(&self, target: Weak<dyn Closable>) -> Result<()> {
        let taken =
            |_| Error::Invalid("a Closer belongs to one channel, this one has its channel already".into());
        self.inner.target.set(target).map_err(taken)?;
        self.check()
    }

    /// Readable once this is closed from now on. Lives while a caller holds it.
    pub(super) fn event(&self) -> Result<Arc<EventFd>> {
        let mut slot = self.event_slot();
        if let Some(event) = slot.upgrade() {
            return Ok(event);
        }
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| Error::os("make an eventfd", errno))?;
        let event = Arc::new(event);
        *slot = Arc::downgrade(&event);
        Ok(event)
    }

    fn event_slot(&self) -> std::sync::MutexGuard<'_, Weak<EventFd>> {
        self.inner.event.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
