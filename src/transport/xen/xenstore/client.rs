//! The client: one connection, its watches, and what is asked about domains.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    poll::PollFlags,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        eventfd::EventFd,
    },
};

use super::{
    connection::Connection,
    endpoint::{self, Endpoint},
    error::{Request, XsError},
    events::{EventQueue, Lost, WatchEvent, KEPT},
    nodes::{protocol, Nodes},
    path::check_watch,
    wait::{wait_for, Deadline},
    wire::{self, Malformed, Operation},
};

/// How long a reply may take unless [`XsClient::with_timeout`] says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A way to send requests: a client, or a transaction of it.
pub trait Ask: sealed::Sealed {
    /// Sends a request and returns the reply's payload.
    #[doc(hidden)]
    fn ask(&self, request: &Request, parts: &[&[u8]]) -> Result<Vec<u8>, XsError>;
}

pub(super) mod sealed {
    /// Keeps [`super::Ask`] to this module.
    pub trait Sealed {}
}

/// A connection to xenstored, usable from several threads; one request runs at a time.
///
/// As a descriptor it polls readable when [`next_event`](Self::next_event) has something to say, also if the event came
/// in while a request was waiting for its reply. It may poll readable for nothing, while a reply comes in.
#[derive(Debug)]
pub struct XsClient {
    state: Mutex<State>,
    endpoint: Arc<Endpoint>,
    bell: Arc<EventFd>,
    /// Of the connection and the bell, unless both are polled one by one.
    poller: Option<Epoll>,
    timeout: Duration,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    events: EventQueue,
}

impl XsClient {
    /// Connects to xenstored: to `$XENSTORED_PATH` if that is set, else to its socket, else through the kernel's device.
    pub fn open() -> Result<Self, XsError> {
        Self::over(endpoint::open_default(DEFAULT_TIMEOUT)?)
    }

    /// Connects to xenstored through this socket or device.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, XsError> {
        Self::over(endpoint::open_first(&[path.as_ref().to_owned()], DEFAULT_TIMEOUT)?)
    }

    /// As [`open`](Self::open), for somebody who has an epoll set to which both [descriptors](Self::fds) can go, and saves the one
    /// of a set for them. As a descriptor it is the connection alone, which doesn't tell of events that a request took.
    pub(in crate::transport::xen) fn open_unpolled() -> Result<Self, XsError> {
        Self::unpolled(endpoint::open_default(DEFAULT_TIMEOUT)?)
    }

    pub(super) fn over(endpoint: Endpoint) -> Result<Self, XsError> {
        let client = Self::unpolled(endpoint)?;
        let poller = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        for fd in client.fds() {
            poller.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(io::Error::from)?;
        }
        Ok(Self { poller: Some(poller), ..client })
    }

    fn unpolled(endpoint: Endpoint) -> Result<Self, XsError> {
        let endpoint = Arc::new(endpoint);
        let connection = Connection::new(Arc::clone(&endpoint));
        let events = EventQueue::new()?;
        let bell = events.bell();
        let state = Mutex::new(State { connection, events });
        Ok(Self { state, endpoint, bell, poller: None, timeout: DEFAULT_TIMEOUT })
    }

    /// The connection and the bell: one of them is readable when there may be something to say.
    pub(in crate::transport::xen) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.endpoint.fd.as_fd(), self.bell.as_fd()]
    }

    /// Limits the time for each reply. Beyond it the request fails and the connection is given up.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The socket or device in use.
    pub fn endpoint(&self) -> PathBuf {
        self.endpoint.path.clone()
    }

    #[cfg(feature = "xenstore-rs")]
    pub(super) fn is_socket(&self) -> bool {
        self.endpoint.is_socket
    }

    /// Nothing in here panics half-way through a change, so a poisoned lock hides no damage.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn call(
        &self,
        request: &Request,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, XsError> {
        let State { connection, events } = &mut *self.state();
        connection.call(request, transaction, parts, self.timeout, events)
    }

    /// Watches a path and all below it. The first event comes at once, whether or not the node exists.
    ///
    /// `@releaseDomain` and `@introduceDomain` may be watched too. Unprivileged domains may set these watches, but beyond
    /// the first event they hear nothing unless dom0 gave them the permission to read these special nodes.
    pub fn watch(&self, path: &str, token: &str) -> Result<(), XsError> {
        let state = &mut *self.state();
        state.events.add_watch(path, token);
        let set = state.change_watch(Operation::Watch, path, token, self.timeout);
        if set.is_err() {
            state.events.remove_watch(path, token);
        }
        set
    }

    /// Ends a watch. Its events that were not fetched are dropped, unless another watch has the same token.
    pub fn unwatch(&self, path: &str, token: &str) -> Result<(), XsError> {
        let state = &mut *self.state();
        state.change_watch(Operation::Unwatch, path, token, self.timeout)?;
        state.events.remove_watch(path, token);
        Ok(())
    }

    /// The next event of a watch; waits for at most `timeout` (`None`: for ever) and then returns `None`.
    ///
    /// Several changes of one node may come as one event, so look at the nodes, do not count.
    pub fn next_event(&self, timeout: Option<Duration>) -> Result<Option<WatchEvent>, XsError> {
        let deadline = Deadline::after(timeout);
        let request = Request::new(Operation::Watch, "the paths watched");
        let mut over = false;
        loop {
            let taken = {
                let State { connection, events } = &mut *self.state();
                match events.pop() {
                    Some(Ok(event)) => return Ok(Some(event)),
                    Some(Err(Lost)) => return Err(XsError::EventsLost { kept: KEPT }),
                    None if over => return Ok(None),
                    None => connection.take_event(&request, events)?,
                }
            };
            if taken {
                // It may be one that is dropped, and a flood of these must end too.
                over = deadline.is_over();
            } else if !wait_for(self.as_fd(), PollFlags::POLLIN, deadline)? {
                return Ok(None);
            }
        }
    }

    /// The id of the domain we run in, from its node `domid`.
    pub fn own_domid(&self) -> Result<u16, XsError> {
        self.read_number("domid")
    }

    /// The home path of a domain, which need not exist.
    pub fn domain_path(&self, domid: u16) -> Result<String, XsError> {
        let (request, payload) = self.about_domain(Operation::GetDomainPath, domid)?;
        wire::single(&payload).map_err(|wrong| protocol(request, wrong))
    }

    /// Whether xenstored serves this domain: false from its destruction on. Only dom0 may ask; others get EACCES.
    pub fn is_domain_introduced(&self, domid: u16) -> Result<bool, XsError> {
        let (request, payload) = self.about_domain(Operation::IsDomainIntroduced, domid)?;
        match payload.as_slice() {
            b"T" | b"T\0" => Ok(true),
            b"F" | b"F\0" => Ok(false),
            other => Err(protocol(
                request,
                Malformed(format!("{:?} is neither T nor F", other.escape_ascii().to_string())),
            )),
        }
    }

    fn about_domain(&self, operation: Operation, domid: u16) -> Result<(Request, Vec<u8>), XsError> {
        let request = Request::new(operation, &domid.to_string());
        let payload = self.call(&request, 0, &[request.path.as_bytes(), b"\0"])?;
        Ok((request, payload))
    }
}

impl State {
    fn change_watch(
        &mut self,
        operation: Operation,
        path: &str,
        token: &str,
        limit: Duration,
    ) -> Result<(), XsError> {
        let request = Request::new(operation, path);
        check_watch(path, token).map_err(|reason| XsError::Invalid { request: request.clone(), reason })?;
        let parts: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        let payload = self.connection.call(&request, 0, &parts, limit, &mut self.events)?;
        wire::check_ok(&payload).map_err(|wrong| protocol(request, wrong))
    }
}

impl sealed::Sealed for XsClient {}

impl Ask for XsClient {
    fn ask(&self, request: &Request, parts: &[&[u8]]) -> Result<Vec<u8>, XsError> {
        self.call(request, 0, parts)
    }
}

impl<T: Ask> sealed::Sealed for &T {}

impl<T: Ask> Ask for &T {
    fn ask(&self, request: &Request, parts: &[&[u8]]) -> Result<Vec<u8>, XsError> {
        (**self).ask(request, parts)
    }
}

impl AsFd for XsClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_ref().map_or(self.endpoint.fd.as_fd(), |poller| poller.0.as_fd())
    }
}
