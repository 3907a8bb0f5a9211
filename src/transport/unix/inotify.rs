//! One instance of inotify for all clients of a process that wait: a user may have but few of them.
//!
//! The waiters poll the instance, and one that wakes takes all events and rings the bells of those whose directories they
//! concern. An instance lives as long as somebody waits. It belongs to one process: after a fork both would take the events of
//! both, so a child makes its own.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::{Error, Result};

/// A process, and its instance while there is one. The list of them is never freed: a child finds its parent's there and
/// leaves it alone, with a lock that nobody may be left to open.
struct Process {
    pid: u32,
    instance: Mutex<Weak<Instance>>,
    next: *const Process,
}

static PROCESSES: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

impl Process {
    fn own() -> &'static Process {
        let pid = std::process::id();
        let mut first = PROCESSES.load(Ordering::Acquire);
        let mut new: *mut Process = ptr::null_mut();
        loop {
            // SAFETY: null, or leaked and never changed but for what its lock holds.
            let each = std::iter::successors(unsafe { first.as_ref() }, |at| unsafe { at.next.as_ref() });
            if let Some(own) = { each }.find(|process| process.pid == pid) {
                if !new.is_null() {
                    // SAFETY: made below, and given to nobody.
                    drop(unsafe { Box::from_raw(new) });
                }
                return own;
            }
            if new.is_null() {
                new = Box::into_raw(Box::new(Process { pid, instance: Mutex::default(), next: ptr::null() }));
            }
            // SAFETY: as above.
            unsafe { (*new).next = first };
            match PROCESSES.compare_exchange(first, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: leaked by this.
                Ok(_) => return unsafe { &*new },
                Err(other) => first = other,
            }
        }
    }

    fn instance(&self) -> Result<Arc<Instance>> {
        let mut slot = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = slot.upgrade() {
            return Ok(instance);
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(|errno| {
            Error::os("wait for changes by inotify (is fs.inotify.max_user_instances too low?)", errno)
        })?;
        let instance = Arc::new(Instance { inotify, concerns: Mutex::default() });
        *slot = Arc::downgrade(&instance);
        Ok(instance)
    }
}

struct Instance {
    inotify: Inotify,
    concerns: Mutex<Vec<Concern>>,
}

/// What one waiter watches.
struct Concern {
    bell: Arc<EventFd>,
    watches: HashSet<WatchDescriptor>,
}

impl Instance {
    fn concerns(&self) -> MutexGuard<'_, Vec<Concern>> {
        self.concerns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all events, and rings for those whom they concern.
    fn distribute(&self) -> nix::Result<()> {
        let mut concerns = self.concerns();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            for event in events {
                let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                for concern in concerns.iter_mut() {
                    if lost || concern.watches.contains(&event.wd) {
                        // It can't be full.
                        let _ = concern.bell.write(1);
                    }
                    if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                        concern.watches.remove(&event.wd);
                    }
                }
            }
        }
    }
}

/// One client that waits.
pub(super) struct Waiter {
    instance: Arc<Instance>,
    bell: Arc<EventFd>,
    /// Of both.
    set: Epoll,
}

impl Waiter {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<Waiter> {
        let instance = Process::own().instance()?;
        let failed = |errno| Error::os("make what a client waits by", errno);
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(failed)?;
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        for fd in [instance.inotify.as_fd(), bell.as_fd()] {
            set.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
        }
        let bell = Arc::new(bell);
        instance.concerns().push(Concern { bell: Arc::clone(&bell), watches: HashSet::new() });
        Ok(Waiter { instance, bell, set })
    }

    /// Watches the directory at `path` from now on.
    pub(super) fn watch(&self, path: &str, what: AddWatchFlags) -> nix::Result<()> {
        // Others may watch the same directory for something else.
        let what = what | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        // With the lock held, so that nobody takes an event before it is known whom it concerns.
        let mut concerns = self.instance.concerns();
        let watch = self.instance.inotify.add_watch(path, what)?;
        for own in concerns.iter_mut().filter(|concern| Arc::ptr_eq(&concern.bell, &self.bell)) {
            own.watches.insert(watch);
        }
        Ok(())
    }

    /// Forgets past events.
    pub(super) fn forget(&self) -> nix::Result<()> {
        self.instance.distribute()?;
        match self.bell.read() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Readable when there may be an event.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.set.0.as_fd()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut concerns = self.instance.concerns();
        let Some(own) = concerns.iter().position(|concern| Arc::ptr_eq(&concern.bell, &self.bell)) else {
            return;
        };
        let own = concerns.swap_remove(own);
        for watch in own.watches {
            if !concerns.iter().any(|other| other.watches.contains(&watch)) {
                // Gone by itself, at worst.
                let _ = self.instance.inotify.rm_watch(watch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::unix::private_dir;
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    use std::fs;

    fn readable(fd: BorrowedFd<'_>) -> bool {
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn an_event_that_another_waiter_takes_is_passed_on() {
        let temp = private_dir();
        let waiters = [(); 3].map(|()| Waiter::new().unwrap());
        let other = temp.path().join("other");
        fs::create_dir(&other).unwrap();
        for (waiter, path) in waiters.iter().zip([temp.path(), temp.path(), &other]) {
            waiter.watch(path.to_str().unwrap(), AddWatchFlags::IN_CREATE).unwrap();
        }
        fs::write(temp.path().join("file"), "").unwrap();
        waiters[0].forget().unwrap();
        assert_eq!(waiters.each_ref().map(|waiter| readable(waiter.fd())), [false, true, false]);
        let [first, second, third] = waiters;
        drop(first);
        second.forget().unwrap();
        assert!(!readable(second.fd()));
        fs::write(temp.path().join("another"), "").unwrap();
        third.forget().unwrap();
        assert!(readable(second.fd()) && !readable(third.fd()), "its watch went with another waiter's");
        drop(second);
        fs::write(temp.path().join("third"), "").unwrap();
        let events = third.instance.inotify.read_events().expect("the end of the watch");
        let ended = |event: &nix::sys::inotify::InotifyEvent| event.mask.contains(AddWatchFlags::IN_IGNORED);
        assert!(events.iter().all(ended), "a watch has stayed: {events:?}");
    }

    #[test]
    fn a_forked_child_has_an_instance_of_its_own() {
        let waiter = Waiter::new().unwrap();
        assert!(Arc::ptr_eq(&waiter.instance, &Process::own().instance().unwrap()));
        // SAFETY: the child makes system calls and leaves.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let shares = Process::own().instance().is_ok_and(|own| Arc::ptr_eq(&waiter.instance, &own));
                // SAFETY: ends the child without a look at what it has inherited.
                unsafe { libc::_exit(shares.into()) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let status = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }
    }
}
