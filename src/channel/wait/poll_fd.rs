//! Descriptors for callers who poll, and the notifications that they have armed.
//!
//! The event for a poller may be taken by another thread of this side, or by a call for the other direction. So each
//! direction records how many bytes a poller waits for. Whatever takes an event checks whether they have come and
//! then sets the direction ready: its descriptor stays readable until the direction is tried again.
//!
//! What is polled is an epoll set, made on first request. It holds the set of the [poller](super::poller), and a
//! descriptor of the event channel that is [always ready](EventChannel::always_ready). The latter is watched while the
//! direction is ready, which makes the set readable, and ignored otherwise. So setting a direction ready needs no
//! descriptor and no memory, and cannot fail.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use once_cell::sync::OnceCell;

use super::sync::AtomicU32;
use crate::ring::Interest;
use crate::transport::{EventChannel, EventSet, Readiness};
use crate::{Error, Result};

/// A new, empty epoll set.
pub(in crate::channel) fn new_set() -> Result<EventSet> {
    EventSet::new().map_err(|error| Error::os("make an epoll set", error))
}

/// Both directions' bits in [`PollFd::ready`].
const BOTH: u32 = Interest::Readable as u32 | Interest::Writable as u32;

fn bit(interest: Interest) -> u32 {
    interest as u32
}

/// What is polled for one direction, or for both.
#[derive(Debug)]
struct Polled {
    set: OnceCell<Set>,
    /// The directions that make it readable.
    directions: u32,
}

#[derive(Debug)]
struct Set {
    set: EventSet,
    /// The channel's own set could not be added, so this one is always readable: slow, but no poller hangs.
    always_readable: bool,
}

impl Set {
    fn new(own: BorrowedFd<'_>, events: &dyn EventChannel) -> Result<Set> {
        let set = new_set()?;
        let (fd, ready) = events.always_ready();
        // Fails without memory, or if the peer has nested the shared descriptor to the kernel's limit.
        let always_readable = set.add(own, Readiness::READABLE, 0).is_err();
        let watched = if always_readable { ready } else { Readiness::NONE };
        set.add(fd, watched, 1).map_err(|error| Error::os("add to an epoll set", error))?;
        Ok(Set { set, always_readable })
    }
}

impl Polled {
    fn of(directions: u32) -> Polled {
        Polled { set: OnceCell::new(), directions }
    }

    fn update(&self, ready: u32, events: &dyn EventChannel) {
        if let Some(set) = self.set.get().filter(|set| !set.always_readable) {
            let (fd, flags) = events.always_ready();
            let watched = if ready & self.directions == 0 { Readiness::NONE } else { flags };
            // The descriptor is in the set. A change of its flags allocates nothing.
            let _ = set.set.modify(fd, watched, 1);
        }
    }
}

#[derive(Debug)]
pub(in crate::channel) struct PollFd {
    /// Bytes that pollers wait for, per direction; 0 for none.
    armed: [AtomicU32; 2],
    /// Bits of the directions that are kept readable.
    ready: AtomicU32,
    readable: Polled,
    writable: Polled,
    both: Polled,
}

impl PollFd {
    pub(super) fn new() -> PollFd {
        PollFd {
            armed: [AtomicU32::new(0), AtomicU32::new(0)],
            ready: AtomicU32::new(0),
            readable: Polled::of(bit(Interest::Readable)),
            writable: Polled::of(bit(Interest::Writable)),
            both: Polled::of(BOTH),
        }
    }

    fn need(&self, interest: Interest) -> &AtomicU32 {
        match interest {
            Interest::Readable => &self.armed[0],
            Interest::Writable => &self.armed[1],
        }
    }

    fn sets(&self) -> [&Polled; 3] {
        [&self.both, &self.readable, &self.writable]
    }

    /// The descriptor for one direction, or for both, of a channel with this own descriptor.
    pub(super) fn fd(
        &self,
        interest: Option<Interest>,
        own: BorrowedFd<'_>,
        events: &dyn EventChannel,
    ) -> Result<BorrowedFd<'_>> {
        let polled = match interest {
            None => &self.both,
            Some(Interest::Readable) => &self.readable,
            Some(Interest::Writable) => &self.writable,
        };
        let set = match polled.set.get() {
            Some(set) => set,
            None => {
                let set = polled.set.get_or_try_init(|| Set::new(own, events))?;
                self.update(events);
                set
            }
        };
        Ok(set.set.as_fd())
    }

    /// Whether a descriptor was handed out.
    pub(super) fn is_in_use(&self) -> bool {
        self.sets().iter().any(|polled| polled.set.get().is_some())
    }

    /// A caller polls until there are `need` bytes.
    pub(super) fn arm(&self, interest: Interest, need: u32) {
        self.need(interest).store(need, Ordering::SeqCst);
    }

    /// The bytes that a caller polls for.
    pub(super) fn armed(&self, interest: Interest) -> Option<u32> {
        match self.need(interest).load(Ordering::SeqCst) {
            0 => None,
            need => Some(need),
        }
    }

    /// The direction is being tried, so no caller polls for it any more. Returns whether it was ready.
    pub(super) fn disarm(&self, interest: Interest, events: &dyn EventChannel) -> bool {
        let need = self.need(interest);
        let was_ready = need.load(Ordering::Relaxed) != 0
            && need.swap(0, Ordering::SeqCst) != 0
            && self.ready.fetch_and(!bit(interest), Ordering::SeqCst) & bit(interest) != 0;
        if was_ready {
            self.update(events);
        }
        was_ready
    }

    /// Keeps the direction's descriptor readable from now on.
    pub(super) fn set_ready(&self, interest: Interest, events: &dyn EventChannel) {
        if self.ready.fetch_or(bit(interest), Ordering::SeqCst) & bit(interest) == 0 {
            self.update(events);
            #[cfg(model)]
            crate::channel::model::Doorbell::ring_all();
        }
    }

    /// Makes the sets agree with `ready`. The last of several threads to modify a set loads `ready` again after that.
    fn update(&self, events: &dyn EventChannel) {
        // A read-modify-write always sees the latest value, unlike a load. So either this sees a set that is being
        // made, or its maker sees the change that came before.
        let latest = || self.ready.fetch_or(0, Ordering::SeqCst);
        let mut shown = latest();
        loop {
            for polled in self.sets() {
                polled.update(shown, events);
            }
            match latest() {
                same if same == shown => return,
                other => shown = other,
            }
        }
    }
}
