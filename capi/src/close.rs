//! The end of a channel: `libxenvchan_close`.

use vchan::unstable::thread::depth;

use crate::errors::answer;
use crate::handle;
use crate::layout::libxenvchan;
use crate::logger::Logger;

/// Closes a channel: tells the peer and frees everything. What was written before can still be read by the peer.
///
/// Another thread may be blocked in a call meanwhile: it gets -1 with ESHUTDOWN, and this waits until it has left.
/// None may begin a call on the channel later. Leaves errno alone.
///
/// In a signal handler that has interrupted a call on this channel, that call gets -1 with ESHUTDOWN, and what the channel
/// uses is freed when it returns. Calls that were left by siglongjmp(), and those of threads that have ended or that a fork left
/// behind, are not waited for. Only where siglongjmp() has left a call in another thread, which has made no call on
/// the channel since, this takes a second, and the channel's memory and descriptors stay in use.
///
/// @param ctrl the channel; NULL does nothing
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel, and is gone after this.
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
