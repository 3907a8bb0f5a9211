//! Those who wait for a channel without being in a call of it: they poll its descriptor.
//!
//! The event that was meant for them may be taken by somebody else: a thread that sleeps in here, or the other
//! direction's non-blocking call. So it is noted, for each direction, how much somebody outside waits for, and
//! whoever takes an event looks whether that has come and then *kicks* the direction's descriptor. It stays readable
//! until that direction is tried again.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::PoisonError;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use once_cell::sync::OnceCell;

use super::sync::{AtomicU32, Mutex};
use crate::ring::Want;
use crate::{Error, Result};

/// A new epoll set of these descriptors.
pub(super) fn epoll_of(fds: &[(BorrowedFd<'_>, u64)]) -> Result<Epoll> {
    let set =
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| Error::os("make an epoll set", errno))?;
    for &(fd, token) in fds {
        set.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))
            .map_err(|errno| Error::os("add to an epoll set", errno))?;
    }
    Ok(set)
}

/// Each read of it takes one kick.
fn eventfd() -> Result<EventFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    // Miri doesn't know it. Nothing is missing but where the kernel has no memory, see `Polled::fd`.
    let flags = if cfg!(miri) { flags } else { flags | EfdFlags::EFD_SEMAPHORE };
    EventFd::from_value_and_flags(0, flags).map_err(|errno| Error::os("make an eventfd", errno))
}

/// What is polled. It watches the channel's events only from when somebody first asks for it: each set that does
/// makes every event dearer.
#[derive(Debug)]
struct Polled {
    set: Epoll,
    /// Whether it does.
    watches: OnceCell<()>,
}

impl Polled {
    fn new(kicks: &[(BorrowedFd<'_>, u64)]) -> Result<Polled> {
        Ok(Polled { set: epoll_of(kicks)?, watches: OnceCell::new() })
    }

    fn is_used(&self) -> bool {
        self.watches.get().is_some()
    }

    fn fd(&self, events: BorrowedFd<'_>, kick: &EventFd) -> BorrowedFd<'_> {
        self.watches.get_or_init(|| {
            if self.set.add(events, EpollEvent::new(EpollFlags::EPOLLIN, 0)).is_err() {
                // The kernel has no memory for it. One kick that nobody takes back makes it readable for ever: slow, but
                // nobody sleeps on.
                let _ = kick.write(1);
            }
        });
        self.set.0.as_fd()
    }
}

/// One direction's.
#[derive(Debug)]
struct Direction {
    /// How many bytes are waited for; 0 if nobody waits.
    need: AtomicU32,
    kick: EventFd,
    kicked: Mutex<bool>,
    /// The channel's events and the kick.
    polled: Polled,
}

impl Direction {
    fn new() -> Result<Direction> {
        let kick = eventfd()?;
        let polled = Polled::new(&[(kick.as_fd(), 1)])?;
        Ok(Direction { need: AtomicU32::new(0), kick, kicked: Mutex::new(false), polled })
    }

    fn kick(&self) {
        let mut kicked = self.kicked.lock().unwrap_or_else(PoisonError::into_inner);
        if !*kicked {
            *kicked = self.kick.write(1).is_ok();
            #[cfg(model)]
            super::model::Bell::ring_all();
        }
    }

    /// Says whether there was a kick to take back.
    fn unkick(&self) -> bool {
        let mut kicked = self.kicked.lock().unwrap_or_else(PoisonError::into_inner);
        if *kicked {
            *kicked = self.kick.read().is_err();
            return true;
        }
        false
    }

    /// As `unkick`, and nobody waits any more.
    fn settle(&self) -> bool {
        self.need.load(Ordering::Relaxed) != 0 && self.need.swap(0, Ordering::SeqCst) != 0 && self.unkick()
    }
}

#[derive(Debug)]
pub(super) struct Outside {
    data: Direction,
    space: Direction,
    /// The channel's events and both kicks.
    both: Polled,
}

impl Outside {
    pub(super) fn new() -> Result<Outside> {
        let (data, space) = (Direction::new()?, Direction::new()?);
        let both = Polled::new(&[(data.kick.as_fd(), 1), (space.kick.as_fd(), 2)])?;
        Ok(Outside { data, space, both })
    }

    fn direction(&self, want: Want) -> &Direction {
        match want {
            Want::Data => &self.data,
            Want::Space => &self.space,
        }
    }

    /// What to poll for both directions of a channel whose own descriptor is `events`.
    pub(super) fn fd(&self, events: BorrowedFd<'_>) -> BorrowedFd<'_> {
        self.both.fd(events, &self.data.kick)
    }

    /// What to poll for one direction.
    pub(super) fn fd_for(&self, want: Want, events: BorrowedFd<'_>) -> BorrowedFd<'_> {
        let direction = self.direction(want);
        direction.polled.fd(events, &direction.kick)
    }

    /// Whether somebody has got a descriptor to poll.
    pub(super) fn is_polled(&self) -> bool {
        self.both.is_used() || self.data.polled.is_used() || self.space.polled.is_used()
    }

    /// Somebody is going to poll until there are `need` bytes of what is wanted.
    pub(super) fn expect(&self, want: Want, need: u32) {
        self.direction(want).need.store(need, Ordering::SeqCst);
    }

    /// How much somebody outside waits for.
    pub(super) fn expected(&self, want: Want) -> Option<u32> {
        match self.direction(want).need.load(Ordering::SeqCst) {
            0 => None,
            need => Some(need),
        }
    }

    /// The direction is being tried: whoever waited for it does not any more.
    pub(super) fn settle(&self, want: Want) {
        self.direction(want).settle();
    }

    /// The same for both directions; says whether there was a kick.
    pub(super) fn settle_both(&self) -> bool {
        self.data.settle() | self.space.settle()
    }

    /// Wakes whoever waits for the direction.
    pub(super) fn kick(&self, want: Want) {
        self.direction(want).kick();
    }
}
