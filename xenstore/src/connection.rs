//! One connection to xenstored: requests out, replies and watch events in. Every wait has an end.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::PollFlags,
    sys::socket::{send, MsgFlags},
    unistd::{read, write},
};

use crate::{
    endpoint::Endpoint,
    error::{Request, XsError},
    events::{EventQueue, WatchEvent},
    wait::{wait_for, Deadline},
    wire::{self, Header, Malformed, Message, Rejection, TooLong, HEADER_LEN, PAYLOAD_MAX},
};

/// The stream, and the received part of the next message.
#[derive(Debug)]
pub(crate) struct Connection {
    endpoint: Arc<Endpoint>,
    next_request: u32,
    partial: Vec<u8>,
    /// The failure that closed the connection: after it, a reply could belong to an earlier request.
    broken: Option<String>,
}

/// Why a step failed, without the request that [`Connection::fail`] adds.
enum Failure {
    Io(io::Error),
    Malformed(Malformed),
    Refused { errno: Errno, name: String },
    TimedOut,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::Io(errno.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Failure::Malformed(malformed)
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Refused { errno, name } => Failure::Refused { errno, name },
            Rejection::Malformed(malformed) => Failure::Malformed(malformed),
        }
    }
}

impl Connection {
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            next_request: 1,
            partial: Vec::with_capacity(HEADER_LEN + PAYLOAD_MAX),
            broken: None,
        }
    }

    /// Sends a request and returns the payload of its reply. Watch events before the reply go to `events`.
    pub fn call(
        &mut self,
        request: &Request,
        transaction: u32,
        parts: &[&[u8]],
        limit: Duration,
        events: &mut EventQueue,
    ) -> Result<Vec<u8>, XsError> {
        self.check_usable(request)?;
        let id = self.next_request;
        let bytes =
            wire::encode(request.operation, id, transaction, parts).map_err(|TooLong { length }| {
                let reason = format!("the request has {length} bytes; {PAYLOAD_MAX} fit into a message");
                XsError::Invalid { request: request.clone(), reason }
            })?;
        self.next_request = id.wrapping_add(1);
        let deadline = Deadline::after(Some(limit));
        self.send_all(&bytes, deadline)
            .and_then(|()| self.await_reply(request, id, deadline, events))
            .map_err(|failure| self.fail(failure, request, limit))
    }

    /// Receives one watch event if it is complete. The queue may drop it: its watch may have been removed.
    pub fn take_event(&mut self, request: &Request, events: &mut EventQueue) -> Result<bool, XsError> {
        self.check_usable(request)?;
        let taken = match self.try_message() {
            Ok(None) => Ok(false),
            Ok(Some(message)) if message.is_watch_event() => queue_event(&message, events).map(|()| true),
            Ok(Some(message)) => {
                let detail = format!("a message of type {} that nobody asked for", message.header.kind);
                Err(Malformed(detail).into())
            }
            Err(failure) => Err(failure),
        };
        taken.map_err(|failure| self.fail(failure, request, Duration::ZERO))
    }

    fn check_usable(&self, request: &Request) -> Result<(), XsError> {
        match &self.broken {
            Some(cause) => Err(XsError::Closed { request: request.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Adds the request to the failure. Closes the connection unless the daemon refused the request.
    fn fail(&mut self, failure: Failure, request: &Request, limit: Duration) -> XsError {
        let request = request.clone();
        let error = match failure {
            Failure::Refused { errno, name } => XsError::Refused { request, name, source: errno.into() },
            Failure::Io(source) => XsError::Connection { request, source },
            Failure::Malformed(Malformed(detail)) => XsError::Protocol { request, detail },
            Failure::TimedOut => XsError::TimedOut { request, limit },
        };
        if error.is_fatal() {
            self.broken = Some(error.to_string());
        }
        error
    }

    fn await_reply(
        &mut self,
        request: &Request,
        id: u32,
        deadline: Deadline,
        events: &mut EventQueue,
    ) -> Result<Vec<u8>, Failure> {
        loop {
            match self.try_message()? {
                Some(message) if message.is_watch_event() => queue_event(&message, events)?,
                Some(message) => return Ok(wire::check_reply(request.operation, id, message)?),
                None if wait_for(self.as_fd(), PollFlags::POLLIN, deadline)? => continue,
                None => return Err(Failure::TimedOut),
            }
            // A flood of events must not extend the time for the reply.
            if deadline.is_over() {
                return Err(Failure::TimedOut);
            }
        }
    }

    fn send_all(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let sent = if self.endpoint.is_socket {
                // Without the flag, SIGPIPE would end the program after the end of the daemon.
                send(self.endpoint.fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)
            } else {
                write(&self.endpoint.fd, bytes)
            };
            match sent {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if !wait_for(self.as_fd(), PollFlags::POLLOUT, deadline)? {
                        return Err(Failure::TimedOut);
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The next message, if it is complete. A part of it is kept for the next call.
    fn try_message(&mut self) -> Result<Option<Message>, Failure> {
        if !self.fill(HEADER_LEN)? {
            return Ok(None);
        }
        let mut head = [0; HEADER_LEN];
        head.copy_from_slice(&self.partial[..HEADER_LEN]);
        let header = Header::decode(&head)?;
        if !self.fill(HEADER_LEN + header.length as usize)? {
            return Ok(None);
        }
        let payload = self.partial[HEADER_LEN..].to_vec();
        self.partial.clear();
        Ok(Some(Message { header, payload }))
    }

    /// Reads until the incoming message has `wanted` bytes, and not more; false if they have not arrived yet.
    fn fill(&mut self, wanted: usize) -> Result<bool, Failure> {
        let mut buffer = [0; PAYLOAD_MAX];
        while self.partial.len() < wanted {
            let missing = (wanted - self.partial.len()).min(buffer.len());
            match read(&self.endpoint.fd, &mut buffer[..missing]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(got) => self.partial.extend_from_slice(&buffer[..got]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.endpoint.fd.as_fd()
    }
}

fn queue_event(message: &Message, events: &mut EventQueue) -> Result<(), Failure> {
    let (path, token) = wire::watch_event(&message.payload)?;
    events.push(WatchEvent { path, token });
    Ok(())
}
