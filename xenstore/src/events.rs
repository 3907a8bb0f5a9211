//! The queue of watch events.

use std::{collections::VecDeque, io, sync::Arc};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Maximum number of events kept. All are different pairs of path and token, so an honest daemon stays below.
pub(crate) const KEPT: usize = 1024;

/// Something at or below a watched path changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// The path that changed, absolute or relative as in the watch.
    pub path: String,
    /// The token of the watch.
    pub token: String,
}

/// The watches, and the events to fetch.
#[derive(Debug)]
pub(crate) struct EventQueue {
    watches: Vec<WatchEvent>,
    waiting: VecDeque<WatchEvent>,
    lost: bool,
    /// Readable while there is an event to fetch, also one that was received during a request.
    ready: Arc<EventFd>,
}

impl EventQueue {
    pub fn new() -> io::Result<Self> {
        let ready = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { watches: Vec::new(), waiting: VecDeque::new(), lost: false, ready: Arc::new(ready) })
    }

    /// Readable while there is an event to fetch.
    pub fn ready(&self) -> Arc<EventFd> {
        Arc::clone(&self.ready)
    }

    /// Called before the request is sent: the first event may come before the reply.
    pub fn add_watch(&mut self, path: &str, token: &str) {
        self.watches.push(WatchEvent { path: path.to_owned(), token: token.to_owned() });
    }

    /// Removes a watch, and its events unless another watch has the same token.
    pub fn remove_watch(&mut self, path: &str, token: &str) {
        if let Some(at) = self.watches.iter().position(|watch| watch.path == path && watch.token == token) {
            self.watches.remove(at);
        }
        if !self.is_watched(token) {
            self.waiting.retain(|event| event.token != token);
        }
        self.update_ready();
    }

    fn is_watched(&self, token: &str) -> bool {
        self.watches.iter().any(|watch| watch.token == token)
    }

    /// Adds an event unless it is in the queue already. An event without a watch is dropped.
    pub fn push(&mut self, event: WatchEvent) {
        if !self.is_watched(&event.token) || self.waiting.contains(&event) {
            return;
        }
        if self.waiting.len() < KEPT {
            self.waiting.push_back(event);
        } else {
            self.lost = true;
        }
        self.update_ready();
    }

    /// The next event. After the last one, [`Lost`] once if events did not fit into the queue.
    pub fn pop(&mut self) -> Option<Result<WatchEvent, Lost>> {
        let next = match self.waiting.pop_front() {
            Some(event) => Some(Ok(event)),
            None => std::mem::take(&mut self.lost).then_some(Err(Lost)),
        };
        self.update_ready();
        next
    }

    /// Makes the descriptor agree with the queue. EAGAIN means that it already does.
    fn update_ready(&self) {
        let _already = if self.waiting.is_empty() && !self.lost {
            self.ready.read().map(drop)
        } else {
            self.ready.write(1).map(drop)
        };
    }
}

/// More events came than the queue keeps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::PollFlags;

    use super::*;
    use crate::wait::*;

    fn event(path: impl ToString, token: &str) -> WatchEvent {
        WatchEvent { path: path.to_string(), token: token.to_owned() }
    }

    fn is_ready(queue: &EventQueue) -> bool {
        wait_for(queue.ready.as_fd(), PollFlags::POLLIN, Deadline::after(Some(Default::default()))).unwrap()
    }

    #[test]
    fn events_are_ordered_and_unique() {
        let mut queue = EventQueue::new().unwrap();
        queue.add_watch("/a", "t");
        assert!(!is_ready(&queue));
        for path in ["/a", "/a/b", "/a"] {
            queue.push(event(path, "t"));
        }
        queue.push(event("/a", "unknown"));
        assert!(is_ready(&queue));
        assert_eq!(queue.pop(), Some(Ok(event("/a", "t"))));
        assert_eq!(queue.pop(), Some(Ok(event("/a/b", "t"))));
        assert!(!is_ready(&queue));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn overflow_is_reported_once() {
        let mut queue = EventQueue::new().unwrap();
        queue.add_watch("/", "t");
        for i in 0..3 * KEPT {
            queue.push(event(i, "t"));
        }
        for i in 0..KEPT {
            assert_eq!(queue.pop(), Some(Ok(event(i, "t"))));
        }
        assert!(is_ready(&queue));
        assert_eq!(queue.pop(), Some(Err(Lost)));
        assert!(!is_ready(&queue));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn removed_watch_removes_its_events() {
        let mut queue = EventQueue::new().unwrap();
        queue.add_watch("/a", "t");
        queue.add_watch("/b", "t");
        queue.push(event("/a", "t"));
        queue.remove_watch("/a", "t");
        assert_eq!(queue.pop(), Some(Ok(event("/a", "t"))), "the token is still in use");
        queue.push(event("/b", "t"));
        queue.remove_watch("/b", "t");
        assert!(!is_ready(&queue));
        assert_eq!(queue.pop(), None);
    }
}
