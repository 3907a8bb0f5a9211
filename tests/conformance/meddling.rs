//! A transport whose events misbehave on demand; everything else is the transport below it.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use nix::sys::eventfd::EventFd;
use vchan::transport::{EventChannel, EventSet, Events, Parts, Readiness, Received, Role, Tokens, Transport};
use vchan::{DomId, Error, Result};

/// What is wrong with the events.
#[derive(Clone)]
pub struct Mischief {
    /// Another event is always there.
    pub tireless: Arc<AtomicBool>,
    /// The descriptor is always readable, and no event is there.
    pub stray: Arc<AtomicBool>,
    /// None can be taken: the event channel fails.
    broken: Arc<AtomicBool>,
    /// Readable once that is so.
    failure: Arc<EventFd>,
    /// None can be sent.
    pub mute: Arc<AtomicBool>,
    /// How often events have been taken.
    pub looks: Arc<AtomicUsize>,
}

impl Mischief {
    fn new() -> Mischief {
        let flag = || Arc::new(AtomicBool::new(false));
        let failure = Arc::new(EventFd::from_value(0).expect("an eventfd"));
        let (tireless, stray, broken, mute) = (flag(), flag(), flag(), flag());
        Mischief { tireless, stray, broken, failure, mute, looks: Arc::default() }
    }

    /// From now on the event channel fails, and its descriptor says that there is something to take.
    pub fn break_it(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.failure.write(1).expect("write to an eventfd");
    }
}

#[derive(Clone)]
pub struct Meddling {
    below: Arc<dyn Transport>,
    mischief: Mischief,
}

impl Meddling {
    pub fn new(below: Arc<dyn Transport>) -> Meddling {
        Meddling { below, mischief: Mischief::new() }
    }

    /// The switches, for all channels of this transport.
    pub fn mischief(&self) -> Mischief {
        self.mischief.clone()
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
        let events = MeddlingEvents { below: parts.events, mischief: self.mischief.clone() };
        Ok(Parts { events: Box::new(events), ..parts })
    }
}

struct MeddlingEvents {
    below: Box<dyn Events>,
    mischief: Mischief,
}

impl MeddlingEvents {
    fn around(&self, below: Box<dyn EventChannel>) -> Box<dyn EventChannel> {
        let always = EventFd::from_value(1).expect("an eventfd");
        Box::new(MeddlingChannel { below, mischief: self.mischief.clone(), always })
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
    mischief: Mischief,
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
        if self.mischief.tireless.load(Ordering::Relaxed) || self.mischief.stray.load(Ordering::Relaxed) {
            set.add(&self.always, Readiness::READABLE, tokens.readable).expect("watch the eventfd");
        }
        set.add(&*self.mischief.failure, Readiness::READABLE, tokens.readable).expect("watch the eventfd");
        self.below.attach(set, tokens)
    }

    fn notify(&self) -> Result<()> {
        if self.mischief.mute.load(Ordering::Relaxed) {
            return Err(Error::os("send an event", nix::errno::Errno::EIO));
        }
        self.below.notify()
    }

    fn receive(&self) -> Result<Received> {
        self.mischief.looks.fetch_add(1, Ordering::Relaxed);
        if self.mischief.broken.load(Ordering::SeqCst) {
            return Err(Error::os("receive an event", nix::errno::Errno::EIO));
        }
        let received = self.below.receive()?;
        Ok(Received { event: received.event || self.mischief.tireless.load(Ordering::Relaxed), ..received })
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
