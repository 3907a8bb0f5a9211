//! `vchan-rs.h`: working in the rings themselves, without a copy.

use std::ffi::c_int;

use libc::{iovec, ssize_t};
use vchan::unstable::ring::{Interest, RawSlice};
use vchan::unstable::Channel;
use vchan::{Error, Result};

use crate::errors::null;
use crate::ext_io::timeout;
use crate::handle::{call, Call, Kind};
use crate::layout::libxenvchan;

/// Shows the bytes that can be read, where they lie in the ring.
///
/// The peer can still change them: copy before you check. They stay there until vchan_rs_consume() gives their space
/// back, or the channel is closed. Not together with other reading calls in another thread. Poll the channel's descriptor only
/// after EAGAIN or ETIMEDOUT: until then more may have come without an event.
///
/// @param ctrl       the channel
/// @param parts      gets the two parts of it; the second is empty unless the data goes round the ring's end
/// @param min        at least how many bytes to wait for: 1 to the ring's size
/// @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
/// @return how many there are in both parts, at least min (there may be more by now); or -1 with errno: EAGAIN,
///         ETIMEDOUT, EPIPE (less than min are left, and the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `parts` NULL or two of its kind.
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

/// Gives bytes of vchan_rs_borrow() back to the peer as space, from the beginning.
///
/// @param ctrl the channel
/// @param size how many: not more than there are
/// @return 0, or -1 with errno: EINVAL (more than there are), EPROTO, ESHUTDOWN
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

/// Shows the space that can be written, where it lies in the ring.
///
/// The peer sees nothing of what is written there until vchan_rs_commit(). Not together with other writing calls in
/// another thread. Poll the channel's descriptor only after EAGAIN or ETIMEDOUT, as for vchan_rs_borrow().
///
/// @param ctrl       the channel
/// @param parts      gets the two parts of it; the second is empty unless the space goes round the ring's end
/// @param min        at least how many bytes to wait for: 1 to the ring's size
/// @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
/// @return how many there are in both parts, at least min (there may be more by now); or -1 with errno: EAGAIN,
///         ETIMEDOUT, EPIPE (the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `parts` NULL or two of its kind.
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

/// Publishes what was written into the space of vchan_rs_reserve(), from the beginning.
///
/// @param ctrl the channel
/// @param size how many bytes: not more than there is space
/// @return 0, or -1 with errno: EINVAL (more than there is space), EPROTO, ESHUTDOWN
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

fn notify_if(channel: &Channel, asked: bool) -> Result<c_int> {
    if asked {
        channel.notify()?;
    }
    Ok(0)
}

/// Waits until there are `min` bytes; says how many there are.
fn at_least(channel: &Channel, interest: Interest, min: usize, timeout_ms: c_int) -> Result<u32> {
    let ring = channel.ring().size(interest) as usize;
    match min {
        0 => return Err(Error::Invalid("at least 1 byte must be asked for".into())),
        _ if min > ring => return Err(Error::PacketTooLarge { size: min, ring }),
        _ => channel.at_least(interest, min, timeout(timeout_ms).into())?,
    }
    // Where a quarter of the ring is known to be there, it isn't looked for more: that may cost as much as moving it.
    Ok(channel.ring().known(interest, min.max(ring / 4))?)
}

fn within(size: usize, there: u32) -> Result<u32> {
    let fits = u32::try_from(size).ok().filter(|&size| size <= there);
    fits.ok_or_else(|| Error::Invalid(format!("{size} bytes are more than the {there} that there are")))
}

/// # Safety
///
/// `parts` must be NULL or two of its kind.
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
