//! What ends the tool at any moment: SIGINT, SIGTERM, SIGHUP, or the loss of standard output's reader.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

/// Why the tool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A signal.
    Signal,
    /// Standard output has lost its reader.
    OutputLost,
}

/// Called for each reason.
type Listener = Box<dyn Fn(Reason) + Send>;

/// When a signal ends a whole pipeline, it arrives before the reader's exit is seen, but its thread may run
/// later.
const SIGNAL_GRACE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct State {
    signal_received: bool,
    output_lost: bool,
    listener: Option<Listener>,
}

/// The reasons so far, and the listener for them.
#[derive(Clone, Default)]
pub struct Signals {
    state: Arc<Mutex<State>>,
}

impl Signals {
    /// Catches the signals from now on.
    pub fn catch() -> io::Result<Signals> {
        let signals = Signals::default();
        let mut caught = vec![SIGINT, SIGTERM];
        // An ignored SIGHUP means nohup. SIGINT is caught even if ignored, as in background jobs of a shell:
        // `kill -INT` must end those, too.
        if !is_ignored(Signal::SIGHUP)? {
            caught.push(SIGHUP);
        }
        let mut incoming = Incoming::new(&caught)?;
        let state = signals.clone();
        // Only the signal thread receives them, so that other threads' calls don't fail with EINTR.
        let set: SigSet = caught.iter().filter_map(|&number| Signal::try_from(number).ok()).collect();
        set.thread_block()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            // Unblocking can't fail where blocking succeeded; at worst a signal is delivered elsewhere.
            let _ = set.thread_unblock();
            for _ in &mut incoming {
                state.record(Reason::Signal);
            }
        })?;
        Ok(signals)
    }

    /// Watches for the loss of the reader of `output`, a pipe or a socket.
    pub fn watch(&self, output: OwnedFd) -> io::Result<()> {
        let state = self.clone();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            let mut fds = [PollFd::new(output.as_fd(), PollFlags::empty())];
            // poll always reports errors and hang-ups. Signals are blocked in this thread.
            if poll(&mut fds, PollTimeout::NONE).is_ok() {
                std::thread::sleep(SIGNAL_GRACE);
                state.record(Reason::OutputLost);
            }
        })?;
        Ok(())
    }

    /// Whether a signal has arrived.
    pub fn signal_received(&self) -> bool {
        self.lock().signal_received
    }

    /// Whether standard output has lost its reader.
    pub fn output_lost(&self) -> bool {
        self.lock().output_lost
    }

    /// Calls `listener` for each reason from now on, and at once for those already recorded.
    pub fn set_listener(&self, listener: impl Fn(Reason) + Send + 'static) {
        let mut state = self.lock();
        if state.signal_received {
            listener(Reason::Signal);
        }
        if state.output_lost {
            listener(Reason::OutputLost);
        }
        state.listener = Some(Box::new(listener));
    }

    fn record(&self, reason: Reason) {
        let mut state = self.lock();
        match reason {
            Reason::Signal => state.signal_received = true,
            // After a signal the exit is clean.
            Reason::OutputLost if state.signal_received => return,
            Reason::OutputLost => state.output_lost = true,
        }
        if let Some(listener) = &state.listener {
            listener(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring a signal runs no code; the previous action is restored at once.
    let before = unsafe { sigaction(signal, &ignore)? };
    // SAFETY: `before` was installed when this process started: the default action or ignore.
    unsafe { sigaction(signal, &before)? };
    Ok(matches!(before.handler(), SigHandler::SigIgn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn signal_before_its_listener_is_not_lost() {
        let signals = Signals::default();
        signals.record(Reason::Signal);
        let (sender, received) = mpsc::channel();
        signals.set_listener(move |reason| sender.send(reason).unwrap());
        assert!(signals.signal_received());
        assert_eq!(received.try_recv(), Ok(Reason::Signal));
        signals.record(Reason::Signal);
        assert_eq!(received.try_recv(), Ok(Reason::Signal));
        signals.record(Reason::OutputLost);
        assert!(received.try_recv().is_err() && !signals.output_lost());
    }
}
