//! What ends whatever is going on at the moment: SIGINT, SIGTERM and SIGHUP, or the end of the program that reads our output.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

/// Why to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A signal asks for it.
    Asked,
    /// Nobody reads standard output any more.
    OutputLost,
}

/// Told about each reason that comes.
type Listener = Box<dyn Fn(Reason) + Send>;

/// A signal that ends a whole pipeline ends the reader, too. It has come before the reader's end, but its thread may be slower.
const SLOWER: Duration = Duration::from_millis(50);

#[derive(Default)]
struct State {
    asked: bool,
    output_lost: bool,
    listener: Option<Listener>,
}

/// The reasons to end that have occurred, and the listener for them.
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
                state.tell(Reason::Asked);
            }
        })?;
        Ok(signals)
    }

    /// Watches whether somebody reads `output`, a pipe or a socket.
    pub fn watch(&self, output: OwnedFd) -> io::Result<()> {
        let state = self.clone();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            let mut fds = [PollFd::new(output.as_fd(), PollFlags::empty())];
            // poll reports errors and hang-ups without being asked for them. Signals don't interrupt this thread.
            if poll(&mut fds, PollTimeout::NONE).is_ok() {
                std::thread::sleep(SLOWER);
                state.tell(Reason::OutputLost);
            }
        })?;
        Ok(())
    }

    /// Whether a signal has come.
    pub fn asked(&self) -> bool {
        self.lock().asked
    }

    /// Whether nobody reads standard output any more.
    pub fn output_lost(&self) -> bool {
        self.lock().output_lost
    }

    /// Calls `listener` for each reason from now on, and at once for those that have occurred already.
    pub fn direct_to(&self, listener: impl Fn(Reason) + Send + 'static) {
        let mut state = self.lock();
        if state.asked {
            listener(Reason::Asked);
        }
        if state.output_lost {
            listener(Reason::OutputLost);
        }
        state.listener = Some(Box::new(listener));
    }

    fn tell(&self, reason: Reason) {
        let mut state = self.lock();
        match reason {
            Reason::Asked => state.asked = true,
            // Who was asked to end ends in order.
            Reason::OutputLost if state.asked => return,
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
        signals.tell(Reason::Asked);
        let (sender, told) = mpsc::channel();
        signals.direct_to(move |reason| sender.send(reason).unwrap());
        assert!(signals.asked());
        assert_eq!(told.try_recv(), Ok(Reason::Asked));
        signals.tell(Reason::Asked);
        assert_eq!(told.try_recv(), Ok(Reason::Asked));
        signals.tell(Reason::OutputLost);
        assert!(told.try_recv().is_err() && !signals.output_lost());
    }
}
