//! Detects that a waiting server has lost its name: its socket, or the whole root, was removed.
//!
//! All such servers of a process share one inotify instance, separate from that of its clients, which get
//! many events. The socket's own inode is watched, so that other files in the directory cause no events. Any
//! waiting server takes the events of all, and makes the epoll sets of the lost ones permanently readable. A
//! lock is waited for only briefly: a signal handler can have interrupted its holder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::eventfd::EventFd;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::descriptor::{by_descriptor, by_either};
use super::slot::Slot;
use crate::transport::{EventSet, Readiness};

/// A link to the inode was removed, or the file system was unmounted.
const REMOVED: AddWatchFlags = AddWatchFlags::IN_ATTRIB
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_DONT_FOLLOW);

/// How long the lock is waited for. Other threads hold it for a few system calls, a call that a signal handler has
/// interrupted holds it for ever.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
const LOCK_RETRY: Duration = Duration::from_millis(1);

fn try_to_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Locks, after waiting for another thread. `None` if a call that a signal handler has interrupted holds the lock.
pub(super) fn lock_soon<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match try_to_lock(mutex) {
            None if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            locked => return locked,
        }
    }
}

type Names = Vec<(WatchDescriptor, Arc<Name>)>;

/// The servers of one process whose names are watched.
pub(super) struct Servers {
    pid: u32,
    inotify: Inotify,
    names: Mutex<Names>,
}

impl Servers {
    /// Without any names. A failure, such as a limit, is no reason for a server to fail.
    pub(super) fn new() -> Option<Servers> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        Some(Servers { pid: std::process::id(), inotify, names: Mutex::default() })
    }

    fn watch(&self, slot: &Slot, name: &Arc<Name>) -> Option<WatchDescriptor> {
        let dir = slot.dir().ok()??;
        let socket = slot.socket_name();
        let mut names = lock_soon(&self.names)?;
        let add = |path: &str| self.inotify.add_watch(path, REMOVED);
        let watch =
            by_either(&format!("{}/{socket}", by_descriptor(&dir)), &dir.path_of(&socket), add).ok()?;
        names.push((watch, Arc::clone(name)));
        Some(watch)
    }

    /// Takes all events, and checks the names they concern.
    fn distribute(&self, names: &[(WatchDescriptor, Arc<Name>)]) {
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            for event in events {
                let all = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                for (_, name) in names.iter().filter(|(watch, _)| all || *watch == event.wd) {
                    name.check();
                }
            }
        }
    }
}

/// One server's name.
struct Name {
    slot: Weak<Slot>,
    lost: AtomicBool,
    set: Arc<EventSet>,
    doorbell: Arc<EventFd>,
    token: u64,
}

impl Name {
    /// Checks whether the name is lost, and if so makes its epoll set readable.
    fn check(&self) {
        if self.slot.upgrade().is_some_and(|slot| slot.is_lost()) {
            self.lost.store(true, Ordering::SeqCst);
            // The doorbell has no peer and is always readable. A failure means that it is not in the set any
            // more.
            let _ = self.set.modify(&*self.doorbell, Readiness::READABLE, self.token);
        }
    }
}

/// Watches a name until this is dropped.
pub(super) struct NameWatch {
    name: Arc<Name>,
    watched: Option<(Arc<Servers>, WatchDescriptor)>,
}

impl NameWatch {
    /// Watches the slot's socket. Its loss makes `set` readable with `token`; `doorbell` is in that set.
    pub(super) fn new(
        servers: Option<Arc<Servers>>,
        slot: &Arc<Slot>,
        set: &Arc<EventSet>,
        doorbell: &Arc<EventFd>,
        token: u64,
    ) -> NameWatch {
        let name = Arc::new(Name {
            slot: Arc::downgrade(slot),
            lost: AtomicBool::new(false),
            set: Arc::clone(set),
            doorbell: Arc::clone(doorbell),
            token,
        });
        let watched = servers.and_then(|servers| {
            let watch = servers.watch(slot, &name)?;
            let watched = NameWatch { name: Arc::clone(&name), watched: Some((servers, watch)) };
            let (servers, _) = watched.watched.as_ref()?;
            let added = set.add(&servers.inotify, Readiness::READABLE, token).is_ok();
            added.then_some(watched)
        });
        // It may have been lost before the watch.
        name.check();
        watched.unwrap_or(NameWatch { name, watched: None })
    }

    /// Whether the name is lost. Takes the inotify events.
    pub(super) fn is_lost(&self) -> bool {
        if let Some((servers, _)) = &self.watched {
            if servers.pid != std::process::id() {
                // A forked child shares the parent's events, but has none of its names.
                servers.distribute(&[]);
                self.name.check();
            } else if let Some(names) = try_to_lock(&servers.names) {
                servers.distribute(&names);
            }
        }
        self.name.lost.load(Ordering::SeqCst)
    }
}

impl Drop for NameWatch {
    fn drop(&mut self) {
        let Some((servers, watch)) = self.watched.take() else { return };
        // A forked child shares the parent's epoll set and inotify instance, which the parent still needs.
        if servers.pid != std::process::id() {
            return;
        }
        let _ = self.name.set.remove(&servers.inotify);
        let mut names = lock_soon(&servers.names);
        if let Some(names) = &mut names {
            names.retain(|(_, name)| !Arc::ptr_eq(name, &self.name));
            if names.is_empty() {
                // No name is left, and dropping the instance removes the watch.
                return;
            }
        }
        // The watch may be gone already. Its removal is an event, which must not wake the others. Without the names it does:
        // taking events would lose those of others.
        let _ = servers.inotify.rm_watch(watch);
        if let Some(names) = names {
            servers.distribute(&names);
        }
    }
}
