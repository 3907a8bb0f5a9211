//! The `event` field: a handle for programs that call libxenevtchn with it.
//!
//! Over Xen's event channel device it is a real handle, created by `xenevtchn_fdopen` on our descriptor, if
//! libxenevtchn is loaded or can be loaded. Otherwise it is a structure that begins like the handle of all
//! versions of libxenevtchn since 2016, so that at least `xenevtchn_fd` returns the descriptor to poll.
//! `xenevtchn_notify` works only with a real handle: there is no event channel device without Xen.

use std::ffi::{c_int, c_uint, c_void, CStr};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{self, NonNull};

use crate::logger::{xentoollog_logger, Logger};
use crate::symbol::look_up;

/// The beginning of libxenevtchn's `struct xenevtchn_handle`.
#[repr(C)]
pub struct EventHandle {
    logger: *mut xentoollog_logger,
    logger_tofree: *mut xentoollog_logger,
    fd: c_int,
    /// Space for libxenevtchn's further fields, so that it does not read out of bounds.
    _rest: [usize; 4],
}

const _: () = assert!(mem::offset_of!(EventHandle, fd) == 2 * size_of::<usize>());

type Open = unsafe extern "C" fn(*mut xentoollog_logger, c_int, c_uint) -> *mut EventHandle;
type Close = unsafe extern "C" fn(*mut EventHandle) -> c_int;

/// The target of the `event` field.
#[derive(Debug)]
pub(crate) struct Event {
    handle: NonNull<EventHandle>,
    /// The function that closes it, for a handle of libxenevtchn.
    close: Option<Close>,
}

impl Event {
    /// A handle over `evtchn`, a descriptor of the event channel device, or one that only contains `poll`,
    /// the descriptor to poll.
    pub(crate) fn new(evtchn: Option<BorrowedFd<'_>>, poll: RawFd, logger: Logger) -> Event {
        evtchn.and_then(|fd| Event::real(fd, logger)).unwrap_or_else(|| Event::substitute(poll, logger))
    }

    fn real(evtchn: BorrowedFd<'_>, logger: Logger) -> Option<Event> {
        let open = look_up(c"xenevtchn_fdopen", LIBXENEVTCHN)?;
        let close = look_up(c"xenevtchn_close", LIBXENEVTCHN)?;
        // SAFETY: these are the types of libxenevtchn's functions.
        let (open, close) = unsafe {
            (mem::transmute::<NonNull<c_void>, Open>(open), mem::transmute::<NonNull<c_void>, Close>(close))
        };
        // SAFETY: a live logger or NULL, and an open descriptor.
        let handle = NonNull::new(unsafe { open(logger.as_ptr(), evtchn.as_raw_fd(), 0) })?;
        // A handle with another layout would close the descriptor, so it is never closed.
        // SAFETY: the beginning of a handle, see above.
        let known = unsafe { (*handle.as_ptr()).fd } == evtchn.as_raw_fd();
        known.then_some(Event { handle, close: Some(close) })
    }

    fn substitute(fd: RawFd, logger: Logger) -> Event {
        let handle =
            EventHandle { logger: logger.as_ptr(), logger_tofree: ptr::null_mut(), fd, _rest: [0; 4] };
        Event { handle: NonNull::from(Box::leak(Box::new(handle))), close: None }
    }

    pub(crate) fn as_ptr(&self) -> *mut EventHandle {
        self.handle.as_ptr()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        match self.close {
            // SAFETY: a handle from `xenevtchn_fdopen`, closed once. The descriptor belongs to the channel;
            // without one, libxenevtchn closes none. A failure cannot be handled.
            Some(close) => unsafe {
                (*self.handle.as_ptr()).fd = -1;
                close(self.handle.as_ptr());
            },
            // SAFETY: leaked from a box in `substitute`.
            None => drop(unsafe { Box::from_raw(self.handle.as_ptr()) }),
        }
    }
}

const LIBXENEVTCHN: &CStr = c"libxenevtchn.so.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitute_contains_the_descriptor() {
        let event = Event::new(None, 17, Logger::NONE);
        // SAFETY: alive, created in `new`.
        assert_eq!(unsafe { (*event.as_ptr()).fd }, 17);
    }
}
