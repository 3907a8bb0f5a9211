//! `vchan-rs.h`: orderly shutdown, and ending calls from another thread.

use std::ffi::c_int;

use libc::ssize_t;
use vchan::unstable::ring::Interest;
use vchan::Closer;

use crate::errors::answer;
use crate::ext_io::{timeout, Timeout};
use crate::handle::{call, Kind};
use crate::layout::libxenvchan;
use crate::logger::Logger;

/// Ends the calls on one channel from another thread, including the init function that is creating it. See
/// vchan_rs_closer_new().
#[allow(non_camel_case_types)]
pub struct vchan_rs_closer(Closer);

impl vchan_rs_closer {
    /// # Safety
    ///
    /// `closer` must be NULL or a closer that was not freed.
    pub(crate) unsafe fn get(closer: *const vchan_rs_closer) -> Option<Closer> {
        // SAFETY: the caller's.
        unsafe { closer.as_ref() }.map(|closer| closer.0.clone())
    }
}

/// Creates a closer for one channel, to be passed to its init function in the options.
///
/// @return the closer, to be freed with vchan_rs_closer_free(), or NULL with errno
#[no_mangle]
pub extern "C-unwind" fn vchan_rs_closer_new() -> *mut vchan_rs_closer {
    answer("vchan_rs_closer_new", Logger::NONE, std::ptr::null_mut(), || {
        Ok(Box::into_raw(Box::new(vchan_rs_closer(Closer::new()))))
    })
}

/// Notifies the peer, and ends all calls that transfer bytes or wait, including the init function: current
/// and later ones fail with ESHUTDOWN. Unlike libxenvchan_close() this frees nothing and does not block. Not
/// async-signal-safe.
///
/// @param closer the closer; NULL is ignored
///
/// # Safety
///
/// `closer` must be NULL or a closer that was not freed.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_closer_close(closer: *mut vchan_rs_closer) {
    answer("vchan_rs_closer_close", Logger::NONE, (), || {
        // SAFETY: the caller's.
        if let Some(closer) = unsafe { vchan_rs_closer::get(closer) } {
            closer.close();
        }
        Ok(())
    });
}

/// Frees a closer. Its channel, if any, is not affected.
///
/// @param closer the closer; NULL is ignored
///
/// # Safety
///
/// `closer` must be NULL or a closer that was not freed; it is invalid after this call.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_closer_free(closer: *mut vchan_rs_closer) {
    if !closer.is_null() {
        // SAFETY: created by `vchan_rs_closer_new`, and the caller gives up ownership.
        drop(unsafe { Box::from_raw(closer) });
    }
}

/// Leaves the channel, but keeps it readable: what the peer has written, and still writes until it notices,
/// can be read. Writing fails with ESHUTDOWN. Does not block.
///
/// @param ctrl the channel
/// @return 0, or -1 with errno: ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_leave(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Asking, "vchan_rs_leave", -1, |call| {
            call.channel().leave();
            Ok(0)
        })
    }
}

/// Ends this side's stream (half-close): the peer reads the rest and then the end of the stream (-1 with
/// EPIPE; kind VCHAN_RS_ERROR_PEER_FINISHED), while the other direction continues. Later writes fail with
/// ESHUTDOWN. Do not call it while another thread writes. Does not block.
///
/// Only a peer that uses this library and was created by vchan_rs_server_init() or vchan_rs_client_init()
/// sees it, see vchan_rs_peer_half_closes().
///
/// @param ctrl the channel
/// @return 0, or -1 with errno: ESHUTDOWN (this side has left), EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_shutdown(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "vchan_rs_shutdown", -1, |call| call.channel().finish().map(|()| 0)) }
}

/// Leaves because of a failure: like vchan_rs_leave(), but a peer that uses this library gets ECONNABORTED
/// (kind VCHAN_RS_ERROR_PEER_ABORTED), after the bytes in the ring. Any other peer sees an ordinary end.
///
/// @param ctrl the channel
/// @return 0, or -1 with errno: ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_abort(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Asking, "vchan_rs_abort", -1, |call| {
            call.channel().abort();
            Ok(0)
        })
    }
}

/// Whether the peer is known to understand vchan_rs_shutdown() and vchan_rs_abort(): it uses this library
/// too, and was created by vchan_rs_server_init() or vchan_rs_client_init(). A client announces this when it
/// connects, a server at its client's first event.
///
/// @param ctrl the channel
/// @return 1 or 0, or -1 with errno: ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_peer_half_closes(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Asking, "vchan_rs_peer_half_closes", -1, |call| {
            Ok(c_int::from(call.channel().peer_half_closes()))
        })
    }
}

/// The number of written bytes that the peer has not read yet.
///
/// @param ctrl the channel
/// @return the number of bytes, or -1 with errno: EPROTO, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_pending(ctrl: *mut libxenvchan) -> ssize_t {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Writing, "vchan_rs_pending", -1, |call| {
            // A ring holds 1 MiB at most.
            Ok(call.channel().ring().producer.pending()? as ssize_t)
        })
    }
}

/// Waits until the peer has read everything that was written.
///
/// @param ctrl       the channel
/// @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
/// @return 0, or -1 with errno: EAGAIN (timeout_ms is 0), ETIMEDOUT, EPIPE (the peer is gone, and bytes
///         remain), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_wait_drained(ctrl: *mut libxenvchan, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Writing, "vchan_rs_wait_drained", -1, |call| {
            let channel = call.channel();
            match timeout(timeout_ms) {
                Timeout::AtMost(limit) => channel.wait_drained(limit)?,
                Timeout::Not if channel.ring().producer.pending()? == 0 => channel.check_open()?,
                Timeout::Not => {
                    channel.check_peer(Interest::Writable)?;
                    return Err(vchan::Error::WouldBlock);
                }
            }
            Ok(0)
        })
    }
}
