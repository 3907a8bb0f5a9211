//! The client: one connection, its watches, and requests about domains.

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

use crate::{
    ask::{sealed, Ask},
    connection::Connection,
    endpoint::{self, Endpoint},
    error::{Request, XsError},
    events::{EventQueue, Lost, WatchEvent, KEPT},
    nodes::{protocol, Nodes},
    path::check_watch,
    wait::{wait_for, Deadline},
    wire::{self, Malformed, Operation},
};

/// Time limit for a reply, unless [`XsClient::with_timeout`] sets another.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to xenstored, usable from several threads; one request runs at a time.
///
/// As a descriptor it polls readable when [`next_event`](Self::next_event) has an event or an error, also for an event
/// that was received during a request. It may also poll readable while a reply arrives.
///
/// ```no_run
/// use vchan_xenstore::{Nodes, XsClient};
///
/// let xs = XsClient::open()?;
/// println!("this is domain {}", xs.own_domid()?);
/// # Ok::<(), vchan_xenstore::XsError>(())
/// ```
#[derive(Debug)]
pub struct XsClient {
    state: Mutex<State>,
    endpoint: Arc<Endpoint>,
    events_ready: Arc<EventFd>,
    /// Of both [descriptors](Self::fds), unless the caller polls them.
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
    ///
    /// # Errors
    ///
    /// [`XsError::Unreachable`] if none of them answers, [`XsError::Wait`] if a descriptor for waiting cannot be made.
    pub fn open() -> Result<Self, XsError> {
        Self::over(endpoint::open_default(DEFAULT_TIMEOUT)?)
    }

    /// Connects to xenstored through this socket or device.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, XsError> {
        Self::over(endpoint::open_first(&[path.as_ref().to_owned()], DEFAULT_TIMEOUT)?)
    }

    /// As [`open`](Self::open), for a caller that polls both [descriptors](Self::fds) with its own epoll set. This saves one
    /// descriptor. [`as_fd`](AsFd::as_fd) is then the connection, which is not readable for an event that was received
    /// during a request.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_unpolled() -> Result<Self, XsError> {
        Self::unpolled(endpoint::open_default(DEFAULT_TIMEOUT)?)
    }

    pub(crate) fn over(endpoint: Endpoint) -> Result<Self, XsError> {
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
        let events_ready = events.ready();
        let state = Mutex::new(State { connection, events });
        Ok(Self { state, endpoint, events_ready, poller: None, timeout: DEFAULT_TIMEOUT })
    }

    /// The connection, and a descriptor for events received during a request. One of them is readable when there may be
    /// an event.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.endpoint.fd.as_fd(), self.events_ready.as_fd()]
    }

    /// Sets the time limit for each reply. A request without a reply in time fails, and the connection is closed.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The socket or device in use.
    pub fn endpoint(&self) -> PathBuf {
        self.endpoint.path.clone()
    }

    /// Whether the endpoint is a socket, not the kernel's device.
    pub fn is_socket(&self) -> bool {
        self.endpoint.is_socket
    }

    /// No panic can happen in the middle of a change, so the state behind a poisoned lock is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call(
        &self,
        request: &Request,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, XsError> {
        let State { connection, events } = &mut *self.state();
        connection.call(request, transaction, parts, self.timeout, events)
    }

    /// Watches a node and all nodes below. The first event comes at once, whether or not the node exists.
    ///
    /// `@releaseDomain` and `@introduceDomain` can be watched too. A domain that may not read these special nodes gets
    /// the first event only; dom0 can give it the permission.
    ///
    /// # Errors
    ///
    /// [`XsError::Invalid`] if the path or the token breaks a rule, [`XsError::Refused`] (EEXIST: there is this watch
    /// already), or a failure of the connection.
    pub fn watch(&self, path: &str, token: &str) -> Result<(), XsError> {
        let state = &mut *self.state();
        state.events.add_watch(path, token);
        let set = state.change_watch(Operation::Watch, path, token, self.timeout);
        if set.is_err() {
            state.events.remove_watch(path, token);
        }
        set
    }

    /// Ends a watch. Its events in the queue are dropped, unless another watch has the same token.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch); ENOENT: there is no such watch.
    pub fn unwatch(&self, path: &str, token: &str) -> Result<(), XsError> {
        let state = &mut *self.state();
        state.change_watch(Operation::Unwatch, path, token, self.timeout)?;
        state.events.remove_watch(path, token);
        Ok(())
    }

    /// The next event of a watch; `None` if there is none within `timeout`. Without a `timeout` it waits for ever.
    ///
    /// Several changes of a node may come as one event.
    ///
    /// # Errors
    ///
    /// [`XsError::EventsLost`] once, after the last event kept, if the queue was full; or a failure of the connection.
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
                // The queue may have dropped the event. A flood of such events must end too.
                over = deadline.is_over();
            } else if !wait_for(self.as_fd(), PollFlags::POLLIN, deadline)? {
                return Ok(None);
            }
        }
    }

    /// The ID of this domain, from its node `domid`.
    ///
    /// # Errors
    ///
    /// As [`Nodes::read_number`].
    pub fn own_domid(&self) -> Result<u16, XsError> {
        self.read_number("domid")
    }

    /// The home path of a domain. The domain may not exist.
    ///
    /// # Errors
    ///
    /// As [`Nodes::read_text`].
    pub fn domain_path(&self, domid: u16) -> Result<String, XsError> {
        let (request, payload) = self.about_domain(Operation::GetDomainPath, domid)?;
        wire::single(&payload).map_err(|wrong| protocol(request, wrong))
    }

    /// Whether xenstored knows this domain: false after its destruction. For dom0 only.
    ///
    /// # Errors
    ///
    /// [`XsError::Refused`] with EACCES in other domains, or a failure of the connection.
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

impl AsFd for XsClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_ref().map_or(self.endpoint.fd.as_fd(), |poller| poller.0.as_fd())
    }
}
