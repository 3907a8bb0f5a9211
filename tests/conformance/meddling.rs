//! A transport with faulty events on demand; everything else is passed to the underlying transport.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use nix::sys::eventfd::EventFd;
use vchan::transport::{EventChannel, EventSet, Events, Parts, Readiness, Received, Role, Tokens, Transport};
use vchan::{DomId, Error, Result};

/// The faults.
#[derive(Clone)]
pub struct Faults {
    /// There is always another event.
    pub endless: Arc<AtomicBool>,
    /// The descriptor is always readable, without an event.
    pub stray: Arc<AtomicBool>,
    /// Receiving fails.
    broken: Arc<AtomicBool>,
    /// Readable once receiving fails.
    failure: Arc<EventFd>,
    /// Sending fails.
    pub mute: Arc<AtomicBool>,
    /// How often events were received.
    pub receives: Arc<AtomicUsize>,
}

impl Faults {
    fn new() -> Faults {
        let flag = || Arc::new(AtomicBool::new(false));
        let failure = Arc::new(EventFd::from_value(0).expect("an eventfd"));
        let (endless, stray, broken, mute) = (flag(), flag(), flag(), flag());
        Faults { endless, stray, broken, failure, mute, receives: Arc::default() }
    }

    /// From now on the event channel fails, and its descriptor is readable.
    pub fn fail(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.failure.write(1).expect("write to an eventfd");
    }
}

#[derive(Clone)]
pub struct Meddling {
    below: Arc<dyn Transport>,
    faults: Faults,
}

impl Meddling {
    pub fn new(below: Arc<dyn Transport>) -> Meddling {
        Meddling { below, faults: Faults::new() }
    }

    /// The faults, shared by all channels of this transport.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

impl Transport for Meddling {
    fn name(&self) -> &'static str {
        "meddling"
    }

    fn own_domid(&self) -> Result<DomId> {
        self.below.own_domid()
    }

    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts> {
        let parts = self.below.open(role, peer, path)?;
        let events = MeddlingEvents { below: parts.events, faults: self.faults.clone() };
        Ok(Parts { events: Box::new(events), ..parts })
    }
}

struct MeddlingEvents {
    below: Box<dyn Events>,
    faults: Faults,
}

impl MeddlingEvents {
    fn around(&self, below: Box<dyn EventChannel>) -> Box<dyn EventChannel> {
        let always = EventFd::from_value(1).expect("an eventfd");
        Box::new(MeddlingChannel { below, faults: self.faults.clone(), always })
    }
}

impl Events for MeddlingEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        Ok(self.around(self.below.listen()?))
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        Ok(self.around(self.below.connect(remote)?))
    }
}

struct MeddlingChannel {
    below: Box<dyn EventChannel>,
    faults: Faults,
    /// Always readable.
    always: EventFd,
}

impl EventChannel for MeddlingChannel {
    fn name(&self) -> String {
        self.below.name()
    }

    fn local_port(&self) -> u32 {
        self.below.local_port()
    }

    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        self.below.always_ready()
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        if self.faults.endless.load(Ordering::Relaxed) || self.faults.stray.load(Ordering::Relaxed) {
            set.add(&self.always, Readiness::READABLE, tokens.readable).expect("watch the eventfd");
        }
        set.add(&*self.faults.failure, Readiness::READABLE, tokens.readable).expect("watch the eventfd");
        self.below.attach(set, tokens)
    }

    fn notify(&self) -> Result<()> {
        if self.faults.mute.load(Ordering::Relaxed) {
            return Err(Error::os("send an event", nix::errno::Errno::EIO));
        }
        self.below.notify()
    }

    fn receive(&self) -> Result<Received> {
        self.faults.receives.fetch_add(1, Ordering::Relaxed);
        if self.faults.broken.load(Ordering::SeqCst) {
            return Err(Error::os("receive an event", nix::errno::Errno::EIO));
        }
        let received = self.below.receive()?;
        Ok(Received { event: received.event || self.faults.endless.load(Ordering::Relaxed), ..received })
    }

    fn ended(&self) -> bool {
        self.below.ended()
    }

    fn serve_many(&self, many: bool) -> Result<()> {
        self.below.serve_many(many)
    }

    fn rearm(&self) -> Result<bool> {
        self.below.rearm()
    }
}
