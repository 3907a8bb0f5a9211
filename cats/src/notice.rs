//! A word to people who wait in vain, perhaps at the wrong place.

use std::sync::mpsc::{channel, RecvTimeoutError};
use std::thread::{scope, Builder};
use std::time::Duration;

/// Longer than it takes to start both sides.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does `work`. If that takes long, `say` is called meanwhile.
pub fn unless_soon<T>(say: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (over, waits) = channel::<()>();
    scope(|scope| {
        let body = move || {
            if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        };
        // Without a thread for it, nothing is said.
        let _ = Builder::new().name("notice".into()).spawn_scoped(scope, body);
        let done = work();
        drop(over);
        done
    })
}
