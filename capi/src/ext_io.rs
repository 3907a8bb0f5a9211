//! `vchan-rs.h`: moving bytes with a time-out, and between descriptors and the rings.

use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use libc::ssize_t;
use vchan::unstable::{cancellation, Channel, Wait};
use vchan::{Error, Result};

use crate::handle::{call, Kind};
use crate::io::{input, output};
use crate::layout::libxenvchan;

/// A time-out as C gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// 0: don't wait.
    Not,
    /// Positive: so many milliseconds; negative: for ever.
    Upto(Option<Duration>),
}

impl From<Timeout> for Wait {
    fn from(timeout: Timeout) -> Wait {
        match timeout {
            Timeout::Not => Wait::No { drain: false },
            Timeout::Upto(limit) => Wait::Upto(limit),
        }
    }
}

pub(crate) fn timeout(milliseconds: c_int) -> Timeout {
    match u64::try_from(milliseconds) {
        Ok(0) => Timeout::Not,
        Ok(milliseconds) => Timeout::Upto(Some(Duration::from_millis(milliseconds))),
        Err(_) => Timeout::Upto(None),
    }
}

/// The most that one call moves.
const MOST: usize = isize::MAX as usize;

fn count(bytes: usize) -> ssize_t {
    // At most `MOST`.
    bytes as ssize_t
}

/// Reads what there is, waiting for the first byte. Does not look at the blocking flag.
///
/// @param ctrl       the channel
/// @param data       where to
/// @param size       at most how many bytes
/// @param timeout_ms how long to wait at most, in milliseconds: 0 not at all, negative for as long as it takes
/// @return how many; or -1 with errno: EAGAIN (timeout_ms is 0 and none are there), ETIMEDOUT, EPIPE (none are left,
///         and the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` as in C.
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
            Timeout::Upto(limit) => channel.read(into, size, limit),
        }
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "vchan_rs_read", -1, |call| body(call.channel()).map(count)) }
}

/// Writes, waiting for space as often as it takes. Does not look at the blocking flag.
///
/// @param ctrl       the channel
/// @param data       what
/// @param size       how many bytes
/// @param timeout_ms how long to wait for the peer at most, each time, in milliseconds: 0 not at all, negative for as
///                   long as it takes
/// @return how many were written, less than size where it could not go on: the next call says why. Or, where none
///         were, -1 with errno: EAGAIN (timeout_ms is 0 and there is no space), ETIMEDOUT, EPIPE (the peer has gone),
///         EPROTO, EINTR, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, `data` as in C.
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
        let data = unsafe { input(data, size, MOST) }?;
        let progress = match timeout(timeout_ms) {
            Timeout::Not => channel.write_now(data, size, false),
            Timeout::Upto(limit) => channel.write(&data[written..], limit),
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

/// Waits for an event, as libxenvchan_wait() does, at most for a while.
///
/// @param ctrl       the channel
/// @param timeout_ms how long at most, in milliseconds; negative for as long as it takes
/// @return 0, or -1 with errno: ETIMEDOUT, and as libxenvchan_wait()
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

/// Sends the peer an event, asked for or not.
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

/// Moves bytes from the channel to a descriptor, straight out of the ring: one writev().
///
/// A descriptor that blocks keeps this waiting for longer than timeout_ms. After fewer bytes than max, the channel's descriptor
/// becomes readable when there is more, at once where fd took less than there was. After EAGAIN, fd is the one to poll where
/// libxenvchan_data_ready() is not 0.
///
/// @param ctrl       the channel
/// @param fd         where to
/// @param max        at most how many bytes
/// @param timeout_ms how long to wait for data at most, in milliseconds: 0 not at all, negative for as long as it takes
/// @return how many; or -1 with errno as vchan_rs_read(), or as writev() (also EAGAIN, where the descriptor is
///         non-blocking); nothing is lost then
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
        channel.copy_to_fd(fd, max.min(MOST), timeout(timeout_ms).into())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Reading, "vchan_rs_read_to_fd", -1, |call| body(call.channel()).map(count)) }
}

/// Moves bytes from a descriptor to the channel, straight into the ring: one readv().
///
/// A descriptor that blocks keeps this waiting for longer than timeout_ms. After fewer bytes than max, the channel's descriptor
/// becomes readable when there is space, at once where fd gave less than there was space for. After EAGAIN, fd is the one to
/// poll where libxenvchan_buffer_space() is not 0.
///
/// @param ctrl       the channel
/// @param fd         where from
/// @param max        at most how many bytes
/// @param timeout_ms how long to wait for space at most, in milliseconds: 0 not at all, negative for as long as it
///                   takes
/// @return how many; 0 at the end of the file; or -1 with errno as vchan_rs_write(), or as readv() (also EAGAIN, where
///         the descriptor is non-blocking)
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
        channel.copy_from_fd(fd, max.min(MOST), timeout(timeout_ms).into())
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Writing, "vchan_rs_write_from_fd", -1, |call| body(call.channel()).map(count)) }
}

/// # Safety
///
/// A descriptor that stays open for as long as `'a`.
unsafe fn descriptor<'a>(fd: RawFd) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Error::Invalid(format!("{fd} is no file descriptor")));
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
        assert_eq!(timeout(-1), Timeout::Upto(None));
        assert_eq!(timeout(c_int::MIN), Timeout::Upto(None));
        assert_eq!(timeout(1500), Timeout::Upto(Some(Duration::from_millis(1500))));
    }
}
