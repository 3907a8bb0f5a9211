//! `vchan-rs.h`: versions and errors, properties of a channel, and a function that Xen's library exports
//! without declaring it.

use std::ffi::{c_char, c_int};
use std::ptr;

use libc::ssize_t;
use vchan::Result;

use crate::errors::{last_kind, last_text, null};
use crate::handle::{call, Call, Kind};
use crate::layout::libxenvchan;

/// The library's version, as "0.1.0".
#[no_mangle]
pub extern "C-unwind" fn vchan_rs_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// One line about the last call in this thread that failed: which call, and why. Truncated to 511 bytes.
///
/// @return the text, "" if no call has failed; valid until the next failure in this thread
#[no_mangle]
pub extern "C-unwind" fn vchan_rs_last_error() -> *const c_char {
    last_text()
}

/// The kind of the last failure in this thread, where errno is ambiguous: EPIPE is a peer that has closed or
/// one that has died, or comes from the descriptor that was written to.
///
/// @return one of the VCHAN_RS_ERROR_ constants
#[no_mangle]
pub extern "C-unwind" fn vchan_rs_last_error_kind() -> c_int {
    last_kind()
}

/// The absolute configuration path of a channel, also if a relative path or a port was given. For a client
/// that was given a configuration: the path of the server it has connected to, or that server's socket, if it
/// is a historical program.
///
/// @param ctrl the channel
/// @param text the buffer; receives a NUL-terminated string, truncated if it does not fit
/// @param size the size of the buffer in bytes; if it is 0, text can be NULL
/// @return the length of the whole path in bytes, without NUL; or -1 with errno EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `text` NULL or `size` writable bytes.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_path(
    ctrl: *mut libxenvchan,
    text: *mut c_char,
    size: usize,
) -> ssize_t {
    // SAFETY: the caller's.
    let body = |call: &Call<'_>| unsafe { copy_out(call.channel().path(), text, size) };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "vchan_rs_path", -1, body) }
}

/// The shell commands that tell clients where a server is, as unixcat prints them; none on Xen. A client uses
/// the value of XEN_CONFIGURATION in them as the configuration in its options.
///
/// @param ctrl the channel
/// @param text the buffer; receives a NUL-terminated string, truncated if it does not fit
/// @param size the size of the buffer in bytes; if it is 0, text can be NULL
/// @return the length of all lines in bytes, without NUL; or -1 with errno EINVAL
///
/// # Safety
///
/// As for `vchan_rs_path`.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_export_lines(
    ctrl: *mut libxenvchan,
    text: *mut c_char,
    size: usize,
) -> ssize_t {
    let body = |call: &Call<'_>| {
        let lines = call.transport().export_lines(call.channel().rendezvous())?;
        let lines: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        // SAFETY: the caller's.
        unsafe { copy_out(&lines, text, size) }
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "vchan_rs_export_lines", -1, body) }
}

/// Like `snprintf`: copies what fits, adds a NUL, and returns the whole length.
///
/// # Safety
///
/// `to` must be NULL or point to `size` writable bytes.
unsafe fn copy_out(text: &str, to: *mut c_char, size: usize) -> Result<ssize_t> {
    if size > 0 {
        if to.is_null() {
            return Err(null("the buffer"));
        }
        let part = text.len().min(size - 1);
        // SAFETY: `part` and a NUL fit into `size` bytes.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), part);
            to.add(part).write(0);
        }
    }
    // A `str` is at most `isize::MAX` bytes long.
    Ok(text.len() as ssize_t)
}

/// Withdraws a server's publication, so that no client finds it any more. libxenvchan_close() does the same.
///
/// @param ctrl the channel
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn close_xs_srv(ctrl: *mut libxenvchan) {
    let body = |call: &Call<'_>| {
        call.channel().withdraw();
        Ok(())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "close_xs_srv", (), body) }
}
