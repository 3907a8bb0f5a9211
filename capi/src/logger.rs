//! The program's `xentoollog_logger`, if it passed one. The log function is in Xen's library, so it is looked
//! up when needed.

use std::ffi::{c_char, c_int, CStr};
use std::mem;
use std::ptr;
use std::sync::OnceLock;

use crate::symbol::look_up;

/// A `struct xentoollog_logger`, opaque here.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct xentoollog_logger {
    _opaque: [u8; 0],
}

/// The level of a message, in xentoollog's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    /// XTL_DEBUG.
    Debug = 1,
    /// XTL_ERROR.
    Error = 8,
}

type XtlLog = unsafe extern "C" fn(*mut xentoollog_logger, c_int, c_int, *const c_char, *const c_char, ...);

/// `xtl_log`, if libxentoollog is loaded or can be loaded.
fn xtl_log() -> Option<XtlLog> {
    static FOUND: OnceLock<Option<XtlLog>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let symbol = look_up(c"xtl_log", c"libxentoollog.so.1")?;
        // SAFETY: this is the type of Xen's `xtl_log`, whose level is an enum, that is an `int`.
        Some(unsafe { mem::transmute::<ptr::NonNull<libc::c_void>, XtlLog>(symbol) })
    })
}

/// Where a channel's errors are logged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logger(*mut xentoollog_logger);

impl Logger {
    /// No logging.
    pub(crate) const NONE: Logger = Logger(ptr::null_mut());

    /// # Safety
    ///
    /// `logger` must be NULL or a logger that outlives all uses of the result.
    pub(crate) unsafe fn new(logger: *mut xentoollog_logger) -> Logger {
        Logger(logger)
    }

    pub(crate) fn as_ptr(self) -> *mut xentoollog_logger {
        self.0
    }

    pub(crate) fn log(self, level: Level, errno: c_int, text: &CStr) {
        if self.0.is_null() {
            return;
        }
        if let Some(xtl_log) = xtl_log() {
            // SAFETY: a live logger by the contract of `new`, and one string for the one `%s`.
            unsafe {
                xtl_log(self.0, level as c_int, errno, c"vchan".as_ptr(), c"%s".as_ptr(), text.as_ptr())
            };
        }
    }
}
