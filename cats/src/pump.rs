//! The two directions, one thread each. Data goes straight between the descriptor and the ring.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::pthread::{pthread_kill, Pthread};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::{isatty, read};
use vchan::{Error, Reader, State, Writer};

use crate::failure::Failure;
use crate::meter::Meter;
use crate::signals::Reason;
use crate::standard::is_no_input;

/// What the pumps, and others, tell the thread that decides on the end.
pub enum Event {
    /// A signal asks for the end, or nobody reads what is received.
    Ends(Reason),
    /// The sending pump has ended.
    Sent(Writer, SendEnd),
    /// The peer has ended its stream, and all of it has been delivered. It listens on.
    PeerFinished,
    /// The receiving pump has ended.
    Received(Reader, ReceiveEnd),
}

/// Why nothing more is sent.
pub enum SendEnd {
    /// Standard input has ended; unless the peer went away, it has got everything.
    EndOfInput,
    /// It was asked to stop, and the peer has got what had been read.
    Stopped,
    /// The peer closed, failed or died: the receiving pump knows which.
    PeerGone {
        /// Whether standard input had ended before.
        input_over: bool,
    },
    /// There is no standard input, or none in truth: then with the error of reading it.
    NoInput(Option<Errno>),
    /// Standard input or the channel failed.
    Failed(Failure),
}

/// Why nothing more is received.
pub enum ReceiveEnd {
    /// The peer left in order, and everything it wrote has been delivered.
    PeerLeft,
    /// It was asked to stop.
    Stopped,
    /// Standard output or the channel failed, or the peer died.
    Failed(Failure),
}

/// Bytes per system call: a quarter of the ring, so that one side can fill while the other empties, within these
/// bounds: below, the calls cost more than the copies; above, the peer waits long for the first byte.
const LEAST: usize = 8 << 10;
const MOST: usize = 128 << 10;

/// How long standard input may take to come to its end after a peer that took everything has left.
pub const GRACE: Duration = Duration::from_millis(500);

fn portion(ring: usize) -> usize {
    (ring / 4).clamp(LEAST, MOST)
}

/// Stops pumps.
pub struct Stop {
    wake: EventFd,
    stopped: AtomicBool,
}

impl Stop {
    /// One that has not been used yet.
    pub fn new() -> nix::Result<Stop> {
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Stop { wake, stopped: AtomicBool::new(false) })
    }

    /// Ends the wait for standard input or output. Who waits for the ring is stopped by a `Closer`.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
        // The counter is far from its limit, the only reason to fail.
        let _ = self.wake.write(1);
    }

    fn stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// Waits until `fd` is ready, and says false if it was stopped before.
    fn wait(&self, (fd, flags): (BorrowedFd, PollFlags)) -> nix::Result<bool> {
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN), PollFd::new(fd, flags)];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => return Ok(fds[0].any() != Some(true)),
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A pump in its thread.
pub struct Pump(JoinHandle<()>);

impl Pump {
    /// Whether its thread has ended, or is about to.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Interrupts the pump's read or write of a descriptor that is not ready after all.
    pub fn interrupt(&self) {
        // The standard library has a number for every C library's, which for musl is a pointer.
        let thread = self.0.as_pthread_t() as Pthread;
        // The only error is that the thread has ended, as is intended.
        let _ = pthread_kill(thread, INTERRUPT);
    }
}

/// A signal which does nothing if it comes from elsewhere.
const INTERRUPT: Signal = Signal::SIGURG;

/// Makes [`Pump::interrupt`] work, instead of being ignored.
pub fn prepare_to_interrupt() -> nix::Result<()> {
    extern "C" fn nothing(_: std::ffi::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, so it can't do wrong.
    unsafe { sigaction(INTERRUPT, &action) }.map(drop)
}

/// What both pumps of a conversation need.
#[derive(Clone)]
pub struct Course {
    /// Where to report the end.
    pub events: Sender<Event>,
    /// Counts what they move.
    pub meter: Arc<Meter>,
    /// Stops them.
    pub stop: Arc<Stop>,
    /// Whether to end this side's stream with standard input: the peer may understand that.
    pub half_closes: bool,
    /// Whether what comes in is wanted.
    pub receives: bool,
    /// Standard input, unless nothing is to be sent.
    pub input: Option<Arc<OwnedFd>>,
    /// How often to look whether the peer still consumes, after standard input has ended.
    pub look: Option<Duration>,
}

impl Course {
    /// Starts to send what standard input gives, or nothing.
    pub fn send(&self, mut writer: Writer) -> std::io::Result<Pump> {
        let course = self.clone();
        let body = move || {
            let end = course.sending(&mut writer);
            // Nobody listens any more if the decision has been made; then it doesn't matter.
            let _ = course.events.send(Event::Sent(writer, end));
        };
        Builder::new().name("send".into()).spawn(body).map(Pump)
    }

    /// Starts to receive into `output`.
    pub fn receive(&self, mut reader: Reader, output: OwnedFd) -> std::io::Result<Pump> {
        let course = self.clone();
        let body = move || {
            let end = course.receiving(&mut reader, output.as_fd());
            // As above.
            let _ = course.events.send(Event::Received(reader, end));
        };
        Builder::new().name("receive".into()).spawn(body).map(Pump)
    }

    fn sending(&self, writer: &mut Writer) -> SendEnd {
        let input = self.input.as_ref().map(|input| input.as_fd());
        let portion = portion(writer.ring_size());
        let end = loop {
            let Some(input) = input else { break SendEnd::NoInput(None) };
            // Without a look before, the read would block beyond the reach of `stop`.
            match self.stop.wait((input, PollFlags::POLLIN)) {
                Ok(true) => (),
                Ok(false) => break SendEnd::Stopped,
                Err(errno) => return SendEnd::Failed(Failure::stream("standard input", errno)),
            }
            match writer.copy_from_fd(input, portion) {
                Ok(0) => break SendEnd::EndOfInput,
                Ok(count) => self.meter.add_sent(count),
                Err(Error::PeerClosed | Error::PeerDied | Error::PeerAborted) => {
                    return SendEnd::PeerGone { input_over: false }
                }
                Err(Error::Closed) => return SendEnd::Stopped,
                Err(error) if is_passing(&error) => (),
                Err(error @ Error::Os { .. })
                    if self.receives && is_no_input(input, Errno::from_raw(error.errno())) =>
                {
                    break SendEnd::NoInput(Some(Errno::from_raw(error.errno())))
                }
                Err(error) => return SendEnd::Failed(failure("standard input", &error)),
            }
        };
        let input_over = matches!(end, SendEnd::EndOfInput | SendEnd::NoInput(_));
        if input_over && self.half_closes {
            match writer.shutdown() {
                Ok(()) => (),
                Err(Error::Closed) => return SendEnd::Stopped,
                Err(error) => return SendEnd::Failed(Failure::new("conversation", &error)),
            }
        }
        self.drain(writer, input_over).unwrap_or(end)
    }

    /// Waits until the peer has got everything; `Some` if it never will.
    fn drain(&self, writer: &mut Writer, input_over: bool) -> Option<SendEnd> {
        let mut before = None;
        loop {
            match writer.wait_drained(self.look) {
                Ok(()) => return None,
                Err(Error::TimedOut(_)) => {
                    let pending = writer.pending().ok();
                    if pending != before {
                        before = pending;
                        self.meter.moved();
                    }
                }
                Err(Error::Interrupted) => (),
                Err(Error::Closed) => return Some(SendEnd::Stopped),
                Err(Error::PeerClosed | Error::PeerDied | Error::PeerAborted) => {
                    return Some(SendEnd::PeerGone { input_over })
                }
                Err(error) => return Some(SendEnd::Failed(Failure::new("conversation", &error))),
            }
        }
    }

    /// Whether somebody types standard input, and all that has been typed has been sent.
    pub fn reads_terminal(&self) -> bool {
        self.input.as_ref().is_some_and(|input| isatty(input).unwrap_or(false))
    }

    /// Whether standard input has something left to send, now that nobody takes it any more. It may still come to its end
    /// for so long. A terminal where nobody has typed anything has nothing.
    pub fn has_more_input(&self, grace: Duration) -> bool {
        let Some(input) = &self.input else { return false };
        let terminal = self.reads_terminal();
        let grace = if terminal {
            PollTimeout::ZERO
        } else {
            PollTimeout::try_from(grace).unwrap_or(PollTimeout::MAX)
        };
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, grace) {
            Ok(1..) => match read(input, &mut [0]) {
                Ok(count) => count > 0,
                Err(errno) => errno == Errno::EAGAIN && !terminal,
            },
            _ => !terminal,
        }
    }

    fn receiving(&self, reader: &mut Reader, output: BorrowedFd) -> ReceiveEnd {
        let portion = portion(reader.ring_size());
        let mut finished = false;
        loop {
            match reader.copy_to_fd(output, portion) {
                Ok(0) if matches!(reader.state(), Ok(State::Connected)) => {
                    if !finished {
                        finished = true;
                        // As above.
                        let _ = self.events.send(Event::PeerFinished);
                    }
                    // The next turn says what an error here means.
                    let _ = reader.wait(None);
                }
                Ok(0) | Err(Error::PeerClosed) => return ReceiveEnd::PeerLeft,
                Ok(count) => self.meter.add_received(count),
                Err(Error::Closed) => return ReceiveEnd::Stopped,
                // A write that was interrupted, or one to a descriptor that doesn't block.
                Err(error) if is_passing(&error) => match self.stop.wait((output, PollFlags::POLLOUT)) {
                    Ok(_) if self.stop.stopped() => return ReceiveEnd::Stopped,
                    Ok(_) => (),
                    Err(errno) => return ReceiveEnd::Failed(Failure::stream("standard output", errno)),
                },
                Err(error) => return ReceiveEnd::Failed(failure("standard output", &error)),
            }
        }
    }
}

/// Whether to try again.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Interrupted | Error::WouldBlock)
}

/// Of the channel's errors only the system's own are about `stream`.
fn failure(stream: &str, error: &Error) -> Failure {
    match error {
        Error::Os { .. } => Failure::stream(stream, Errno::from_raw(error.errno())),
        _ => Failure::new("conversation", error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn has_more(input: Option<OwnedFd>) -> bool {
        let course = Course {
            events: channel().0,
            meter: Arc::new(Meter::start()),
            stop: Arc::new(Stop::new().unwrap()),
            input: input.map(Arc::new),
            half_closes: false,
            receives: true,
            look: None,
        };
        course.has_more_input(GRACE)
    }

    #[test]
    fn input_has_more_unless_it_has_ended_or_is_an_idle_terminal() {
        assert!(!has_more(None));
        let (reader, writer) = nix::unistd::pipe().unwrap();
        assert!(has_more(Some(reader.try_clone().unwrap())));
        nix::unistd::write(&writer, b"x").unwrap();
        assert!(has_more(Some(reader.try_clone().unwrap())));
        drop(writer);
        assert!(!has_more(Some(reader)));
        let terminal = nix::pty::openpty(None, None).unwrap();
        assert!(!has_more(Some(terminal.slave.try_clone().unwrap())));
        nix::unistd::write(&terminal.master, b"typed\n").unwrap();
        assert!(has_more(Some(terminal.slave)));
    }
}
