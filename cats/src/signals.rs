//! SIGINT, SIGTERM and SIGHUP: a request to end, passed to whatever is going on at the moment.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

/// Told about each signal that comes.
type Listener = Box<dyn Fn() + Send>;

#[derive(Default)]
struct State {
    asked: bool,
    listener: Option<Listener>,
}

/// The signals that have come, and who wants to know.
#[derive(Clone, Default)]
pub struct Signals {
    state: Arc<Mutex<State>>,
}

impl Signals {
    /// Catches the signals from now on.
    pub fn catch() -> io::Result<Signals> {
        let signals = Signals::default();
        let mut caught = vec![SIGINT, SIGTERM];
        // Who started this by nohup means it. SIGINT is caught even where it was ignored, which is how a shell
        // starts jobs in the background: `kill -INT` shall end those, too.
        if !is_ignored(Signal::SIGHUP)? {
            caught.push(SIGHUP);
        }
        let mut incoming = Incoming::new(&caught)?;
        let state = signals.clone();
        // Only the thread for it is interrupted, so that no other one's calls fail with EINTR.
        let set: SigSet = caught.iter().filter_map(|&number| Signal::try_from(number).ok()).collect();
        set.thread_block()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            // It can't fail where blocking didn't; at worst a signal is delivered elsewhere.
            let _ = set.thread_unblock();
            for _ in &mut incoming {
                state.tell();
            }
        })?;
        Ok(signals)
    }

    /// Whether a signal has come.
    pub fn asked(&self) -> bool {
        self.lock().asked
    }

    /// From now on `listener` is told about each signal, and at once if one has come already.
    pub fn direct_to(&self, listener: impl Fn() + Send + 'static) {
        let mut state = self.lock();
        if state.asked {
            listener();
        }
        state.listener = Some(Box::new(listener));
    }

    fn tell(&self) {
        let mut state = self.lock();
        state.asked = true;
        if let Some(listener) = &state.listener {
            listener();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: to ignore a signal runs no code; what was there before is put back at once.
    let before = unsafe { sigaction(signal, &ignore)? };
    // SAFETY: `before` was installed when this process started, it is the default action or to ignore.
    unsafe { sigaction(signal, &before)? };
    Ok(matches!(before.handler(), SigHandler::SigIgn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_signal_that_came_before_its_listener_is_not_lost() {
        let signals = Signals::default();
        signals.tell();
        let (sender, told) = mpsc::channel();
        signals.direct_to(move || sender.send(()).unwrap());
        assert!(signals.asked());
        told.try_recv().unwrap();
        signals.tell();
        told.try_recv().unwrap();
    }
}
