//! Watch events that came before anybody asked for them.

use std::{collections::VecDeque, io, sync::Arc};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The most events kept. Each is a different (path, token), so only a daemon that floods us gets there.
pub(super) const KEPT: usize = 1024;

/// Something at or below a watched path changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// Where, in the form (absolute or relative) the watch was set with.
    pub path: String,
    /// The token the watch was set with.
    pub token: String,
}

/// What is watched, and the events that wait to be fetched.
#[derive(Debug)]
pub(super) struct EventQueue {
    watches: Vec<WatchEvent>,
    waiting: VecDeque<WatchEvent>,
    lost: bool,
    /// Readable while there is something to fetch, so that a poller sees events which a request took off the wire.
    bell: Arc<EventFd>,
}

impl EventQueue {
    pub fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { watches: Vec::new(), waiting: VecDeque::new(), lost: false, bell: Arc::new(bell) })
    }

    /// Readable while there is something to fetch.
    pub fn bell(&self) -> Arc<EventFd> {
        Arc::clone(&self.bell)
    }

    /// To be called before the request is sent: the first event may overtake the reply.
    pub fn add_watch(&mut self, path: &str, token: &str) {
        self.watches.push(WatchEvent { path: path.to_owned(), token: token.to_owned() });
    }

    /// Forgets a watch, and its events unless another watch has the same token.
    pub fn remove_watch(&mut self, path: &str, token: &str) {
        if let Some(at) = self.watches.iter().position(|watch| watch.path == path && watch.token == token) {
            self.watches.remove(at);
        }
        if !self.is_watched(token) {
            self.waiting.retain(|event| event.token != token);
        }
        self.ring();
    }

    fn is_watched(&self, token: &str) -> bool {
        self.watches.iter().any(|watch| watch.token == token)
    }

    /// Keeps an event, once. One that nobody waits for (its watch just removed) is dropped.
    pub fn push(&mut self, event: WatchEvent) {
        if !self.is_watched(&event.token) || self.waiting.contains(&event) {
            return;
        }
        if self.waiting.len() < KEPT {
            self.waiting.push_back(event);
        } else {
            self.lost = true;
        }
        self.ring();
    }

    /// The next event; after the last one kept, once, that some were lost.
    pub fn pop(&mut self) -> Option<Result<WatchEvent, Lost>> {
        let next = match self.waiting.pop_front() {
            Some(event) => Some(Ok(event)),
            None => std::mem::take(&mut self.lost).then_some(Err(Lost)),
        };
        self.ring();
        next
    }

    /// Makes the bell agree with the queue. It can only say EAGAIN, which means that it agreed before.
    fn ring(&self) {
        let _already = if self.waiting.is_empty() && !self.lost {
            self.bell.read().map(drop)
        } else {
            self.bell.write(1).map(drop)
        };
    }
}

/// More events came than are kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::poll::PollFlags;

    use super::{super::wait::*, *};

    fn event(path: impl ToString, token: &str) -> WatchEvent {
        WatchEvent { path: path.to_string(), token: token.to_owned() }
    }

    fn rings(queue: &EventQueue) -> bool {
        wait_for(queue.bell.as_fd(), PollFlags::POLLIN, Deadline::after(Some(Default::default()))).unwrap()
    }

    #[test]
    fn events_come_in_order_and_once() {
        let mut queue = EventQueue::new().unwrap();
        queue.add_watch("/a", "t");
        assert!(!rings(&queue));
        for path in ["/a", "/a/b", "/a"] {
            queue.push(event(path, "t"));
        }
        queue.push(event("/a", "stranger"));
        assert!(rings(&queue));
        assert_eq!(queue.pop(), Some(Ok(event("/a", "t"))));
        assert_eq!(queue.pop(), Some(Ok(event("/a/b", "t"))));
        assert!(!rings(&queue));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_flood_is_bounded_and_admitted_once() {
        let mut queue = EventQueue::new().unwrap();
        queue.add_watch("/", "t");
        for i in 0..3 * KEPT {
            queue.push(event(i, "t"));
        }
        for i in 0..KEPT {
            assert_eq!(queue.pop(), Some(Ok(event(i, "t"))));
        }
        assert!(rings(&queue));
        assert_eq!(queue.pop(), Some(Err(Lost)));
        assert!(!rings(&queue));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_removed_watch_takes_its_events_along() {
        let mut queue = EventQueue::new().unwrap();
        queue.add_watch("/a", "t");
        queue.add_watch("/b", "t");
        queue.push(event("/a", "t"));
        queue.remove_watch("/a", "t");
        assert_eq!(queue.pop(), Some(Ok(event("/a", "t"))), "the token is still in use");
        queue.push(event("/b", "t"));
        queue.remove_watch("/b", "t");
        assert!(!rings(&queue));
        assert_eq!(queue.pop(), None);
    }
}
