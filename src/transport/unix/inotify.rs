//! One instance of inotify for all clients of a process that wait, and [another](super::name) for its servers: a user may have but few
//! of them.
//!
//! The waiters poll the instance, and one that wakes takes all events and rings the doorbells of those whose directories they
//! concern. An instance lives as long as somebody waits. It belongs to one process: after a fork both would take the events of
//! both, so a child makes its own. Where a filter of system calls forbids inotify, a timer has the client look again.

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
use super::name::Servers;
use crate::{Error, Result};

/// A process, and its instance while there is one. The list of them is never freed: a child finds its parent's there and
/// leaves it alone, with a lock that nobody may be left to open.
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
                // SAFETY: leaked by this.
                Ok(_) => return unsafe { &*new },
                Err(other) => first = other,
            }
        }
    }

    /// The instance for servers, if there can be one. Waits for nobody.
    pub(super) fn servers(&self) -> Option<Arc<Servers>> {
        let mut slot = self.servers.try_lock().ok()?;
        if let Some(servers) = slot.upgrade() {
            return Some(servers);
        }
        let servers = Arc::new(Servers::new()?);
        *slot = Arc::downgrade(&servers);
        Some(servers)
    }

    /// The instance, or `None` where the system forbids it.
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
        let instance = Arc::new(Instance { inotify, concerns: Mutex::default() });
        *slot = Arc::downgrade(&instance);
        Ok(Some(instance))
    }
}

struct Instance {
    inotify: Inotify,
    concerns: Mutex<Vec<Concern>>,
}

/// What one waiter watches.
struct Concern {
    doorbell: Arc<EventFd>,
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
                        let _ = concern.doorbell.write(1);
                    }
                    if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                        concern.watches.remove(&event.wd);
                    }
                }
            }
        }
    }
}

/// What a filter of system calls answers, or a kernel without the call.
fn is_forbidden(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
}

/// How long a client that can't watch anything waits before it looks again.
const PERIOD: Duration = Duration::from_millis(100);

/// One client that waits.
pub(super) enum ChangeWaiter {
    /// By the instance of its process.
    Watching(Watching),
    /// Inotify is forbidden: only time passes.
    Timed(TimerFd),
}

impl ChangeWaiter {
    /// Watches nothing yet.
    pub(super) fn new() -> Result<ChangeWaiter> {
        match Process::own().instance()? {
            Some(instance) => Watching::new(instance).map(ChangeWaiter::Watching),
            None => ChangeWaiter::timed(),
        }
    }

    fn timed() -> Result<ChangeWaiter> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let period = Expiration::Interval(TimeSpec::from_duration(PERIOD));
        TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)
            .and_then(|timer| {
                timer.set(period, TimerSetTimeFlags::empty()).map(|()| ChangeWaiter::Timed(timer))
            })
            .map_err(|errno| Error::os("make a timer, as inotify is forbidden", errno))
    }

    /// Watches the directory from now on. The inner result is that of inotify.
    pub(super) fn watch(&mut self, dir: &Dir, what: AddWatchFlags) -> Result<nix::Result<()>> {
        self.watch_by(|watching| {
            by_either(&by_descriptor(dir), dir.path(), |path| watching.watch(path, what))
        })
    }

    /// The same for a directory that is not ours.
    pub(super) fn watch_path(&mut self, path: &str, what: AddWatchFlags) -> Result<nix::Result<()>> {
        self.watch_by(|watching| watching.watch(path, what))
    }

    fn watch_by(&mut self, watch: impl Fn(&Watching) -> nix::Result<()>) -> Result<nix::Result<()>> {
        let ChangeWaiter::Watching(watching) = self else { return Ok(Ok(())) };
        match watch(watching) {
            Err(errno) if is_forbidden(errno) => {
                *self = ChangeWaiter::timed()?;
                Ok(Ok(()))
            }
            watched => Ok(watched),
        }
    }

    /// Forgets past events.
    pub(super) fn reset(&self) -> nix::Result<()> {
        match self {
            ChangeWaiter::Watching(watching) => watching.reset(),
            ChangeWaiter::Timed(timer) => match timer.wait() {
                Ok(()) | Err(Errno::EAGAIN) => Ok(()),
                Err(errno) => Err(errno),
            },
        }
    }

    /// Readable when there may be an event.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            ChangeWaiter::Watching(watching) => watching.set.0.as_fd(),
            ChangeWaiter::Timed(timer) => timer.as_fd(),
        }
    }
}

/// A client that waits by the instance of its process.
pub(super) struct Watching {
    instance: Arc<Instance>,
    doorbell: Arc<EventFd>,
    /// Of both.
    set: Epoll,
}

impl Watching {
    fn new(instance: Arc<Instance>) -> Result<Watching> {
        let failed = |errno| Error::os("make what a client waits by", errno);
        let doorbell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(failed)?;
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        for fd in [instance.inotify.as_fd(), doorbell.as_fd()] {
            set.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
        }
        let doorbell = Arc::new(doorbell);
        instance.concerns().push(Concern { doorbell: Arc::clone(&doorbell), watches: HashSet::new() });
        Ok(Watching { instance, doorbell, set })
    }

    fn watch(&self, path: &str, what: AddWatchFlags) -> nix::Result<()> {
        // Others may watch the same directory for something else.
        let what = what | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        // With the lock held, so that nobody takes an event before it is known whom it concerns.
        let mut concerns = self.instance.concerns();
        let watch = self.instance.inotify.add_watch(path, what)?;
        for own in concerns.iter_mut().filter(|concern| Arc::ptr_eq(&concern.doorbell, &self.doorbell)) {
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
        let mut concerns = self.instance.concerns();
        let Some(own) = concerns.iter().position(|concern| Arc::ptr_eq(&concern.doorbell, &self.doorbell))
        else {
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

    fn watching() -> Watching {
        Watching::new(Process::own().instance().unwrap().unwrap()).unwrap()
    }

    fn readable(fd: BorrowedFd<'_>) -> bool {
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn an_event_that_another_waiter_takes_is_passed_on() {
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
            "its watch went with another waiter's"
        );
        drop(second);
        fs::write(temp.path().join("third"), "").unwrap();
        let events = third.instance.inotify.read_events().expect("the end of the watch");
        let ended = |event: &nix::sys::inotify::InotifyEvent| event.mask.contains(AddWatchFlags::IN_IGNORED);
        assert!(events.iter().all(ended), "a watch has stayed: {events:?}");
    }

    #[test]
    fn a_forked_child_has_an_instance_of_its_own() {
        let waiter = watching();
        assert!(Arc::ptr_eq(&waiter.instance, &Process::own().instance().unwrap().unwrap()));
        // SAFETY: the child makes system calls and leaves.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let shares = Process::own()
                    .instance()
                    .is_ok_and(|own| own.is_some_and(|own| Arc::ptr_eq(&waiter.instance, &own)));
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
