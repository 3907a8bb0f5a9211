//! What a model's channels run on: memory, an event channel, and a wait that the checker controls.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::channel::channel::{Channel, ChannelParts, Settings};
use crate::channel::wait::sync::{CheckersCondvar, Mutex};
use crate::channel::Closer;
use crate::ring::{Endpoint, Orders, Rings, SharedPage};
use crate::transport::{EventChannel, EventSet, Mapping, Readiness, Received, Rendezvous, Tokens};
use crate::Result;

/// Where the threads of one side wait for a descriptor to become readable. What makes one readable rings it.
pub(in crate::channel) struct Doorbell {
    lock: Mutex<()>,
    rung: CheckersCondvar,
}

thread_local! {
    /// Both sides' doorbells of the current world. All threads of a model run on one thread of the system.
    static DOORBELLS: RefCell<Vec<Arc<Doorbell>>> = const { RefCell::new(Vec::new()) };
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doorbell")
    }
}

impl Doorbell {
    fn new() -> Arc<Doorbell> {
        Arc::new(Doorbell { lock: Mutex::new(()), rung: CheckersCondvar::new() })
    }

    /// The doorbell of the side whose local event port is `port`.
    pub(in crate::channel) fn of_port(port: u32) -> Arc<Doorbell> {
        DOORBELLS.with_borrow(|doorbells| doorbells[port as usize - 1].clone())
    }

    /// A descriptor became readable, on one side or the other.
    pub(in crate::channel) fn ring_all() {
        let doorbells = DOORBELLS.with_borrow(Vec::clone);
        doorbells.iter().for_each(|doorbell| doorbell.ring(|| ()));
    }

    /// Runs what makes a descriptor readable.
    fn ring<T>(&self, body: impl FnOnce() -> T) -> T {
        let _guard = self.lock.lock().unwrap();
        let result = body();
        self.rung.notify_all();
        result
    }

    /// Runs what depends on a descriptor.
    fn quietly<T>(&self, body: impl FnOnce() -> T) -> T {
        let _guard = self.lock.lock().unwrap();
        body()
    }

    pub(in crate::channel) fn wait_until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        let mut guard = self.lock.lock().unwrap();
        loop {
            if let Some(result) = ready() {
                return result;
            }
            guard = self.rung.wait(guard).unwrap();
        }
    }

    /// Waits until `fd` is readable, like a program that polls.
    pub(super) fn poll(&self, fd: BorrowedFd<'_>) {
        // The descriptor stays readable until the thread that takes the event has run.
        #[cfg(shuttle)]
        shuttle::thread::yield_now();
        self.wait_until(|| {
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
            (poll(&mut fds, PollTimeout::ZERO).unwrap() > 0).then_some(())
        });
    }
}

/// The page and both rings.
struct SharedMemory {
    page: Box<SharedPage>,
    rings: [Vec<Byte>; 2],
}

#[cfg(loom)]
use crate::ring::Byte;
#[cfg(not(loom))]
type Byte = std::cell::UnsafeCell<u8>;

/// Keeps the memory for the life of a channel.
struct Held(Arc<SharedMemory>);

// SAFETY: the threads of a model take turns; loom checks what they do to the bytes.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

// SAFETY: only the endpoints use the address, and those know that it leads to a model's page.
unsafe impl Mapping for Held {
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0.page).cast()
    }

    fn pages(&self) -> usize {
        0
    }

    fn grants(&self) -> &[u32] {
        &[]
    }
}

/// What both ends of an event channel share. Server first.
struct Line {
    pending: [EventFd; 2],
    doorbells: [Arc<Doorbell>; 2],
    gone: [AtomicBool; 2],
}

/// One end of the event channel.
struct End {
    line: Arc<Line>,
    /// 0 for the server, 1 for the client.
    side: usize,
    extensions: bool,
    /// Whether heavy fences reach it.
    reached: bool,
}

impl Line {
    fn send(&self, to: usize) {
        // A failed model must not be entered again during clean-up.
        if std::thread::panicking() {
            return;
        }
        self.doorbells[to].ring(|| self.pending[to].write(1).unwrap());
    }
}

impl EventChannel for End {
    fn name(&self) -> String {
        String::new()
    }

    fn local_port(&self) -> u32 {
        self.side as u32 + 1
    }

    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        (self.line.pending[self.side].as_fd(), Readiness::WRITABLE)
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        set.add(&self.line.pending[self.side], Readiness::READABLE, tokens.readable)
            .map_err(|errno| crate::Error::os("watch an eventfd", errno))
    }

    fn notify(&self) -> Result<()> {
        self.line.send(1 - self.side);
        Ok(())
    }

    fn receive(&self) -> Result<Received> {
        self.line.doorbells[self.side].quietly(|| {
            let event = self.line.pending[self.side].read().is_ok();
            Ok(Received { event, ended: self.ended() })
        })
    }

    fn peer_has_extensions(&self) -> bool {
        self.extensions
    }

    fn same_scheduler(&self) -> bool {
        self.reached
    }

    fn ended(&self) -> bool {
        self.line.gone[1 - self.side].load(Ordering::SeqCst)
    }

    fn rearm(&self) -> Result<bool> {
        self.line.gone[1 - self.side].store(false, Ordering::SeqCst);
        Ok(true)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.line.gone[self.side].store(true, Ordering::SeqCst);
        self.line.send(1 - self.side);
    }
}

/// A shared page, and both ends of an event channel.
pub(super) struct World {
    memory: Arc<SharedMemory>,
    line: Arc<Line>,
    orders: Orders,
    spin: bool,
    extensions: bool,
}

impl World {
    /// Rings of `1 << left` and `1 << right` bytes. With `spin` the sides check once more before they enable a
    /// notification. Peers with extensions offer each other heavy fences.
    pub(super) fn new(left: u8, right: u8, spin: bool, extensions: bool) -> World {
        let orders = Orders::small(left, right);
        let ring = |order: u8| (0..1 << order).map(|_| Byte::new(0)).collect();
        let memory = SharedMemory { page: Box::new(SharedPage::zeroed()), rings: [ring(left), ring(right)] };
        let pending = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        let doorbells = [Doorbell::new(), Doorbell::new()];
        DOORBELLS.set(doorbells.to_vec());
        let line = Line { pending: [pending(), pending()], doorbells, gone: Default::default() };
        World { memory: Arc::new(memory), line: Arc::new(line), orders, spin, extensions }
    }

    /// Both ends, connected. The indices begin just before they wrap.
    pub(super) fn pair(&self) -> (Arc<Channel>, Arc<Channel>) {
        (self.server(u32::MAX), self.client())
    }

    pub(super) fn server(&self, first: u32) -> Arc<Channel> {
        let held = Held(self.memory.clone());
        // SAFETY: the page is zeroed, the rings have as many bytes as the orders say; the channel holds both.
        let ring = unsafe { Endpoint::server(held.base(), self.rings(), self.orders, first) };
        self.channel(ring, held, 0, self.extensions, true)
    }

    /// A client that has just come.
    pub(super) fn client(&self) -> Arc<Channel> {
        let held = Held(self.memory.clone());
        // SAFETY: as above.
        let ring = unsafe { Endpoint::client(held.base(), self.rings(), self.orders) }.unwrap();
        let client = self.channel(ring, held, 1, self.extensions, true);
        client.ring().announce();
        client.notify().unwrap();
        client
    }

    /// A new client that heavy fences do not reach: of another implementation, which ignores the bits of earlier
    /// clients, or of this one.
    #[cfg(loom)]
    pub(super) fn unreached_client(&self, foreign: bool) -> Arc<Channel> {
        let held = Held(self.memory.clone());
        // SAFETY: as above.
        let ring = unsafe { Endpoint::client(held.base(), self.rings(), self.orders) }.unwrap();
        let client = self.channel(ring, held, 1, false, false);
        if foreign {
            use crate::ring::Interest;
            use loom::sync::atomic::Ordering::SeqCst;
            self.memory.page.cli_live.store(1, SeqCst);
            self.memory.page.srv_notify.fetch_or(Interest::Readable.bit(), SeqCst);
        } else {
            client.ring().announce();
        }
        client.notify().unwrap();
        client
    }

    /// The memory's two ends without channels.
    #[cfg(shuttle)]
    pub(super) fn endpoints(&self, first: u32) -> (Endpoint, Endpoint) {
        let page = NonNull::from(&*self.memory.page).cast();
        // SAFETY: as above, and the world outlives the ends in every model.
        let server = unsafe { Endpoint::server(page, self.rings(), self.orders, first) };
        // SAFETY: as above.
        let client = unsafe { Endpoint::client(page, self.rings(), self.orders) }.unwrap();
        (server, client)
    }

    fn rings(&self) -> Rings {
        let [left, right] = self.memory.rings.each_ref().map(|ring| Some(NonNull::from(&ring[0]).cast()));
        Rings { left, right }
    }

    fn channel(
        &self,
        ring: Endpoint,
        held: Held,
        side: usize,
        extensions: bool,
        reached: bool,
    ) -> Arc<Channel> {
        let parts = ChannelParts {
            ring,
            events: Box::new(End { line: self.line.clone(), side, extensions, reached }),
            mappings: vec![Box::new(held)],
            publication: None,
            rendezvous: Rendezvous { ring_ref: 0, event_channel: String::new() },
            path: String::new(),
        };
        let spin = std::time::Duration::from_micros(if self.spin { 50 } else { 0 });
        let settings =
            Settings { spin: Some(spin), extra_events: false, persistent: false, half_closes: true };
        Channel::new(parts, &Closer::new(), settings).unwrap()
    }

    #[cfg(loom)]
    /// A stray event to one side: 0 the server, 1 the client.
    pub(super) fn stray_event(&self, side: usize) {
        self.line.send(side);
    }

    /// Where the threads of one side wait.
    pub(super) fn doorbell(&self, side: usize) -> Arc<Doorbell> {
        self.line.doorbells[side].clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        DOORBELLS.take();
    }
}
