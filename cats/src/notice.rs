//! A hint for users when a wait takes long, perhaps in the wrong place.

use std::sync::mpsc::{channel, RecvTimeoutError};
use std::thread::{scope, Builder};
use std::time::Duration;

/// Longer than it takes to start both sides.
const DELAY: Duration = Duration::from_secs(1);

/// Runs `work`, and calls `say` meanwhile if it takes long.
pub fn with_notice<T>(say: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (over, waits) = channel::<()>();
    scope(|scope| {
        let body = move || {
            if waits.recv_timeout(DELAY) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        };
        // The hint is optional: a failure to start the thread is ignored.
        let _ = Builder::new().name("notice".into()).spawn_scoped(scope, body);
        let done = work();
        drop(over);
        done
    })
}
