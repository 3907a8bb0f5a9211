//! One inotify instance for all waiting clients of a process, and [another](super::name_watch) for its servers: the
//! number of instances per user is small.
//!
//! The clients poll the instance. One that wakes takes all events and signals the eventfds of those whose
//! directories are concerned. An instance lives while a client waits. It belongs to one process: after a fork
//! both processes would take the events of both, so a child creates its own. If a seccomp filter forbids
//! inotify, a timer makes the client look periodically.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::descriptor::{by_descriptor, by_either};
use super::dir::Dir;
use super::name_watch::{lock_soon, Servers};
use crate::{Error, Result};

/// A process, and its instances while they exist. The list is never freed: a child finds its parent's entry
/// there and ignores it, because a lock in it can have been held at the time of the fork.
pub(super) struct Process {
    pid: u32,
    instance: Mutex<Weak<Instance>>,
    servers: Mutex<Weak<Servers>>,
    next: *const Process,
}

static PROCESSES: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

impl Process {
    pub(super) fn own() -> &'static Process {
        let pid = std::process::id();
        let mut first = PROCESSES.load(Ordering::Acquire);
        let mut new: *mut Process = ptr::null_mut();
        loop {
            // SAFETY: null, or leaked; only what its locks protect changes.
            let each = std::iter::successors(unsafe { first.as_ref() }, |at| unsafe { at.next.as_ref() });
            if let Some(own) = { each }.find(|process| process.pid == pid) {
                if !new.is_null() {
                    // SAFETY: made below, and not shared.
                    drop(unsafe { Box::from_raw(new) });
                }
                return own;
            }
            if new.is_null() {
                new = Box::into_raw(Box::new(Process {
                    pid,
                    instance: Mutex::default(),
                    servers: Mutex::default(),
                    next: ptr::null(),
                }));
            }
            // SAFETY: as above.
            unsafe { (*new).next = first };
            match PROCESSES.compare_exchange(first, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: leaked by this store.
                Ok(_) => return unsafe { &*new },
                Err(other) => first = other,
            }
        }
    }

    /// The instance for servers, if one can be created.
    pub(super) fn servers(&self) -> Option<Arc<Servers>> {
        let mut slot = lock_soon(&self.servers)?;
        if let Some(servers) = slot.upgrade() {
            return Some(servers);
        }
        let servers = Arc::new(Servers::new()?);
        *slot = Arc::downgrade(&servers);
        Some(servers)
    }

    /// The instance for clients, or `None` if inotify is forbidden.
    fn instance(&self) -> Result<Option<Arc<Instance>>> {
        let mut slot = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = slot.upgrade() {
            return Ok(Some(instance));
        }
        let inotify = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
            Ok(inotify) => inotify,
            Err(errno) if is_forbidden(errno) => return Ok(None),
            Err(errno) => {
                let doing = "wait for changes by inotify (is fs.inotify.max_user_instances too low?)";
                return Err(Error::os(doing, errno));
            }
        };
        let instance = Arc::new(Instance { inotify, subscriptions: Mutex::default() });
        *slot = Arc::downgrade(&instance);
        Ok(Some(instance))
    }
}

struct Instance {
    inotify: Inotify,
    subscriptions: Mutex<Vec<Subscription>>,
}

/// What one client watches.
struct Subscription {
    doorbell: Arc<EventFd>,
    watches: HashSet<WatchDescriptor>,
}

impl Instance {
    fn subscriptions(&self) -> MutexGuard<'_, Vec<Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all events, and signals the clients they concern.
    fn distribute(&self) -> nix::Result<()> {
        let mut subscriptions = self.subscriptions();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            for event in events {
                let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                for subscription in subscriptions.iter_mut() {
                    if lost || subscription.watches.contains(&event.wd) {
                        // The counter cannot overflow.
                        let _ = subscription.doorbell.write(1);
                    }
                    if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                        subscription.watches.remove(&event.wd);
                    }
                }
            }
        }
    }
}

/// The errors of a seccomp filter, or of a kernel without the call.
fn is_forbidden(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
}

/// How long a client that cannot watch anything waits before it looks again.
const PERIOD: Duration = Duration::from_millis(100);

/// Wakes one waiting client.
pub(super) enum ChangeWatcher {
    /// By its process's inotify instance.
    Watching(Watching),
    /// Inotify is forbidden: a periodic timer.
    Timed(TimerFd),
}

impl ChangeWatcher {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<ChangeWatcher> {
        match Process::own().instance()? {
            Some(instance) => Watching::new(instance).map(ChangeWatcher::Watching),
            None => ChangeWatcher::timed(),
        }
    }

    fn timed() -> Result<ChangeWatcher> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let period = Expiration::Interval(TimeSpec::from_duration(PERIOD));
        TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)
            .and_then(|timer| {
                timer.set(period, TimerSetTimeFlags::empty()).map(|()| ChangeWatcher::Timed(timer))
            })
            .map_err(|errno| Error::os("create a timer (inotify is forbidden)", errno))
    }

    /// Watches the directory from now on. The inner result is inotify's.
    pub(super) fn watch(&mut self, dir: &Dir, what: AddWatchFlags) -> Result<nix::Result<()>> {
        self.watch_by(|watching| {
            by_either(&by_descriptor(dir), dir.path(), |path| watching.watch(path, what))
        })
    }

    /// The same for any directory, by path.
    pub(super) fn watch_path(&mut self, path: &str, what: AddWatchFlags) -> Result<nix::Result<()>> {
        self.watch_by(|watching| watching.watch(path, what))
    }

    fn watch_by(&mut self, watch: impl Fn(&Watching) -> nix::Result<()>) -> Result<nix::Result<()>> {
        let ChangeWatcher::Watching(watching) = self else { return Ok(Ok(())) };
        match watch(watching) {
            Err(errno) if is_forbidden(errno) => {
                *self = ChangeWatcher::timed()?;
                Ok(Ok(()))
            }
            watched => Ok(watched),
        }
    }

    /// Discards past events.
    pub(super) fn reset(&self) -> nix::Result<()> {
        match self {
            ChangeWatcher::Watching(watching) => watching.reset(),
            ChangeWatcher::Timed(timer) => match timer.wait() {
                Ok(()) | Err(Errno::EAGAIN) => Ok(()),
                Err(errno) => Err(errno),
            },
        }
    }

    /// Readable when there may be an event.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            ChangeWatcher::Watching(watching) => watching.set.0.as_fd(),
            ChangeWatcher::Timed(timer) => timer.as_fd(),
        }
    }
}

/// A client that uses its process's inotify instance.
pub(super) struct Watching {
    instance: Arc<Instance>,
    doorbell: Arc<EventFd>,
    /// Contains the instance and the eventfd.
    set: Epoll,
}

impl Watching {
    fn new(instance: Arc<Instance>) -> Result<Watching> {
        let failed = |errno| Error::os("create an eventfd or an epoll set to wait for changes", errno);
        let doorbell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(failed)?;
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        for fd in [instance.inotify.as_fd(), doorbell.as_fd()] {
            set.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
        }
        let doorbell = Arc::new(doorbell);
        instance
            .subscriptions()
            .push(Subscription { doorbell: Arc::clone(&doorbell), watches: HashSet::new() });
        Ok(Watching { instance, doorbell, set })
    }

    fn watch(&self, path: &str, what: AddWatchFlags) -> nix::Result<()> {
        // Other clients may watch the same directory for other events.
        let what = what | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        // With the lock held, so that no event is taken before the watch is recorded.
        let mut subscriptions = self.instance.subscriptions();
        let watch = self.instance.inotify.add_watch(path, what)?;
        for own in subscriptions
            .iter_mut()
            .filter(|subscription| Arc::ptr_eq(&subscription.doorbell, &self.doorbell))
        {
            own.watches.insert(watch);
        }
        Ok(())
    }

    fn reset(&self) -> nix::Result<()> {
        self.instance.distribute()?;
        match self.doorbell.read() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut subscriptions = self.instance.subscriptions();
        let Some(own) =
            subscriptions.iter().position(|subscription| Arc::ptr_eq(&subscription.doorbell, &self.doorbell))
        else {
            return;
        };
        let own = subscriptions.swap_remove(own);
        for watch in own.watches {
            if !subscriptions.iter().any(|other| other.watches.contains(&watch)) {
                // Fails only if the watch is gone already.
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

    fn watching() -> Watching {
        Watching::new(Process::own().instance().unwrap().unwrap()).unwrap()
    }

    fn readable(fd: BorrowedFd<'_>) -> bool {
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn event_taken_by_another_waiter_is_forwarded() {
        let temp = private_dir();
        let waiters = [(); 3].map(|()| watching());
        let other = temp.path().join("other");
        fs::create_dir(&other).unwrap();
        for (waiter, path) in waiters.iter().zip([temp.path(), temp.path(), &other]) {
            waiter.watch(path.to_str().unwrap(), AddWatchFlags::IN_CREATE).unwrap();
        }
        fs::write(temp.path().join("file"), "").unwrap();
        waiters[0].reset().unwrap();
        assert_eq!(waiters.each_ref().map(|waiter| readable(waiter.set.0.as_fd())), [false, true, false]);
        let [first, second, third] = waiters;
        drop(first);
        second.reset().unwrap();
        assert!(!readable(second.set.0.as_fd()));
        fs::write(temp.path().join("another"), "").unwrap();
        third.reset().unwrap();
        assert!(
            readable(second.set.0.as_fd()) && !readable(third.set.0.as_fd()),
            "its watch was removed with another client's"
        );
        drop(second);
        fs::write(temp.path().join("third"), "").unwrap();
        let events = third.instance.inotify.read_events().expect("the end of the watch");
        let ended = |event: &nix::sys::inotify::InotifyEvent| event.mask.contains(AddWatchFlags::IN_IGNORED);
        assert!(events.iter().all(ended), "a watch was left: {events:?}");
    }

    #[test]
    fn forked_child_has_its_own_instance() {
        let waiter = watching();
        assert!(Arc::ptr_eq(&waiter.instance, &Process::own().instance().unwrap().unwrap()));
        // SAFETY: the child makes system calls and exits.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let shares = Process::own()
                    .instance()
                    .is_ok_and(|own| own.is_some_and(|own| Arc::ptr_eq(&waiter.instance, &own)));
                // SAFETY: ends the child without running destructors or exit handlers.
                unsafe { libc::_exit(shares.into()) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let status = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }
    }
}
