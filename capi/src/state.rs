//! State and waiting: `libxenvchan_wait`, `_fd_for_select`, `_is_open`, `_data_ready`, `_buffer_space`.

use std::ffi::c_int;
use std::os::fd::AsRawFd;

use vchan::transport::Role;
use vchan::unstable::ring::Interest;
use vchan::State;

use crate::handle::{call, Call, Kind};
use crate::layout::libxenvchan;

/// Waits for an event from the peer: data, space, or the peer's end; the event does not say which.
///
/// @param ctrl the channel
/// @return 0, or -1 with errno: EINTR (as for libxenvchan_recv()), EPIPE (no event can come any more), EIDRM
///         (a server over Unix sockets without a client: the files by which clients find it were removed),
///         EPROTO, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_wait(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "libxenvchan_wait", -1, |call| call.channel().wait(None).map(|()| 0)) }
}

/// The descriptor for select(), poll() and epoll: readable when an event has come.
///
/// Sleep on it only after a call that has requested an event from the peer: a read, recv, write or send that
/// transferred less than requested, libxenvchan_data_ready() or libxenvchan_buffer_space(). When it is
/// readable, libxenvchan_wait() takes the event and returns at once. It belongs to the channel: do not read
/// from it, do not close it.
///
/// The first call creates it, so a channel that is not polled does not need it; later calls return the same
/// one. One end of a channel uses at most 5 descriptors (a server over Unix sockets with server_persist set:
/// 6), and one more after this call. All clients of a process that wait for a server over Unix sockets share
/// one inotify instance. So do its servers without a client that have waited for a second, or for which this
/// function was called.
///
/// @param ctrl the channel
/// @return the descriptor, or -1 with errno: EMFILE, ENFILE, ENOMEM (the first call only), EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_fd_for_select(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Asking, "libxenvchan_fd_for_select", -1, |call| {
            Ok(call.channel().fd(None)?.as_raw_fd())
        })
    }
}

/// Whether the peer is connected.
///
/// @param ctrl the channel
/// @return 1 if it is, and always for a server with server_persist set; 2 if no client has connected yet
///         (server only); 0 if it is gone, or wrote invalid data into the shared page (errno EPROTO), or ctrl
///         is NULL (errno EINVAL). Bytes that it wrote before can still be read
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_is_open(ctrl: *mut libxenvchan) -> c_int {
    let body = |call: &Call<'_>| {
        let channel = call.channel();
        channel.ring().check()?;
        if channel.ring().role() == Role::Server && call.flags.persistent() {
            return Ok(1);
        }
        Ok(match channel.state_now()? {
            State::Connected => 1,
            State::Waiting => 2,
            _ => 0,
        })
    };
    // SAFETY: the caller's.
    unsafe { call(ctrl, Kind::Asking, "libxenvchan_is_open", 0, body) }
}

/// The number of bytes that can be read now. Also requests an event for when the peer writes.
///
/// @param ctrl the channel
/// @return the number of bytes, or -1 with errno: EPROTO (the peer wrote invalid data into the shared page),
///         ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_data_ready(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Reading, "libxenvchan_data_ready", -1, |call| available(call, Interest::Readable))
    }
}

/// The number of bytes that can be written now. Also requests an event for when the peer reads.
///
/// @param ctrl the channel
/// @return the number of bytes, or -1 with errno: EPROTO (the peer wrote invalid data into the shared page),
///         ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_buffer_space(ctrl: *mut libxenvchan) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        call(ctrl, Kind::Writing, "libxenvchan_buffer_space", -1, |call| available(call, Interest::Writable))
    }
}

fn available(call: &Call<'_>, interest: Interest) -> vchan::Result<c_int> {
    call.channel().check_open()?;
    call.channel().arm(interest);
    // A ring holds 1 MiB at most.
    Ok(call.channel().ring().available(interest)? as c_int)
}
