//! The conversation: standard input to the peer, the peer to standard output.
//!
//! One thread, as in the original: a reader and a writer take turns, and each sleeps on the event
//! counter when it cannot go on.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use nix::sys::signalfd::SignalFd;

use crate::endpoint::{Endpoint, Look, Put};
use crate::events::{Channel, Events, Received, Waiter, Wake};

/// Size of the buffers in front of standard input and standard output.
const STANDARD_BUFFER: usize = 4096;

/// The settings of a conversation, including defects.
pub struct Behaviour {
    /// Size of the buffers between the standard streams and the rings.
    pub buffer_size: usize,
    /// Which waiters an event wakes.
    pub wake: Wake,
    /// Sends what was read before it leaves; drops what a peer that is gone can no longer take.
    pub clean_exit: bool,
    /// Sees the end of standard input before it has sent what came before it.
    pub always_lose_tail: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Input,
    Peer,
    Interrupt,
}

/// The state of a conversation.
pub struct Session {
    endpoint: Endpoint,
    behaviour: Behaviour,
    events: Events,
    interrupts: SignalFd,
    /// What the writer sends now, how far it is, and what was read meanwhile.
    outgoing: Vec<u8>,
    sent: usize,
    next: Option<Vec<u8>>,
    writer_seen: u64,
    writer_asleep: bool,
    input_ended: bool,
    /// What of the read ring is not copied yet, and what waits for standard output.
    fragment: Range<usize>,
    incoming: Vec<u8>,
    reading: bool,
    reader_seen: u64,
    reader_asleep: bool,
}

impl Session {
    /// A conversation over a connected endpoint; `interrupts` gives the SIGINTs.
    pub fn new(endpoint: Endpoint, behaviour: Behaviour, interrupts: SignalFd) -> Session {
        Session {
            endpoint,
            events: Events::new(behaviour.wake),
            behaviour,
            interrupts,
            outgoing: Vec::new(),
            sent: 0,
            next: None,
            writer_seen: 0,
            writer_asleep: false,
            input_ended: false,
            fragment: 0..0,
            incoming: Vec::new(),
            reading: false,
            reader_seen: 0,
            reader_asleep: false,
        }
    }

    /// Runs until the end of standard input, the peer's leaving or an interrupt, then leaves.
    pub fn run(mut self) -> Result<(), String> {
        let end = loop {
            if let Some(end) = self.turn()? {
                break end;
            }
        };
        self.leave(end)
    }

    fn turn(&mut self) -> Result<Option<End>, String> {
        if let Some(end) = self.advance_reader()? {
            return Ok(Some(end));
        }
        if self.outgoing.is_empty() {
            self.outgoing = self.next.take().unwrap_or_default();
        }
        let unsent = !self.outgoing.is_empty() && self.sent == 0 && !self.writer_asleep;
        if self.behaviour.always_lose_tail && unsent && self.next.is_none() && input_is_ready()? {
            if let Some(end) = self.take_input()? {
                return Ok(Some(end));
            }
        }
        if let Some(end) = self.advance_writer()? {
            return Ok(Some(end));
        }
        if self.input_ended && self.outgoing.is_empty() && self.next.is_none() {
            return Ok(Some(End::Input));
        }
        self.wait()
    }

    /// Sleeps until one side can continue, and continues it.
    fn wait(&mut self) -> Result<Option<End>, String> {
        let channel = self.endpoint.channel.as_ref();
        let readable = channel.and_then(Channel::readable).map(|fd| fd.as_raw_fd());
        let writable = channel.filter(|channel| channel.has_unsent()).map(|channel| channel.fd().as_raw_fd());
        let input = (self.next.is_none() && !self.input_ended).then_some(libc::STDIN_FILENO);
        let output = (!self.incoming.is_empty()).then_some(libc::STDOUT_FILENO);
        let idle = self.writer_asleep || self.outgoing.is_empty() && self.next.is_none();
        let [interrupted, event, room, output, input] = poll(
            [
                (Some(self.interrupts.as_raw_fd()), libc::POLLIN),
                (readable, libc::POLLIN),
                (writable, libc::POLLOUT),
                (output, libc::POLLOUT),
                (input, libc::POLLIN),
            ],
            idle,
        )?;
        if interrupted {
            return Ok(Some(End::Interrupt));
        }
        if let (true, Some(channel)) = (room, &mut self.endpoint.channel) {
            channel.send_rest()?;
        }
        if output {
            self.write_output()?;
        }
        if event {
            if let Some(end) = self.take_events()? {
                return Ok(Some(end));
            }
        }
        if input {
            return self.take_input();
        }
        Ok(None)
    }

    /// Takes the events off the socket one by one; a woken side continues at once.
    fn take_events(&mut self) -> Result<Option<End>, String> {
        while let Some(Received::Event) = self.endpoint.channel.as_mut().map(Channel::receive) {
            for who in self.events.arrived() {
                let end = match who {
                    Waiter::Reader => {
                        self.reader_asleep = false;
                        self.reader_seen = self.events.count();
                        self.advance_reader()?
                    }
                    Waiter::Writer => {
                        self.writer_asleep = false;
                        self.writer_seen = self.events.count();
                        self.advance_writer()?
                    }
                };
                if end.is_some() {
                    return Ok(end);
                }
            }
        }
        Ok(None)
    }

    fn take_input(&mut self) -> Result<Option<End>, String> {
        let mut chunk = vec![0; STANDARD_BUFFER.min(self.behaviour.buffer_size)];
        // SAFETY: descriptor 0 is open for the life of the process, and nothing closes this copy.
        let mut stdin = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDIN_FILENO) });
        let len = stdin.read(&mut chunk).map_err(|e| format!("reading standard input: {e}"))?;
        chunk.truncate(len);
        if len == 0 {
            self.input_ended = true;
            return Ok((!self.behaviour.clean_exit).then_some(End::Input));
        }
        if self.outgoing.is_empty() {
            self.outgoing = chunk;
        } else {
            self.next = Some(chunk);
        }
        Ok(None)
    }

    /// Fetches data as long as standard output is not more than a buffer behind.
    fn advance_reader(&mut self) -> Result<Option<End>, String> {
        while !self.reader_asleep && self.incoming.len() <= STANDARD_BUFFER {
            if self.fragment.is_empty() && !self.fetch()? {
                if self.reader_asleep {
                    break;
                }
                return Ok(Some(End::Peer));
            }
            let end = self.fragment.end.min(self.fragment.start.saturating_add(self.behaviour.buffer_size));
            self.endpoint.copy_out(self.fragment.start..end, &mut self.incoming)?;
            self.fragment.start = end;
        }
        Ok(None)
    }

    /// Gets the next fragment. False means that the reader sleeps now, or that the peer has left.
    fn fetch(&mut self) -> Result<bool, String> {
        if !self.reading {
            self.endpoint.begin_read()?;
            self.reader_seen = 0;
            self.reading = true;
        }
        loop {
            match self.endpoint.look()? {
                Look::Data(part) => {
                    self.fragment = part;
                    self.reading = false;
                    return Ok(true);
                }
                Look::End => return Ok(false),
                Look::Empty => match self.events.after(self.reader_seen) {
                    Some(count) => self.reader_seen = count,
                    None => {
                        self.events.sleep(Waiter::Reader);
                        self.reader_asleep = true;
                        return Ok(false);
                    }
                },
            }
        }
    }

    fn advance_writer(&mut self) -> Result<Option<End>, String> {
        if self.writer_asleep || self.outgoing.is_empty() {
            return Ok(None);
        }
        loop {
            match self.endpoint.put(&self.outgoing[self.sent..])? {
                Put::Bytes(count) => self.sent += count,
                Put::End if self.behaviour.clean_exit => return self.give_up(),
                // The original calls this 0 bytes written and tries again for ever.
                Put::End => continue,
            }
            if self.sent == self.outgoing.len() {
                self.outgoing.clear();
                self.sent = 0;
                self.writer_seen = 0;
                return Ok(None);
            }
            match self.events.after(self.writer_seen) {
                Some(count) => self.writer_seen = count,
                None => {
                    self.events.sleep(Waiter::Writer);
                    self.writer_asleep = true;
                    return Ok(None);
                }
            }
        }
    }

    /// The peer has left: what is not sent is lost, what it sent before is not.
    fn give_up(&mut self) -> Result<Option<End>, String> {
        self.outgoing.clear();
        self.next = None;
        self.sent = 0;
        loop {
            self.reader_asleep = false;
            if let Some(end) = self.advance_reader()? {
                return Ok(Some(end));
            }
            self.write_output()?;
        }
    }

    /// Writes one buffer of what waits; a pipe that is ready takes that much without blocking.
    fn write_output(&mut self) -> Result<(), String> {
        let len = self.incoming.len().min(STANDARD_BUFFER);
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.incoming[..len]).and_then(|()| stdout.flush());
        written.map_err(|e| format!("writing standard output: {e}"))?;
        self.incoming.drain(..len);
        Ok(())
    }

    /// The live byte goes first, and only then what is still unsent: the original's order.
    fn leave(mut self, end: End) -> Result<(), String> {
        self.endpoint.close()?;
        while !self.incoming.is_empty() {
            self.write_output()?;
        }
        let gave_up = self.behaviour.clean_exit && end != End::Input;
        while !self.outgoing.is_empty() && !gave_up {
            // A writer that sleeps, or would have to, can never be woken: there is no channel.
            if self.writer_asleep {
                hang()?;
            }
            self.advance_writer()?;
        }
        Ok(())
    }
}

fn hang() -> Result<(), String> {
    loop {
        poll([(None, 0)], true)?;
    }
}

fn input_is_ready() -> Result<bool, String> {
    let [ready] = poll([(Some(libc::STDIN_FILENO), libc::POLLIN)], false)?;
    Ok(ready)
}

/// Which of the descriptors are ready; one that is not given never is.
fn poll<const N: usize>(wanted: [(Option<RawFd>, i16); N], sleep: bool) -> Result<[bool; N], String> {
    let mut fds = wanted.map(|(fd, events)| libc::pollfd { fd: fd.unwrap_or(-1), events, revents: 0 });
    // SAFETY: `fds` is an array of N entries; descriptors of -1 are ignored.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, if sleep { -1 } else { 0 }) };
    match io::Error::last_os_error() {
        e if result < 0 && e.kind() != ErrorKind::Interrupted => Err(format!("waiting for descriptors: {e}")),
        _ => Ok(fds.map(|fd| result > 0 && fd.revents != 0)),
    }
}
