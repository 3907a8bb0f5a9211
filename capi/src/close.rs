//! The end of a channel: `libxenvchan_close`.

use vchan::unstable::thread::depth;

use crate::errors::answer;
use crate::handle;
use crate::layout::libxenvchan;
use crate::logger::Logger;

/// Closes a channel: notifies the peer and frees everything. The peer can still read what was written before.
///
/// If another thread is blocked in a call on the channel, that call returns -1 with ESHUTDOWN, and this
/// function waits until it has returned. No call on the channel may begin later. errno is preserved.
///
/// In a signal handler that has interrupted a call on this channel, that call returns -1 with ESHUTDOWN and
/// then frees the channel. Calls that were abandoned by siglongjmp(), and calls of threads that have ended or
/// do not exist after a fork, are not waited for. One case is slow: if siglongjmp() has abandoned a call in
/// another thread, and that thread has called no function on the channel since, this function returns after a
/// second, and the channel's memory and descriptors are leaked.
///
/// @param ctrl the channel; NULL is ignored
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel; it is invalid after this call.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_close(ctrl: *mut libxenvchan) {
    let now = depth();
    if !ctrl.is_null() {
        answer("libxenvchan_close", Logger::NONE, (), || {
            // SAFETY: the caller's.
            unsafe { handle::close(ctrl, now) };
            Ok(())
        });
    }
}
