//! Threads that are cancelled by `pthread_cancel` during a call.
//!
//! The thread ends between two attempts, with nothing on the stack that needs clean-up. So the entries that
//! can block are `extern "C-unwind"`.

use vchan::unstable::cancellation;
use vchan::{Error, Result};

extern "C-unwind" {
    fn pthread_testcancel();
}

/// Runs `attempt`, and repeats it while it was interrupted only to check for cancellation. A cancelled thread
/// ends here.
#[inline]
pub(crate) fn attempts<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    match attempt() {
        Ok(value) => Ok(value),
        Err(error) => after_failure(error, attempt),
    }
}

#[cold]
#[inline(never)]
fn after_failure<T>(error: Error, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    match error {
        Error::Interrupted => after_interruption(attempt),
        other => Err(other),
    }
}

fn after_interruption<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        let requested = cancellation::take_look_request();
        // SAFETY: nothing on the stack up to the C program needs clean-up.
        unsafe { pthread_testcancel() };
        if !requested {
            return Err(Error::Interrupted);
        }
        cancellation::note_look();
        let result = attempt();
        cancellation::forget_look();
        match result {
            Err(Error::Interrupted) => {}
            result => return result,
        }
    }
}
