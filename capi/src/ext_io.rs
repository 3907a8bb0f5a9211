//! `vchan-rs.h`: transferring bytes with a timeout, and between descriptors and the rings.

use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use libc::ssize_t;
use vchan::unstable::{cancellation, Channel, Wait};
use vchan::{Error, Result};

use crate::handle::{call, Kind};
use crate::io::{input, output};
use crate::layout::libxenvchan;

/// A timeout argument of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// 0: do not wait.
    Not,
    /// Positive: milliseconds; negative: no limit.
    AtMost(Option<Duration>),
}

impl From<Timeout> for Wait {
    fn from(timeout: Timeout) -> Wait {
        match timeout {
            Timeout::Not => Wait::No { drain: false },
            Timeout::AtMost(limit) => Wait::AtMost(limit),
        }
    }
}

pub(crate) fn timeout(milliseconds: c_int) -> Timeout {
    match u64::try_from(milliseconds) {
        Ok(0) => Timeout::Not,
        Ok(milliseconds) => Timeout::AtMost(Some(Duration::from_millis(milliseconds))),
        Err(_) => Timeout::AtMost(None),
    }
}

/// The maximum number of bytes per call.
const MAX_BYTES: usize = isize::MAX as usize;

fn count(bytes: usize) -> ssize_t {
    // At most `MAX_BYTES`.
    bytes as ssize_t
}

/// Reads the bytes that are available, waiting for the first one. Ignores the blocking flag.
///
/// @param ctrl       the channel
/// @param data       the buffer
/// @param size       the size of the buffer in bytes
/// @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
/// @return the number of bytes read; or -1 with errno: EAGAIN (timeout_ms is 0 and no bytes are available),
///         ETIMEDOUT, EPIPE (no bytes are left, and the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` NULL or `size` bytes.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_read(
    ctrl: *mut libxenvchan,
    data: *mut c_void,
    size: usize,
    timeout_ms: c_int,
) -> ssize_t {
    let body = |channel: &Channel| {
        // SAFETY: the caller's.
        let into = unsafe { output(data, size, channel.ring().consumer.size() as usize) }?;
        match timeout(timeout_ms) {
            Timeout::Not => channel.read_now(into, size, false),
            Timeout::AtMost(limit) => channel.read(into, size, limit),
        }
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "vchan_rs_read", -1, |call| body(call.channel()).map(count)) }
}

/// Writes all bytes, waiting for space as often as necessary. Ignores the blocking flag.
///
/// @param ctrl       the channel
/// @param data       the bytes
/// @param size       the number of bytes
/// @param timeout_ms how long to wait for the peer each time, in milliseconds: 0 to return at once, negative
///                   without limit
/// @return the number of bytes written; less than size if the call could not continue (the next call reports
///         why). If no bytes were written, -1 with errno: EAGAIN (timeout_ms is 0 and there is no space),
///         ETIMEDOUT, EPIPE (the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` NULL or `size` bytes.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_write(
    ctrl: *mut libxenvchan,
    data: *const c_void,
    size: usize,
    timeout_ms: c_int,
) -> ssize_t {
    let mut written = 0;
    let mut body = |channel: &Channel| {
        // SAFETY: the caller's.
        let data = unsafe { input(data, size, MAX_BYTES) }?;
        let progress = match timeout(timeout_ms) {
            Timeout::Not => channel.write_now(data, size, false),
            Timeout::AtMost(limit) => channel.write(&data[written..], limit),
        };
        written += progress.done;
        match progress.stopped {
            Some(error) if written == 0 || cancellation::is_look_requested() => Err(error),
            _ => Ok(written),
        }
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "vchan_rs_write", -1, |call| body(call.channel()).map(count)) }
}

/// Waits for an event, like libxenvchan_wait(), with a timeout.
///
/// @param ctrl       the channel
/// @param timeout_ms how long to wait, in milliseconds; negative without limit
/// @return 0, or -1 with errno: ETIMEDOUT, and as from libxenvchan_wait()
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_wait(ctrl: *mut libxenvchan, timeout_ms: c_int) -> c_int {
    let limit = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "vchan_rs_wait", -1, |call| call.channel().wait(limit).map(|()| 0)) }
}

/// Sends an event to the peer, even if it has not requested one.
///
/// @param ctrl the channel
/// @return 0, or -1 with errno
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_notify(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "vchan_rs_notify", -1, |call| call.channel().notify().map(|()| 0)) }
}

/// Transfers bytes from the channel to a descriptor without a copy: one writev() from the ring.
///
/// If the descriptor blocks, the call can take longer than timeout_ms. After fewer bytes than max, the
/// channel's descriptor becomes readable when more bytes are available, immediately if fd accepted less than
/// was available. After EAGAIN, poll fd if libxenvchan_data_ready() is not 0.
///
/// @param ctrl       the channel
/// @param fd         the descriptor to write to
/// @param max        the maximum number of bytes
/// @param timeout_ms how long to wait for data, in milliseconds: 0 to return at once, negative without limit
/// @return the number of bytes; or -1 with errno as from vchan_rs_read(), or as from writev() (also EAGAIN,
///         if the descriptor is non-blocking); no bytes are lost then
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `fd` a descriptor that stays open.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_read_to_fd(
    ctrl: *mut libxenvchan,
    fd: c_int,
    max: usize,
    timeout_ms: c_int,
) -> ssize_t {
    let body = |channel: &Channel| {
        // SAFETY: the caller's.
        let fd = unsafe { descriptor(fd) }?;
        channel.copy_to_fd(fd, max.min(MAX_BYTES), timeout(timeout_ms).into())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "vchan_rs_read_to_fd", -1, |call| body(call.channel()).map(count)) }
}

/// Transfers bytes from a descriptor to the channel without a copy: one readv() into the ring.
///
/// If the descriptor blocks, the call can take longer than timeout_ms. After fewer bytes than max, the
/// channel's descriptor becomes readable when there is space, immediately if fd provided less than there was
/// space for. After EAGAIN, poll fd if libxenvchan_buffer_space() is not 0.
///
/// @param ctrl       the channel
/// @param fd         the descriptor to read from
/// @param max        the maximum number of bytes
/// @param timeout_ms how long to wait for space, in milliseconds: 0 to return at once, negative without limit
/// @return the number of bytes; 0 at the end of the file; or -1 with errno as from vchan_rs_write(), or as
///         from readv() (also EAGAIN, if the descriptor is non-blocking)
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `fd` a descriptor that stays open.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_write_from_fd(
    ctrl: *mut libxenvchan,
    fd: c_int,
    max: usize,
    timeout_ms: c_int,
) -> ssize_t {
    let body = |channel: &Channel| {
        // SAFETY: the caller's.
        let fd = unsafe { descriptor(fd) }?;
        channel.copy_from_fd(fd, max.min(MAX_BYTES), timeout(timeout_ms).into())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "vchan_rs_write_from_fd", -1, |call| body(call.channel()).map(count)) }
}

/// # Safety
///
/// `fd` must be negative, or stay open for `'a`.
unsafe fn descriptor<'a>(fd: RawFd) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Error::Invalid(format!("invalid file descriptor {fd}")));
    }
    // SAFETY: the caller's, and not -1.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(timeout(0), Timeout::Not);
        assert_eq!(timeout(-1), Timeout::AtMost(None));
        assert_eq!(timeout(c_int::MIN), Timeout::AtMost(None));
        assert_eq!(timeout(1500), Timeout::AtMost(Some(Duration::from_millis(1500))));
    }
}
