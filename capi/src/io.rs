//! Moving bytes: `libxenvchan_read`, `_recv`, `_write`, `_send`.

use std::ffi::{c_int, c_void};
use std::slice;

use vchan::unstable::ring::Interest;
use vchan::unstable::{cancellation, Channel, Progress, Wait};
use vchan::{Error, Result};

use crate::errors::null;
use crate::handle::{call, Kind};
use crate::layout::{libxenvchan, Flags};

/// A count of bytes, known to be within a ring or checked before.
fn count(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

/// What a call that moved bytes says to C, for which it is 0 if nothing can be moved just now.
#[inline(always)]
pub(crate) fn moved(result: Result<usize>) -> Result<c_int> {
    match result {
        Ok(bytes) => Ok(count(bytes)),
        Err(error) => none_or_why(error),
    }
}

#[cold]
#[inline(never)]
fn none_or_why(error: Error) -> Result<c_int> {
    match error {
        Error::WouldBlock => Ok(0),
        error => Err(error),
    }
}

/// A program's buffer, of which at most `limit` bytes are going to be looked at. A call that doesn't wait moves no more than the
/// ring holds, as in Xen's library: a program may say that its buffer is larger than it is.
///
/// # Safety
///
/// `data` must be NULL, or point at `size` readable bytes (or at `limit`, if that is less) for as long as `'a`.
pub(crate) unsafe fn input<'a>(data: *const c_void, size: usize, limit: usize) -> Result<&'a [u8]> {
    match (data.is_null(), size) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller's.
        _ => Ok(unsafe { slice::from_raw_parts(data.cast(), size.min(limit)) }),
    }
}

/// As [`input`], for a buffer to be filled.
///
/// # Safety
///
/// As for [`input`], and writable.
pub(crate) unsafe fn output<'a>(data: *mut c_void, size: usize, limit: usize) -> Result<&'a mut [u8]> {
    match (data.is_null(), size) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller's.
        _ => Ok(unsafe { slice::from_raw_parts_mut(data.cast(), size.min(limit)) }),
    }
}

fn wait(flags: Flags) -> Wait {
    if flags.blocking() {
        Wait::Upto(None)
    } else {
        Wait::No { drain: false }
    }
}

/// A packet larger than the ring can't be moved as a whole, now or ever. It counts as one that can't now for those who
/// don't wait.
fn never_fits(channel: &Channel, flags: Flags, interest: Interest, size: usize, ring: u32) -> Result<c_int> {
    channel.ring().check()?;
    channel.check_peer(interest)?;
    if flags.blocking() {
        Err(Error::PacketTooLarge { size, ring: ring as usize })
    } else {
        channel.arm(interest);
        Ok(0)
    }
}

/// A read of no bytes asks whether there is something, or waits until there is.
fn read_nothing(channel: &Channel, flags: Flags) -> Result<c_int> {
    if flags.blocking() {
        channel.wait_for(Interest::Readable, 1, None)?;
    } else {
        channel.arm(Interest::Readable);
        if channel.ring().available(Interest::Readable)? == 0 {
            channel.check_peer(Interest::Readable)?;
        }
    }
    Ok(0)
}

/// Reads a packet: exactly size bytes or none.
///
/// @param ctrl the channel
/// @param data where to
/// @param size how many bytes; more than the read ring holds never come together
/// @return size; 0 if less is there and blocking is 0; -1 with errno: EPIPE (less is there, and the peer has gone),
///         EMSGSIZE (blocking, and size is more than the ring holds), EPROTO (the peer wrote rubbish into the shared
///         page), EINTR (a signal came while waiting whose handler is without SA_RESTART; other handlers, a stop, and a
///         tracer end no call), ESHUTDOWN (another thread closes the channel), EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` as in C.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_recv(
    ctrl: *mut libxenvchan,
    data: *mut c_void,
    size: usize,
) -> c_int {
    let body = |channel: &Channel, flags| {
        let ring = channel.ring().consumer.size();
        if size > ring as usize {
            return never_fits(channel, flags, Interest::Readable, size, ring);
        }
        // SAFETY: the caller's.
        let into = unsafe { output(data, size, size) }?;
        moved(channel.recv(into, wait(flags)).map(|()| size))
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "libxenvchan_recv", -1, |call| body(call.channel(), call.flags)) }
}

/// Reads what there is.
///
/// After it returned less than size the program may wait for the descriptor of libxenvchan_fd_for_select().
///
/// @param ctrl the channel
/// @param data where to
/// @param size at most how many bytes
/// @return how many, at least 1 if blocking is set; 0 if none are there and blocking is 0; -1 with errno: EPIPE (none
///         are left, and the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL as for libxenvchan_recv()
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` as in C.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_read(
    ctrl: *mut libxenvchan,
    data: *mut c_void,
    size: usize,
) -> c_int {
    let body = |channel: &Channel, flags: Flags| {
        // SAFETY: the caller's.
        let into = unsafe { output(data, size, channel.ring().consumer.size() as usize) }?;
        match (into.is_empty(), flags.blocking()) {
            (true, _) => read_nothing(channel, flags),
            (_, true) => moved(channel.read(into, size, None)),
            (_, false) => moved(channel.read_now(into, size, false)),
        }
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "libxenvchan_read", -1, |call| body(call.channel(), call.flags)) }
}

/// Writes a packet: all of it or nothing.
///
/// @param ctrl the channel
/// @param data what
/// @param size how many bytes; more than the write ring holds never fit
/// @return size; 0 if there is too little space and blocking is 0; -1 with errno: EPIPE (the peer has gone), EMSGSIZE
///         (blocking, and size is more than the ring holds), EPROTO, EINTR, ESHUTDOWN, EINVAL as for
///         libxenvchan_recv()
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` as in C.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_send(
    ctrl: *mut libxenvchan,
    data: *const c_void,
    size: usize,
) -> c_int {
    let body = |channel: &Channel, flags| {
        let ring = channel.ring().producer.size();
        if size > ring as usize {
            return never_fits(channel, flags, Interest::Writable, size, ring);
        }
        // SAFETY: the caller's.
        let packet = unsafe { input(data, size, size) }?;
        moved(channel.send(packet, wait(flags)).map(|()| size))
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "libxenvchan_send", -1, |call| body(call.channel(), call.flags)) }
}

/// Writes.
///
/// After it returned less than size the program may wait for the descriptor of libxenvchan_fd_for_select().
///
/// @param ctrl the channel
/// @param data what
/// @param size how many bytes
/// @return how many were written. With blocking set that is all, or what had been written when a signal came. With
///         blocking 0 it is what fits, perhaps 0. -1 with errno: EPIPE (the peer has gone, even if something was
///         written), EINTR (before anything was written), EPROTO, ESHUTDOWN, EINVAL (also: blocking, and size is more
///         than an int can tell)
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` as in C.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_write(
    ctrl: *mut libxenvchan,
    data: *const c_void,
    size: usize,
) -> c_int {
    let mut written = 0;
    let mut body = |channel: &Channel, flags: Flags| {
        if flags.blocking() {
            if c_int::try_from(size).is_err() {
                return Err(Error::Invalid(format!(
                    "a blocking write of {size} bytes: an int can't tell so many"
                )));
            }
            // SAFETY: the caller's.
            let data = unsafe { input(data, size, size) }?;
            let Progress { done, stopped } = channel.write(&data[written..], None);
            written += done;
            return match stopped {
                None => Ok(count(written)),
                Some(error) => all_or_why(written, error),
            };
        }
        // SAFETY: the caller's.
        let data = unsafe { input(data, size, channel.ring().producer.size() as usize) }?;
        moved(channel.write_now(data, size, false).into_result())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "libxenvchan_write", -1, |call| body(call.channel(), call.flags)) }
}

/// A blocking write ends with all, or an error; but what was written before a signal came is told.
#[cold]
#[inline(never)]
fn all_or_why(done: usize, stopped: Error) -> Result<c_int> {
    match stopped {
        Error::Interrupted if done > 0 && !cancellation::is_look_requested() => Ok(count(done)),
        error => Err(error),
    }
}
