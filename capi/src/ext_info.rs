//! `vchan-rs.h`: versions and errors, and an entry that Xen's library exports without declaring it.

use std::ffi::c_char;

use crate::errors::last_text;
use crate::handle::{call, Kind};
use crate::layout::libxenvchan;

/// The library's version, as "0.1.0".
#[no_mangle]
pub extern "C" fn vchan_rs_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// One line about the last call in this thread that failed: which call, and why.
///
/// @return the text, "" if none has failed; valid until the next failure in this thread
#[no_mangle]
pub extern "C" fn vchan_rs_last_error() -> *const c_char {
    last_text()
}

/// Withdraws a server's publication, so that no client finds it any more; closing does that by itself.
///
/// @param ctrl the channel
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C" fn close_xs_srv(ctrl: *mut libxenvchan) {
    let body = |call: &crate::handle::Call<'_>| {
        call.channel().withdraw();
        Ok(())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "close_xs_srv", (), body) }
}
