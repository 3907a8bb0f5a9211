//! Channels within one process, for tests and examples: "domains" are labels, events are eventfds.
//!
//! The smallest transport; it lets the whole crate be tested without files.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{
    CrashNotice, EventChannel, EventSet, Events, Mapping, Memory, Parts, Publication, Readiness, Received,
    Registry, Rendezvous, Role, Tokens, Transport, Watch,
};
use crate::ring::PAGE_SIZE;
use crate::{DomId, Error, Result};

/// A machine: domains made from one `InProcess` can connect to each other, those of different ones can't.
///
/// ```
/// use vchan::transport::{in_process::InProcess, Transport};
/// let machine = InProcess::new();
/// assert_eq!(machine.domain(3).own_domid().unwrap(), 3);
/// ```
#[derive(Clone, Default)]
pub struct InProcess {
    machine: Arc<Mutex<Machine>>,
}

#[derive(Default)]
struct Machine {
    next: u32,
    pages: HashMap<u32, Arc<Pages>>,
    ports: HashMap<u32, Arc<Line>>,
    names: HashMap<String, Rendezvous>,
    watchers: Vec<std::sync::Weak<EventFd>>,
}

impl Machine {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn changed(&mut self) {
        self.watchers.retain(|watcher| watcher.upgrade().is_some_and(|fd| fd.write(1).is_ok()));
    }
}

impl InProcess {
    /// A new machine with nothing on it.
    pub fn new() -> InProcess {
        InProcess::default()
    }

    /// The transport as seen from domain `id`.
    pub fn domain(&self, id: DomId) -> Domain {
        Domain { machine: self.machine.clone(), id }
    }

    /// Whether nothing is shared, bound or published any more.
    pub fn is_clean(&self) -> bool {
        let machine = lock(&self.machine);
        machine.pages.is_empty() && machine.ports.is_empty() && machine.names.is_empty()
    }
}

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One domain of an [`InProcess`] machine.
///
/// ```
/// use vchan::{transport::in_process::InProcess, Listener};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let listener = Listener::builder(1, "x").transport(machine.domain(0)).bind()?;
/// assert!(!machine.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Domain {
    machine: Arc<Mutex<Machine>>,
    id: DomId,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Transport for Domain {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn own_domid(&self) -> Result<DomId> {
        Ok(self.id)
    }

    fn open(&self, _role: Role, _peer: DomId, path: &str) -> Result<Parts> {
        let path =
            if path.starts_with('/') { path.to_owned() } else { format!("/local/domain/{}/{path}", self.id) };
        let shared = || self.machine.clone();
        Ok(Parts {
            memory: Box::new(LocalMemory { machine: shared() }),
            events: Box::new(LocalEvents { machine: shared() }),
            registry: Box::new(LocalRegistry { machine: shared(), path }),
        })
    }
}

struct LocalMemory {
    machine: Arc<Mutex<Machine>>,
}

/// Zeroed pages on the heap.
struct Pages {
    start: NonNull<u8>,
    layout: std::alloc::Layout,
}

// SAFETY: plain memory, accessed only through the raw pointer.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(pages: usize) -> Result<Pages> {
        let layout = std::alloc::Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE)
            .ok()
            .filter(|layout| layout.size() > 0)
            .ok_or_else(|| Error::Invalid(format!("cannot share {pages} pages, expected at least 1")))?;
        // SAFETY: the layout's size isn't 0.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        let start = start.ok_or_else(|| Error::os("allocate pages", nix::errno::Errno::ENOMEM))?;
        Ok(Pages { start, layout })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

struct LocalMapping {
    pages: Arc<Pages>,
    grants: Vec<u32>,
    shared_in: Option<Arc<Mutex<Machine>>>,
}

// SAFETY: the pages live as long as the `Arc`.
unsafe impl Mapping for LocalMapping {
    fn base(&self) -> NonNull<u8> {
        self.pages.start
    }

    fn pages(&self) -> usize {
        self.pages.layout.size() / PAGE_SIZE
    }

    fn grants(&self) -> &[u32] {
        &self.grants
    }
}

impl Drop for LocalMapping {
    fn drop(&mut self) {
        if let Some(machine) = &self.shared_in {
            lock(machine).pages.remove(&self.grants[0]);
        }
    }
}

impl Memory for LocalMemory {
    fn share(&self, pages: usize, _crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>> {
        let block = Arc::new(Pages::new(pages)?);
        let mut machine = lock(&self.machine);
        let grants: Vec<u32> = (0..pages).map(|_| machine.number()).collect();
        machine.pages.insert(grants[0], block.clone());
        Ok(Box::new(LocalMapping { pages: block, grants, shared_in: Some(self.machine.clone()) }))
    }

    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>> {
        let machine = lock(&self.machine);
        let pages = grants
            .first()
            .and_then(|first| machine.pages.get(first))
            .filter(|pages| pages.layout.size() == grants.len() * PAGE_SIZE)
            .ok_or_else(|| Error::Invalid(format!("no pages are shared as grants {grants:?}")))?;
        Ok(Box::new(LocalMapping { pages: pages.clone(), grants: grants.to_vec(), shared_in: None }))
    }
}

fn new_eventfd() -> Result<EventFd> {
    EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|errno| Error::os("create an eventfd", errno))
}

/// Clears the counter.
fn reset(eventfd: &EventFd) -> Result<()> {
    match eventfd.read() {
        Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
        Err(errno) => Err(Error::os("read an eventfd", errno)),
    }
}

/// The two ends of an event channel, `[listener, connector]`.
struct Line {
    /// Edge-triggered, and never read.
    doorbells: [EventFd; 2],
    /// Readable once the other end was dropped.
    ends: [EventFd; 2],
    /// The ends that were dropped.
    gone: Mutex<HashSet<usize>>,
    taken: Mutex<bool>,
    /// One client after another can connect.
    many: AtomicBool,
}

impl Line {
    fn waits_for_a_client(&self) -> bool {
        self.many.load(Ordering::SeqCst) || !*self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LocalEvents {
    machine: Arc<Mutex<Machine>>,
}

struct LocalChannel {
    machine: Arc<Mutex<Machine>>,
    line: Arc<Line>,
    port: u32,
    end: usize,
}

impl Events for LocalEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        let pair = || Ok::<_, Error>([new_eventfd()?, new_eventfd()?]);
        let line = Arc::new(Line {
            doorbells: pair()?,
            ends: pair()?,
            gone: Mutex::default(),
            taken: Mutex::new(false),
            many: AtomicBool::new(false),
        });
        let mut machine = lock(&self.machine);
        let port = machine.number();
        machine.ports.insert(port, line.clone());
        Ok(Box::new(LocalChannel { machine: self.machine.clone(), line, port, end: 0 }))
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        let unbound = || Error::NoServer { path: format!("port {remote}"), why: "it is not bound".into() };
        let port: u32 = remote.parse().map_err(|_| unbound())?;
        let line = lock(&self.machine).ports.get(&port).cloned().ok_or_else(unbound)?;
        let mut taken = line.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *taken, true) {
            return Err(Error::InUse {
                path: format!("port {remote}"),
                why: "it has a client already".into(),
                serving: false,
            });
        }
        drop(taken);
        Ok(Box::new(LocalChannel { machine: self.machine.clone(), line, port, end: 1 }))
    }
}

impl LocalChannel {
    fn gone(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.line.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventChannel for LocalChannel {
    fn name(&self) -> String {
        self.port.to_string()
    }

    fn local_port(&self) -> u32 {
        self.port
    }

    /// An eventfd that is not full is always writable.
    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        (self.line.doorbells[self.end].as_fd(), Readiness::WRITABLE)
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        let edges = Readiness::READABLE.on_edges();
        set.add(&self.line.doorbells[self.end], edges, tokens.rung)
            .and_then(|()| set.add(&self.line.ends[self.end], Readiness::READABLE, tokens.readable))
            .map_err(|error| Error::os("watch an eventfd", error))
    }

    fn notify(&self) -> Result<()> {
        // A full counter already stands for an event.
        match self.line.doorbells[1 - self.end].write(1) {
            Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(Error::os("send an event", errno)),
        }
    }

    fn receive(&self) -> Result<Received> {
        Ok(Received { event: false, ended: self.ended() })
    }

    fn peer_has_extensions(&self) -> bool {
        true
    }

    fn ended(&self) -> bool {
        self.gone().contains(&(1 - self.end))
    }

    fn serve_many(&self, many: bool) -> Result<()> {
        self.line.many.store(many, Ordering::SeqCst);
        Ok(())
    }

    fn rearm(&self) -> Result<bool> {
        let mut gone = self.gone();
        reset(&self.line.ends[self.end])?;
        gone.remove(&(1 - self.end));
        drop(gone);
        *self.line.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        lock(&self.machine).changed();
        Ok(true)
    }
}

impl Drop for LocalChannel {
    fn drop(&mut self) {
        if self.end == 0 {
            lock(&self.machine).ports.remove(&self.port);
        }
        let mut gone = self.gone();
        gone.insert(self.end);
        // Wakes the other end, which then sees that this one is gone. A failure cannot be reported.
        let _ = self.line.ends[1 - self.end].write(1);
    }
}

struct LocalRegistry {
    machine: Arc<Mutex<Machine>>,
    path: String,
}

struct Published {
    machine: Arc<Mutex<Machine>>,
    path: String,
    rendezvous: Rendezvous,
}

impl Registry for LocalRegistry {
    fn path(&self) -> &str {
        &self.path
    }

    fn publish(&self, rendezvous: &Rendezvous) -> Result<Box<dyn Publication>> {
        let mut machine = lock(&self.machine);
        let waits = |other: &Rendezvous| {
            let line = other.event_channel.parse().ok().and_then(|port: u32| machine.ports.get(&port));
            line.is_some_and(|line| line.waits_for_a_client())
        };
        if machine.names.get(&self.path).is_some_and(waits) {
            let why = "another server already waits for a client there".into();
            return Err(Error::InUse { path: self.path.clone(), why, serving: true });
        }
        machine.names.insert(self.path.clone(), rendezvous.clone());
        machine.changed();
        Ok(Box::new(Published {
            machine: self.machine.clone(),
            path: self.path.clone(),
            rendezvous: rendezvous.clone(),
        }))
    }

    fn look_up(&self) -> Result<Rendezvous> {
        let missing = || Error::NoServer { path: self.path.clone(), why: "nothing is published".into() };
        lock(&self.machine).names.get(&self.path).cloned().ok_or_else(missing)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        let doorbell = Arc::new(new_eventfd()?);
        lock(&self.machine).watchers.push(Arc::downgrade(&doorbell));
        Ok(Box::new(LocalWatch { doorbell }))
    }
}

impl Publication for Published {}

impl Drop for Published {
    fn drop(&mut self) {
        let mut machine = lock(&self.machine);
        // A later server may own the name by now.
        if machine.names.get(&self.path) == Some(&self.rendezvous) {
            machine.names.remove(&self.path);
            machine.changed();
        }
    }
}

struct LocalWatch {
    doorbell: Arc<EventFd>,
}

impl Watch for LocalWatch {
    fn renew(&mut self) -> Result<()> {
        reset(&self.doorbell)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }
}
