//! Conversion of a `Result` to a C return value: errno, the text of the last error, the program's logger.
//! Panics are caught here.

use std::cell::Cell;
use std::ffi::{c_char, c_int, CStr};
use std::fmt::{self, Write};
use std::panic::{self, AssertUnwindSafe};

use nix::errno::Errno;
use vchan::unstable::cancellation;
use vchan::{Error, Result};

use crate::kinds::{kind_of, VCHAN_RS_ERROR_NONE};
use crate::logger::{Level, Logger};

/// A buffer for a NUL-terminated string.
struct Text([Cell<u8>; 512]);

thread_local! {
    // Without destructors, because calls also fail after a thread's variables were destroyed. And without
    // allocation.
    static LAST: Text = const { Text([const { Cell::new(0) }; 512]) };
    static LAST_KIND: Cell<c_int> = const { Cell::new(VCHAN_RS_ERROR_NONE) };
}

/// The errno for C. Programs written for libxenvchan know one error for a peer that is gone, however it
/// ended; the text distinguishes the cases.
pub(crate) fn errno_of(error: &Error) -> i32 {
    match error {
        Error::PeerDied => libc::EPIPE,
        other => other.errno(),
    }
}

/// Runs the body of the function `what`, and converts its result to a C return value: `failure` if it failed.
pub(crate) fn answer<T>(what: &str, logger: Logger, failure: T, body: impl FnOnce() -> Result<T>) -> T {
    let _held = cancellation::hold();
    guarded(body).unwrap_or_else(|error| {
        report(what, logger, &error);
        failure
    })
}

/// Runs the body of a function; a panic becomes an error.
pub(crate) fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut failure = None;
    let body = || match body() {
        Ok(value) => Some(value),
        Err(error) => keep(error, &mut failure),
    };
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Some(value)) => Ok(value),
        _ => failed(failure),
    }
}

/// Stores the error outside: `catch_unwind` moves its result, which would take longer than everything else.
#[cold]
#[inline(never)]
fn keep<T>(error: Error, failure: &mut Option<Error>) -> Option<T> {
    *failure = Some(error);
    None
}

/// `None` for a panic.
#[cold]
#[inline(never)]
fn failed<T>(error: Option<Error>) -> Result<T> {
    Err(error.unwrap_or_else(|| Error::os("internal error in vchan-rs, please report it", Errno::EIO)))
}

#[cold]
pub(crate) fn report(what: &str, logger: Logger, error: &Error) {
    // The program's logger can write to a file, where cancellation would end the thread here.
    let _held = cancellation::hold();
    let errno = errno_of(error);
    // The call has failed with this error, even if the text cannot be formatted.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| {
        LAST.with(|text| text.set(what, error));
        // SAFETY: `LAST` is always NUL-terminated, and belongs to this thread.
        logger.log(level(error), errno, unsafe { CStr::from_ptr(last_text()) });
    }));
    LAST_KIND.set(kind_of(error));
    Errno::set_raw(errno);
}

impl Text {
    fn set(&self, what: &str, error: &Error) {
        // Truncated if it does not fit.
        let _ = write!(Written { text: self, len: 0 }, "{what}: {error}");
    }
}

/// A writer into a text.
struct Written<'a> {
    text: &'a Text,
    len: usize,
}

impl Write for Written<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let result = part.chars().filter(|&character| character != '\0').try_for_each(|character| {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            // One byte is reserved for the NUL.
            let place =
                self.text.0.get(self.len..self.text.0.len() - 1).and_then(|rest| rest.get(..bytes.len()));
            for (byte, place) in bytes.iter().zip(place.ok_or(fmt::Error)?) {
                place.set(*byte);
            }
            self.len += bytes.len();
            Ok(())
        });
        self.text.0[self.len].set(0);
        result
    }
}

/// Errors of normal operation are logged at debug level.
fn level(error: &Error) -> Level {
    match error {
        Error::PeerClosed
        | Error::PeerFinished
        | Error::Closed
        | Error::TimedOut(_)
        | Error::WouldBlock
        | Error::Interrupted => Level::Debug,
        _ => Level::Error,
    }
}

/// The text of this thread's last error, empty before the first. Valid until the thread's next error.
pub(crate) fn last_text() -> *const c_char {
    LAST.with(|text| text.0.as_ptr().cast())
}

/// The kind of this thread's last error.
pub(crate) fn last_kind() -> c_int {
    LAST_KIND.get()
}

/// The error for a NULL argument.
pub(crate) fn null(name: &str) -> Error {
    Error::Invalid(format!("{name} is NULL"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn text() -> String {
        // SAFETY: no error occurs before the copy.
        unsafe { CStr::from_ptr(last_text()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn error_sets_errno_and_text() {
        let ret = answer("libxenvchan_read", Logger::NONE, -1, || Err(Error::PeerClosed));
        assert_eq!((ret, Errno::last()), (-1, Errno::EPIPE));
        assert_eq!(text(), "libxenvchan_read: the peer closed the channel");
        assert_eq!(last_kind(), crate::kinds::VCHAN_RS_ERROR_PEER_CLOSED);
        answer("x", Logger::NONE, (), || Err(Error::PeerDied));
        assert_eq!(Errno::last(), Errno::EPIPE);
        assert_eq!(text(), "x: the peer died without closing the channel");
        assert_eq!(last_kind(), crate::kinds::VCHAN_RS_ERROR_PEER_DIED);
    }

    #[test]
    fn success_preserves_errno() {
        Errno::set_raw(libc::EDOM);
        assert_eq!(answer("x", Logger::NONE, -1, || Ok(5)), 5);
        assert_eq!(Errno::last_raw(), libc::EDOM);
    }

    #[test]
    fn panic_becomes_an_error() {
        let ret = answer("x", Logger::NONE, -1, || panic!("expected"));
        assert_eq!((ret, Errno::last()), (-1, Errno::EIO));
        assert!(text().contains("please report"));
    }

    #[test]
    fn nul_bytes_in_a_text_are_dropped() {
        answer("x", Logger::NONE, (), || Err(Error::Invalid("a\0b".into())));
        assert_eq!(text(), "x: ab");
    }

    #[test]
    fn long_text_is_cut_after_a_whole_character() {
        answer("x", Logger::NONE, (), || Err(Error::Invalid("\u{20ac}".repeat(512))));
        assert_eq!(text(), format!("x: {}", "\u{20ac}".repeat(508 / 3)));
        answer("x", Logger::NONE, (), || Err(Error::Invalid("short".into())));
        assert_eq!(text(), "x: short");
    }
}
