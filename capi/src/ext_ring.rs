//! `vchan-rs.h`: zero-copy access to the rings.

use std::ffi::c_int;

use libc::{iovec, ssize_t};
use vchan::unstable::ring::{Interest, RawSlice};
use vchan::unstable::Channel;
use vchan::{Error, Result};

use crate::errors::null;
use crate::ext_io::timeout;
use crate::handle::{call, Call, Kind};
use crate::layout::libxenvchan;

/// Returns the readable bytes in place, as pointers into the ring.
///
/// The peer can still change them: copy before validating. They remain valid until vchan_rs_consume()
/// releases their space, or the channel is closed. Do not call it together with other reading calls in
/// another thread. Poll the channel's descriptor only after EAGAIN or ETIMEDOUT: before that, more bytes can
/// arrive without an event.
///
/// @param ctrl       the channel
/// @param parts      receives the two parts; the second is empty unless the data wraps around the end of the
///                   ring
/// @param min        the minimum number of bytes to wait for, 1 to the ring's size
/// @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
/// @return the number of bytes in both parts, at least min (more can have arrived since); or -1 with errno:
///         EAGAIN, ETIMEDOUT, EPIPE (less than min are left, and the peer is gone), EPROTO, EINTR, ESHUTDOWN,
///         EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `parts` NULL or an array of two.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_borrow(
    ctrl: *mut libxenvchan,
    parts: *mut iovec,
    min: usize,
    timeout_ms: c_int,
) -> ssize_t {
    let body = |call: &Call<'_>| {
        let there = at_least(call.channel(), Interest::Readable, min, timeout_ms)?;
        // SAFETY: the caller's.
        unsafe { show(call.channel().ring().consumer.ready_slices(there), parts) }?;
        Ok(there as ssize_t)
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "vchan_rs_borrow", -1, body) }
}

/// Releases bytes of vchan_rs_borrow() to the peer as space, from the beginning. Does not block.
///
/// @param ctrl the channel
/// @param size the number of bytes, at most as many as are readable
/// @return 0, or -1 with errno: EINVAL (more than are readable), EPROTO, ESHUTDOWN
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_consume(ctrl: *mut libxenvchan, size: usize) -> c_int {
    let body = |call: &Call<'_>| {
        let consumer = &call.channel().ring().consumer;
        let size = within(size, consumer.ready_for(size)?)?;
        notify_if(call.channel(), size > 0 && consumer.consume(size))
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "vchan_rs_consume", -1, body) }
}

/// Returns the writable space in place, as pointers into the ring.
///
/// The peer does not see what is written there until vchan_rs_commit(). Do not call it together with other
/// writing calls in another thread. Poll the channel's descriptor only after EAGAIN or ETIMEDOUT, as for
/// vchan_rs_borrow().
///
/// @param ctrl       the channel
/// @param parts      receives the two parts; the second is empty unless the space wraps around the end of the
///                   ring
/// @param min        the minimum number of bytes to wait for, 1 to the ring's size
/// @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
/// @return the number of bytes in both parts, at least min (there can be more space since); or -1 with errno:
///         EAGAIN, ETIMEDOUT, EPIPE (the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `parts` NULL or an array of two.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_reserve(
    ctrl: *mut libxenvchan,
    parts: *mut iovec,
    min: usize,
    timeout_ms: c_int,
) -> ssize_t {
    let body = |call: &Call<'_>| {
        let there = at_least(call.channel(), Interest::Writable, min, timeout_ms)?;
        // SAFETY: the caller's.
        unsafe { show(call.channel().ring().producer.free_slices(there), parts) }?;
        Ok(there as ssize_t)
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "vchan_rs_reserve", -1, body) }
}

/// Publishes bytes that were written into the space of vchan_rs_reserve(), from the beginning. Does not
/// block.
///
/// @param ctrl the channel
/// @param size the number of bytes, at most as many as there is space for
/// @return 0, or -1 with errno: EINVAL (more than there is space for), EPROTO, ESHUTDOWN
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_commit(ctrl: *mut libxenvchan, size: usize) -> c_int {
    let body = |call: &Call<'_>| {
        let producer = &call.channel().ring().producer;
        let size = within(size, producer.space_for(size)?)?;
        notify_if(call.channel(), size > 0 && producer.commit(size))
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "vchan_rs_commit", -1, body) }
}

fn notify_if(channel: &Channel, needed: bool) -> Result<c_int> {
    if needed {
        channel.notify()?;
    }
    Ok(0)
}

/// Waits until there are `min` bytes; returns how many there are.
fn at_least(channel: &Channel, interest: Interest, min: usize, timeout_ms: c_int) -> Result<u32> {
    let ring = channel.ring().size(interest) as usize;
    match min {
        0 => return Err(Error::Invalid("invalid minimum of 0 bytes, expected at least 1".into())),
        _ if min > ring => return Err(Error::PacketTooLarge { size: min, ring }),
        _ => channel.at_least(interest, min, timeout(timeout_ms).into())?,
    }
    // If a quarter of the ring is known to be available, the peer's index is not read again: that can cost as
    // much as the transfer.
    Ok(channel.ring().known(interest, min.max(ring / 4))?)
}

fn within(size: usize, there: u32) -> Result<u32> {
    let fits = u32::try_from(size).ok().filter(|&size| size <= there);
    fits.ok_or_else(|| Error::Invalid(format!("{size} bytes exceed the {there} that are available")))
}

/// # Safety
///
/// `parts` must be NULL or an array of two.
unsafe fn show(slices: [RawSlice; 2], parts: *mut iovec) -> Result<()> {
    if parts.is_null() {
        return Err(null("the array of parts"));
    }
    for (n, slice) in slices.iter().enumerate() {
        let part = iovec { iov_base: slice.start.as_ptr().cast(), iov_len: slice.len };
        // SAFETY: the caller's; there are two slices.
        unsafe { parts.add(n).write(part) };
    }
    Ok(())
}
