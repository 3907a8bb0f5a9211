//! Asking and waiting: `libxenvchan_wait`, `_fd_for_select`, `_is_open`, `_data_ready`, `_buffer_space`.

use std::ffi::c_int;
use std::os::fd::AsRawFd;

use vchan::ring::Role;
use vchan::unstable::ring::Interest;
use vchan::State;

use crate::handle::{call, Call, Kind};
use crate::layout::libxenvchan;

/// Waits for an event from the peer. It may mean anything: that there is data, space, or that the peer has gone.
///
/// @param ctrl the channel
/// @return 0, or -1 with errno: EINTR (as for libxenvchan_recv()), EPIPE (no event will come any more), EIDRM
///         (a server over Unix sockets without its client: somebody has removed what clients find it by), EPROTO, ESHUTDOWN,
///         EINVAL
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
/// Sleep on it only after a call that asked the peer for an event: a read, recv, write or send which moved less than
/// it was asked for, libxenvchan_data_ready() or libxenvchan_buffer_space(). When it is readable, libxenvchan_wait()
/// returns at once and takes the event. It belongs to the channel: do not read from it, do not close it.
///
/// It is made by the first call, so that a channel which nobody polls costs no descriptor for it. Every later call returns
/// the same one. An end of a channel uses at most 5 descriptors (a server over Unix sockets with server_persist set: 6), and
/// one more after this call. All clients of a process that wait for a server over Unix sockets share one instance of inotify, and so do
/// its servers that have waited for a second, or been asked for this, and have no client yet.
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

/// Whether the peer is there.
///
/// @param ctrl the channel
/// @return 1 if it is, also for a server with server_persist set in any case; 2 if no client has come yet (server
///         only); 0 if it has gone, or wrote rubbish into the shared page (errno EPROTO), or ctrl is NULL (errno
///         EINVAL). What it wrote before it went can still be read
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

/// How many bytes can be read now. Also asks the peer for an event when it writes.
///
/// @param ctrl the channel
/// @return how many, or -1 with errno: EPROTO (the peer wrote rubbish into the shared page), ESHUTDOWN, EINVAL
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

/// How many bytes can be written now. Also asks the peer for an event when it reads.
///
/// @param ctrl the channel
/// @return how many, or -1 with errno: EPROTO (the peer wrote rubbish into the shared page), ESHUTDOWN, EINVAL
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
