//! The two directions, one thread each. Data moves directly between the file descriptor and the ring.

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

/// Events for the thread that decides on the end.
pub enum Event {
    /// A signal, or the loss of standard output's reader.
    Ends(Reason),
    /// The sending pump has ended.
    Sent(Writer, SendEnd),
    /// The peer has half-closed and all its data has been delivered. It still receives.
    PeerFinished,
    /// The receiving pump has ended.
    Received(Reader, ReceiveEnd),
}

/// Why sending ended.
pub enum SendEnd {
    /// EOF on standard input; unless the peer has gone, it has consumed everything.
    EndOfInput,
    /// Stopped; the peer has consumed everything that was read.
    Stopped,
    /// The peer closed, failed or died; the receiving pump knows which.
    PeerGone {
        /// Whether EOF was reached before.
        input_over: bool,
    },
    /// No standard input, or an unusable one: then the error of reading it.
    NoInput(Option<Errno>),
    /// Standard input or the channel failed.
    Failed(Failure),
}

/// Why receiving ended.
pub enum ReceiveEnd {
    /// The peer left cleanly and all its data has been delivered.
    PeerLeft,
    /// Stopped.
    Stopped,
    /// Standard output or the channel failed, or the peer died.
    Failed(Failure),
}

/// Bounds of the bytes per system call, a quarter of the ring so that one side can fill while the other drains.
/// Below, system calls cost more than copies; above, the peer waits long for the first byte.
const MIN_CHUNK: usize = 8 << 10;
const MAX_CHUNK: usize = 128 << 10;

/// How long to wait for EOF on standard input after a peer that consumed everything has left.
pub const GRACE: Duration = Duration::from_millis(500);

fn chunk_size(ring: usize) -> usize {
    (ring / 4).clamp(MIN_CHUNK, MAX_CHUNK)
}

/// Stops both pumps.
pub struct Stop {
    wake: EventFd,
    stopped: AtomicBool,
}

impl Stop {
    /// A fresh one.
    pub fn new() -> nix::Result<Stop> {
        let wake = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Stop { wake, stopped: AtomicBool::new(false) })
    }

    /// Ends waits for standard input and output. Waits on the ring are ended by a `Closer`.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
        // Fails only if the counter overflows.
        let _ = self.wake.write(1);
    }

    fn stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// Waits until `fd` is ready; false if stopped first.
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

/// A pump thread.
pub struct Pump(JoinHandle<()>);

impl Pump {
    /// Whether the thread has ended or is about to.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Interrupts a read or write that blocks although poll reported readiness.
    pub fn interrupt(&self) {
        // std uses an integer for every C library, musl's type is a pointer.
        let thread = self.0.as_pthread_t() as Pthread;
        // Fails only if the thread has already ended.
        let _ = pthread_kill(thread, INTERRUPT);
    }
}

// Ignored by default, so a stray one does no harm.
const INTERRUPT: Signal = Signal::SIGURG;

/// Installs an empty handler, which makes [`Pump::interrupt`] effective.
pub fn prepare_to_interrupt() -> nix::Result<()> {
    extern "C" fn nothing(_: std::ffi::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(INTERRUPT, &action) }.map(drop)
}

/// State shared by both pumps of a conversation.
#[derive(Clone)]
pub struct PumpContext {
    /// Destination of the end events.
    pub events: Sender<Event>,
    /// Counts the bytes moved.
    pub meter: Arc<Meter>,
    /// Stops the pumps.
    pub stop: Arc<Stop>,
    /// Whether to half-close at EOF on standard input.
    pub half_closes: bool,
    /// Whether received data is used.
    pub receives: bool,
    /// Standard input, or `None` to send nothing.
    pub input: Option<Arc<OwnedFd>>,
    /// How often to check that the peer still consumes after EOF on standard input.
    pub drain_poll: Option<Duration>,
}

impl PumpContext {
    /// Starts the sending pump.
    pub fn send(&self, mut writer: Writer) -> std::io::Result<Pump> {
        let context = self.clone();
        let body = move || {
            let end = context.sending(&mut writer);
            // The receiver is gone once the verdict has been reached.
            let _ = context.events.send(Event::Sent(writer, end));
        };
        Builder::new().name("send".into()).spawn(body).map(Pump)
    }

    /// Starts the receiving pump into `output`.
    pub fn receive(&self, mut reader: Reader, output: OwnedFd) -> std::io::Result<Pump> {
        let context = self.clone();
        let body = move || {
            let end = context.receiving(&mut reader, output.as_fd());
            // The receiver is gone once the verdict has been reached.
            let _ = context.events.send(Event::Received(reader, end));
        };
        Builder::new().name("receive".into()).spawn(body).map(Pump)
    }

    fn sending(&self, writer: &mut Writer) -> SendEnd {
        let input = self.input.as_ref().map(|input| input.as_fd());
        let chunk_size = chunk_size(writer.ring_size());
        let end = loop {
            let Some(input) = input else { break SendEnd::NoInput(None) };
            // `stop` could not end a blocking read.
            match self.stop.wait((input, PollFlags::POLLIN)) {
                Ok(true) => (),
                Ok(false) => break SendEnd::Stopped,
                Err(errno) => return SendEnd::Failed(Failure::stream("standard input", errno)),
            }
            match writer.copy_from_fd(input, chunk_size) {
                Ok(0) => break SendEnd::EndOfInput,
                Ok(count) => self.meter.add_sent(count),
                Err(Error::PeerClosed | Error::PeerDied | Error::PeerAborted) => {
                    return SendEnd::PeerGone { input_over: false }
                }
                Err(Error::Closed) => return SendEnd::Stopped,
                Err(error) if is_transient(&error) => (),
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

    /// Waits until the peer has consumed everything; `Some` if it never will.
    fn drain(&self, writer: &mut Writer, input_over: bool) -> Option<SendEnd> {
        let mut before = None;
        loop {
            match writer.wait_drained(self.drain_poll) {
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

    /// Whether standard input is a terminal. Everything typed there has been sent.
    pub fn reads_terminal(&self) -> bool {
        self.input.as_ref().is_some_and(|input| isatty(input).unwrap_or(false))
    }

    /// Whether standard input has unsent data, now that no peer consumes it. Waits up to `grace` for EOF. An
    /// idle terminal has none.
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
        let chunk_size = chunk_size(reader.ring_size());
        let mut finished = false;
        loop {
            match reader.copy_to_fd(output, chunk_size) {
                Ok(0) if matches!(reader.state(), Ok(State::Connected)) => {
                    if !finished {
                        finished = true;
                        // Fails only once the verdict has been reached.
                        let _ = self.events.send(Event::PeerFinished);
                    }
                    // An error here is reported by the next iteration.
                    let _ = reader.wait(None);
                }
                Ok(0) | Err(Error::PeerClosed) => return ReceiveEnd::PeerLeft,
                Ok(count) => self.meter.add_received(count),
                Err(Error::Closed) => return ReceiveEnd::Stopped,
                // The write was interrupted, or the descriptor is non-blocking.
                Err(error) if is_transient(&error) => match self.stop.wait((output, PollFlags::POLLOUT)) {
                    Ok(_) if self.stop.stopped() => return ReceiveEnd::Stopped,
                    Ok(_) => (),
                    Err(errno) => return ReceiveEnd::Failed(Failure::stream("standard output", errno)),
                },
                Err(error) => return ReceiveEnd::Failed(failure("standard output", &error)),
            }
        }
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error, Error::Interrupted | Error::WouldBlock)
}

/// Only operating-system errors concern `stream`; the rest concern the channel.
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
        let context = PumpContext {
            events: channel().0,
            meter: Arc::new(Meter::start()),
            stop: Arc::new(Stop::new().unwrap()),
            input: input.map(Arc::new),
            half_closes: false,
            receives: true,
            drain_poll: None,
        };
        context.has_more_input(GRACE)
    }

    #[test]
    fn unsent_input_is_anything_but_eof_or_an_idle_terminal() {
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
