//! The moment that a call waits which is not to wait.
//!
//! Who finds nothing asks for an event, and the peer's next call makes a system call for it, though it may come right
//! behind: a side that moves message after message by calls that don't wait would have an event sent for each. So it
//! looks again a few times, for less than a microsecond, as long as that helps. In between it leaves the shared line
//! alone, as [`linger`](super::linger) says.

use super::linger::pass;
use super::seldom::Seldom;

/// How often it looks again.
const LOOKS: u32 = 4;
/// How long it pauses before each look, in nanoseconds.
const PAUSE: u32 = 200;

/// What one direction knows of such moments.
#[derive(Debug, Default)]
pub(super) struct Moment(Seldom);

impl Moment {
    /// Looks again whether it is `done`, and says so.
    pub(super) fn until(&self, done: impl Fn() -> bool) -> bool {
        // A model has no time.
        if cfg!(model) || !self.0.is_due() {
            return false;
        }
        for _ in 0..LOOKS {
            pass(PAUSE);
            if done() {
                self.0.succeeded();
                return true;
            }
        }
        self.0.failed();
        false
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_is_short_and_ends_with_the_first_success() {
        let (moment, looks) = (Moment::default(), Cell::new(0));
        let is_look = |number| {
            looks.set(looks.get() + 1);
            looks.get() == number
        };
        assert!(moment.until(|| is_look(2)));
        assert_eq!(looks.take(), 2);
        assert!(!moment.until(|| is_look(LOOKS + 1)));
        assert_eq!(looks.get(), LOOKS);
    }
}
