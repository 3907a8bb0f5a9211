//! Transferring bytes: `libxenvchan_read`, `_recv`, `_write`, `_send`.

use std::ffi::{c_int, c_void};
use std::slice;

use vchan::unstable::ring::Interest;
use vchan::unstable::{cancellation, Channel, Progress, Wait};
use vchan::{Error, Result};

use crate::errors::null;
use crate::handle::{call, Kind};
use crate::layout::{libxenvchan, Flags};

/// Converts a count of bytes that is known to fit.
fn count(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

/// The C return value of a transfer: 0 if it would block.
#[inline(always)]
pub(crate) fn moved(result: Result<usize>) -> Result<c_int> {
    match result {
        Ok(bytes) => Ok(count(bytes)),
        Err(error) => zero_or_error(error),
    }
}

#[cold]
#[inline(never)]
fn zero_or_error(error: Error) -> Result<c_int> {
    match error {
        Error::WouldBlock => Ok(0),
        error => Err(error),
    }
}

/// A program's buffer, of which at most `limit` bytes are accessed. A non-blocking call transfers no more
/// than the ring holds, as in Xen's library: a program can pass a size that is larger than its buffer.
///
/// # Safety
///
/// `data` must be NULL, or point to `size` readable bytes (or to `limit`, if that is less) that live as long
/// as `'a`.
pub(crate) unsafe fn input<'a>(data: *const c_void, size: usize, limit: usize) -> Result<&'a [u8]> {
    match (data.is_null(), size) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller's.
        _ => Ok(unsafe { slice::from_raw_parts(data.cast(), size.min(limit)) }),
    }
}

/// As [`input`], for a buffer to fill.
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
        Wait::AtMost(None)
    } else {
        Wait::No { drain: false }
    }
}

/// A packet larger than the ring can never be transferred as a whole. For a non-blocking call it counts as
/// one that does not fit now.
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

/// A read of 0 bytes checks whether there is data; if blocking, it waits for some.
fn read_zero_bytes(channel: &Channel, flags: Flags) -> Result<c_int> {
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
/// @param data the buffer
/// @param size the size of the packet in bytes; more than the read ring holds can never be read
/// @return size; 0 if less is available and blocking is 0; -1 with errno: EPIPE (less is available, and the
///         peer is gone), EMSGSIZE (blocking, and size exceeds the ring), EPROTO (the peer wrote invalid data
///         into the shared page), EINTR (interrupted by a signal handler without SA_RESTART; other handlers,
///         job-control stops and tracers do not end the call), ESHUTDOWN (another thread closes the channel),
///         EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` NULL or `size` bytes.
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

/// Reads the bytes that are available.
///
/// After it has returned less than size, the program can poll the descriptor of libxenvchan_fd_for_select().
///
/// @param ctrl the channel
/// @param data the buffer
/// @param size the size of the buffer in bytes
/// @return the number of bytes, at least 1 if blocking is set; 0 if none are available and blocking is 0; -1
///         with errno: EPIPE (no bytes are left, and the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL as
///         for libxenvchan_recv()
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` NULL or `size` bytes.
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
            (true, _) => read_zero_bytes(channel, flags),
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
/// @param data the bytes
/// @param size the size of the packet in bytes; more than the write ring holds can never be written
/// @return size; 0 if there is too little space and blocking is 0; -1 with errno: EPIPE (the peer is gone),
///         EMSGSIZE (blocking, and size exceeds the ring), EPROTO, EINTR, ESHUTDOWN, EINVAL as for
///         libxenvchan_recv()
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` NULL or `size` bytes.
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

/// Writes bytes.
///
/// After it has returned less than size, the program can poll the descriptor of libxenvchan_fd_for_select().
///
/// @param ctrl the channel
/// @param data the bytes
/// @param size the number of bytes
/// @return the number of bytes written: with blocking set all of them, or those written before a signal; with
///         blocking 0 as many as fit, possibly 0. -1 with errno: EPIPE (the peer is gone, even if some bytes
///         were written), EINTR (before any byte was written), EPROTO, ESHUTDOWN, EINVAL (also: blocking, and
///         size exceeds INT_MAX)
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` NULL or `size` bytes.
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
                return Err(Error::Invalid(format!("a blocking write of {size} bytes exceeds INT_MAX")));
            }
            // SAFETY: the caller's.
            let data = unsafe { input(data, size, size) }?;
            let Progress { done, stopped } = channel.write(&data[written..], None);
            written += done;
            return match stopped {
                None => Ok(count(written)),
                Some(error) => count_or_error(written, error),
            };
        }
        // SAFETY: the caller's.
        let data = unsafe { input(data, size, channel.ring().producer.size() as usize) }?;
        moved(channel.write_now(data, size, false).into_result())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "libxenvchan_write", -1, |call| body(call.channel(), call.flags)) }
}

/// A blocking write ends with all bytes or an error; but bytes written before a signal are reported.
#[cold]
#[inline(never)]
fn count_or_error(done: usize, stopped: Error) -> Result<c_int> {
    match stopped {
        Error::Interrupted if done > 0 && !cancellation::is_look_requested() => Ok(count(done)),
        error => Err(error),
    }
}
