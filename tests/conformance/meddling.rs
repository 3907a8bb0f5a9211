//! A transport whose events misbehave on demand; everything else is the transport below it.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use vchan::transport::{EventChannel, Events, Parts, Received, Role, Tokens, Transport};
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

pub struct Meddling<'a> {
    below: &'a dyn Transport,
    mischief: Mischief,
}

impl Meddling<'_> {
    pub fn new(below: &dyn Transport) -> Meddling<'_> {
        Meddling { below, mischief: Mischief::new() }
    }

    /// The switches, for all channels of this transport.
    pub fn mischief(&self) -> Mischief {
        self.mischief.clone()
    }
}

impl Transport for Meddling<'_> {
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

    fn always_ready(&self) -> (BorrowedFd<'_>, EpollFlags) {
        self.below.always_ready()
    }

    fn attach(&self, epoll: Arc<Epoll>, tokens: Tokens) -> Result<()> {
        if self.mischief.tireless.load(Ordering::Relaxed) || self.mischief.stray.load(Ordering::Relaxed) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, tokens.readable);
            epoll.add(&self.always, event).expect("watch the eventfd");
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN, tokens.readable);
        epoll.add(&*self.mischief.failure, event).expect("watch the eventfd");
        self.below.attach(epoll, tokens)
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
