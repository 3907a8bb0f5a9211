//! Those who wait for a channel without being in a call of it: they poll its descriptor.
//!
//! The event that was meant for them may be taken by somebody else: a thread that sleeps in here, or the other
//! direction's non-blocking call. So it is noted, for each direction, how much somebody outside waits for, and
//! whoever takes an event looks whether that has come and then *kicks* the direction's descriptor. It stays readable
//! until that direction is tried again.
//!
//! What is polled is an epoll set, made when somebody first asks for it. It holds the channel's own set, and a
//! descriptor of the event channel that is [always ready](EventChannel::always_ready), watched for that while
//! the direction is kicked and for nothing otherwise. So a kick needs no descriptor and no memory, and can't fail.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use once_cell::sync::OnceCell;

use super::sync::AtomicU32;
use crate::ring::Interest;
use crate::transport::EventChannel;
use crate::{Error, Result};

/// A new, empty epoll set.
pub(super) fn new_epoll() -> Result<Epoll> {
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| Error::os("make an epoll set", errno))
}

/// The directions' bits in [`Outside::kicked`].
const DATA: u32 = 1;
const SPACE: u32 = 2;

fn bit(interest: Interest) -> u32 {
    match interest {
        Interest::Readable => DATA,
        Interest::Writable => SPACE,
    }
}

/// What is polled for one direction, or for both.
#[derive(Debug)]
struct Polled {
    set: OnceCell<Set>,
    /// By which directions' kicks it becomes readable.
    kicks: u32,
}

#[derive(Debug)]
struct Set {
    epoll: Epoll,
    /// It can't hold the channel's own set, and so is readable for ever: slow, but nobody sleeps on.
    blind: bool,
}

impl Set {
    fn new(own: BorrowedFd<'_>, events: &dyn EventChannel) -> Result<Set> {
        let epoll = new_epoll()?;
        let (fd, ready) = events.always_ready();
        // No memory; or a peer that has the same event channel has nested it so often that the kernel refuses one more.
        let blind = epoll.add(own, EpollEvent::new(EpollFlags::EPOLLIN, 0)).is_err();
        let watched = if blind { ready } else { EpollFlags::empty() };
        epoll
            .add(fd, EpollEvent::new(watched, 1))
            .map_err(|errno| Error::os("add to an epoll set", errno))?;
        Ok(Set { epoll, blind })
    }
}

impl Polled {
    fn of(kicks: u32) -> Polled {
        Polled { set: OnceCell::new(), kicks }
    }

    /// Makes the set agree with `kicked`.
    fn show(&self, kicked: u32, events: &dyn EventChannel) {
        if let Some(set) = self.set.get().filter(|set| !set.blind) {
            let (fd, ready) = events.always_ready();
            let watched = if kicked & self.kicks == 0 { EpollFlags::empty() } else { ready };
            // It is in the set, and a change of what it is watched for allocates nothing.
            let _ = set.epoll.modify(fd, &mut EpollEvent::new(watched, 1));
        }
    }
}

#[derive(Debug)]
pub(super) struct Outside {
    /// How many bytes are waited for, of data and of space; 0 if nobody waits.
    need: [AtomicU32; 2],
    /// The directions whose descriptors are kept readable.
    kicked: AtomicU32,
    data: Polled,
    space: Polled,
    both: Polled,
}

impl Outside {
    pub(super) fn new() -> Outside {
        Outside {
            need: [AtomicU32::new(0), AtomicU32::new(0)],
            kicked: AtomicU32::new(0),
            data: Polled::of(DATA),
            space: Polled::of(SPACE),
            both: Polled::of(DATA | SPACE),
        }
    }

    fn need(&self, interest: Interest) -> &AtomicU32 {
        match interest {
            Interest::Readable => &self.need[0],
            Interest::Writable => &self.need[1],
        }
    }

    /// What to poll for one direction, or for both, of a channel whose own descriptor is `own`.
    pub(super) fn fd(
        &self,
        interest: Option<Interest>,
        own: BorrowedFd<'_>,
        events: &dyn EventChannel,
    ) -> Result<BorrowedFd<'_>> {
        let polled = match interest {
            None => &self.both,
            Some(Interest::Readable) => &self.data,
            Some(Interest::Writable) => &self.space,
        };
        let set = match polled.set.get() {
            Some(set) => set,
            None => {
                let set = polled.set.get_or_try_init(|| Set::new(own, events))?;
                self.show(events);
                set
            }
        };
        Ok(set.epoll.0.as_fd())
    }

    /// Whether somebody has got a descriptor to poll.
    pub(super) fn is_polled(&self) -> bool {
        [&self.both, &self.data, &self.space].iter().any(|polled| polled.set.get().is_some())
    }

    /// Somebody is going to poll until there are `need` bytes of what is wanted.
    pub(super) fn expect(&self, interest: Interest, need: u32) {
        self.need(interest).store(need, Ordering::SeqCst);
    }

    /// How much somebody outside waits for.
    pub(super) fn expected(&self, interest: Interest) -> Option<u32> {
        match self.need(interest).load(Ordering::SeqCst) {
            0 => None,
            need => Some(need),
        }
    }

    /// The direction is being tried: nobody waits for it any more. Says whether there was a kick to take back.
    pub(super) fn settle(&self, interest: Interest, events: &dyn EventChannel) -> bool {
        let need = self.need(interest);
        let kicked = need.load(Ordering::Relaxed) != 0
            && need.swap(0, Ordering::SeqCst) != 0
            && self.kicked.fetch_and(!bit(interest), Ordering::SeqCst) & bit(interest) != 0;
        if kicked {
            self.show(events);
        }
        kicked
    }

    /// Wakes whoever waits for the direction.
    pub(super) fn kick(&self, interest: Interest, events: &dyn EventChannel) {
        if self.kicked.fetch_or(bit(interest), Ordering::SeqCst) & bit(interest) == 0 {
            self.show(events);
            #[cfg(model)]
            super::model::Doorbell::ring_all();
        }
    }

    /// Makes the sets agree with what is kicked, whoever else does so at the same time: the last one to change a set
    /// looks again after that.
    fn show(&self, events: &dyn EventChannel) {
        // A read that changes nothing, but sees the latest value, as a load need not: a set that is made meanwhile is either
        // seen here, or its maker sees what was changed before.
        let latest = || self.kicked.fetch_or(0, Ordering::SeqCst);
        let mut shown = latest();
        loop {
            for polled in [&self.both, &self.data, &self.space] {
                polled.show(shown, events);
            }
            match latest() {
                same if same == shown => return,
                other => shown = other,
            }
        }
    }
}
