//! Ending a channel's calls from another thread.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::shared::Channel;
use crate::{Error, Result};

/// Closes a channel from anywhere: another thread, or before there is a channel at all.
///
/// Every call that is blocked (waiting for a server, for a client, for data or space) ends with
/// [`Error::Closed`], later ones fail with it at once, and the peer is told. Cloning gives another handle to the
/// same. Thread-safe; [`close`](Self::close) makes one or two short system calls, so it is not for signal handlers.
///
/// ```
/// use vchan::{transport::in_process::InProcess, Closer, Error, Vchan};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let closer = Closer::new()?;
/// let server = Vchan::server(1, "x").transport(&machine.domain(0)).closer(&closer).listen()?;
/// let thread = std::thread::spawn(move || server.accept(None).map(drop));
/// closer.close();
/// assert!(matches!(thread.join().unwrap(), Err(Error::Closed)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Closer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    closed: AtomicBool,
    bell: EventFd,
    channel: OnceLock<Weak<Channel>>,
}

impl Closer {
    /// A handle for the channel that is going to be built with it (one channel each). Uses one descriptor.
    pub fn new() -> Result<Closer> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| Error::os("make an eventfd", errno))?;
        Ok(Closer {
            inner: Arc::new(Inner { closed: AtomicBool::new(false), bell, channel: OnceLock::new() }),
        })
    }

    /// Closes the channel.
    pub fn close(&self) {
        if self.inner.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        // An eventfd that is written once can't be full.
        let _ = self.inner.bell.write(1);
        #[cfg(model)]
        super::model::Bell::ring_all();
        if let Some(channel) = self.inner.channel.get().and_then(Weak::upgrade) {
            channel.leave();
        }
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

    /// Ties the handle to its channel. Fails where it has one already.
    pub(super) fn bind(&self, channel: &Arc<Channel>) -> Result<()> {
        let taken =
            |_| Error::Invalid("a Closer belongs to one channel, this one has its channel already".into());
        self.inner.channel.set(Arc::downgrade(channel)).map_err(taken)?;
        self.check()
    }

    /// Readable for ever once closed.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inner.bell.as_fd()
    }
}
