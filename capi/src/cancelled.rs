//! Threads that are cancelled by `pthread_cancel` while they are in a call.
//!
//! The thread ends where the call left it: between two attempts, with nothing on the stack that needs to be undone. So the
//! entries that may wait are `extern "C-unwind"`.

use vchan::unstable::cancellation;
use vchan::{Error, Result};

extern "C-unwind" {
    fn pthread_testcancel();
}

/// Makes an attempt, and others after it for as long as each is only interrupted for a look whether the thread was
/// cancelled. A thread that was cancelled ends here.
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
        // SAFETY: nothing that needs to be undone is on the stack up to the C program.
        unsafe { pthread_testcancel() };
        if !requested {
            return Err(Error::Interrupted);
        }
        cancellation::has_looked();
        let result = attempt();
        cancellation::forget_look();
        match result {
            Err(Error::Interrupted) => {}
            result => return result,
        }
    }
}
