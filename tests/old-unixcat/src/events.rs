//! The event channel: a Unix stream socket on which one byte is one event.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;

/// Which waiters an event wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Only the longest waiter. This is the historical defect: if that is the reader and the event was meant
    /// for the writer, the writer sleeps on.
    First,
    /// All waiters: without the defect.
    All,
    /// All, but a writer ignores the first event of each sleep: the defect made certain.
    NeverWriterAtOnce,
}

/// The two activities of the program that wait for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// Waits for data.
    Reader,
    /// Waits for space.
    Writer,
}

struct Sleeper {
    who: Waiter,
    slept_through_one: bool,
}

/// The number of events so far, and the waiters for the next one.
pub struct Events {
    wake: Wake,
    count: u64,
    sleepers: VecDeque<Sleeper>,
}

impl Events {
    /// None yet.
    pub fn new(wake: Wake) -> Events {
        Events { wake, count: 0, sleepers: VecDeque::new() }
    }

    /// The number of events.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The count, if it is beyond `seen`: if not, the caller has to sleep. Callers start each
    /// operation with 0, so that anything that ever came lets them look a second time.
    pub fn after(&self, seen: u64) -> Option<u64> {
        (self.count > seen).then_some(self.count)
    }

    /// Queues `who` for the next event.
    pub fn sleep(&mut self, who: Waiter) {
        self.sleepers.push_back(Sleeper { who, slept_through_one: false });
    }

    /// Counts one event and returns the waiters that it wakes.
    pub fn arrived(&mut self) -> Vec<Waiter> {
        self.count += 1;
        match self.wake {
            Wake::First => self.sleepers.pop_front().map(|sleeper| sleeper.who).into_iter().collect(),
            Wake::All => self.sleepers.drain(..).map(|sleeper| sleeper.who).collect(),
            Wake::NeverWriterAtOnce => {
                let mut woken = Vec::new();
                self.sleepers.retain_mut(|sleeper| {
                    let deaf = sleeper.who == Waiter::Writer && !sleeper.slept_through_one;
                    sleeper.slept_through_one = true;
                    if !deaf {
                        woken.push(sleeper.who);
                    }
                    deaf
                });
                woken
            }
        }
    }
}

/// The result of checking the socket.
pub enum Received {
    /// One event. The end of the stream counts as one, the last.
    Event,
    /// None is pending, or none will ever come again.
    Nothing,
}

/// The connected socket.
pub struct Channel {
    stream: UnixStream,
    ended: bool,
    unsent: usize,
}

impl Channel {
    /// Connects to the socket of a server.
    pub fn connect(path: &str) -> Result<Channel, String> {
        let say = |e: io::Error| format!("connecting to {path}: {e}");
        Channel::new(UnixStream::connect(path).map_err(say)?).map_err(say)
    }

    /// Waits for the one client, then closes the listener and removes its socket.
    pub fn accept(listener: UnixListener, path: &Path) -> Result<Channel, String> {
        let say = |e: io::Error| format!("accepting on {}: {e}", path.display());
        let (stream, _) = listener.accept().map_err(say)?;
        drop(listener);
        std::fs::remove_file(path).map_err(say)?;
        Channel::new(stream).map_err(say)
    }

    fn new(stream: UnixStream) -> io::Result<Channel> {
        stream.set_nonblocking(true)?;
        Ok(Channel { stream, ended: false, unsent: 0 })
    }

    /// Takes one byte off the socket. The end of the other process is not noticed beyond the one event of the
    /// end of the stream.
    pub fn receive(&mut self) -> Received {
        let mut byte = [0];
        while !self.ended {
            match self.stream.read(&mut byte) {
                Ok(count) => {
                    self.ended = count == 0;
                    return Received::Event;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
        Received::Nothing
    }

    /// Sends one event; what the socket does not take now goes when it is writable.
    pub fn send(&mut self) -> Result<(), String> {
        self.unsent += 1;
        self.send_rest()
    }

    /// Sends the events that the socket did not take before. A peer that is gone is no error; to a
    /// client SIGPIPE is fatal here.
    pub fn send_rest(&mut self) -> Result<(), String> {
        while self.unsent > 0 {
            // Not the standard library's write, which suppresses SIGPIPE.
            match nix::unistd::write(&self.stream, &[0]) {
                Ok(_) => self.unsent -= 1,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE) => self.unsent = 0,
                Err(e) => return Err(format!("sending an event: {e}")),
            }
        }
        Ok(())
    }

    /// Events wait for the socket to become writable.
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// The socket, unless no event can come from it any more.
    pub fn readable(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.stream.as_fd())
    }

    /// The socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asleep(wake: Wake) -> Events {
        let mut events = Events::new(wake);
        events.sleep(Waiter::Reader);
        events.sleep(Waiter::Writer);
        events
    }

    #[test]
    fn historically_the_reader_takes_the_event_that_was_for_the_writer() {
        let mut events = asleep(Wake::First);
        assert_eq!(events.arrived(), [Waiter::Reader]);
        events.sleep(Waiter::Reader);
        assert_eq!(events.arrived(), [Waiter::Writer]);
    }

    #[test]
    fn defect_can_be_disabled_and_forced() {
        assert_eq!(asleep(Wake::All).arrived(), [Waiter::Reader, Waiter::Writer]);
        let mut events = asleep(Wake::NeverWriterAtOnce);
        assert_eq!(events.arrived(), [Waiter::Reader]);
        assert_eq!(events.arrived(), [Waiter::Writer]);
        events.sleep(Waiter::Writer);
        assert_eq!(events.arrived(), []);
    }

    #[test]
    fn operation_rechecks_after_any_earlier_event() {
        let mut events = Events::new(Wake::First);
        assert_eq!(events.after(0), None);
        events.arrived();
        assert_eq!(events.after(0), Some(1));
        assert_eq!(events.after(1), None);
    }
}
