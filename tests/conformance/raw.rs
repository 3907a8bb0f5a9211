//! A peer without the library: it has the shared memory and the event channel, and follows no rules.

use std::sync::atomic::{fence, AtomicU16, AtomicU32, AtomicU8, Ordering};

use vchan::transport::{EventChannel, Mapping, Parts, Publication, Rendezvous, Role};

use crate::support::PORT;
use crate::world::{World, CLIENT, SERVER};

#[path = "../support/offsets.rs"]
mod offsets;
pub use offsets::*;

pub struct Raw {
    role: Role,
    // Dropped in this order: a server withdraws its name first.
    _publication: Option<Box<dyn Publication>>,
    events: Box<dyn EventChannel>,
    page: Box<dyn Mapping>,
    left: Option<Box<dyn Mapping>>,
    right: Option<Box<dyn Mapping>>,
}

fn open(world: &dyn World, role: Role) -> Parts {
    let path = format!("/local/domain/{SERVER}/data/vchan/{CLIENT}/{PORT}");
    let (transport, peer) = match role {
        Role::Server => (world.server(), CLIENT),
        Role::Client => (world.client(), SERVER),
    };
    transport.open(role, peer, &path).expect("open the transport")
}

impl Raw {
    /// A client that has mapped everything but has not announced itself.
    pub fn client(world: &dyn World) -> Raw {
        let parts = open(world, Role::Client);
        let rendezvous = parts.registry.look_up().expect("look up");
        let page = parts.memory.map(&[rendezvous.ring_ref]).expect("map the page");
        let events = parts.events.connect(&rendezvous.event_channel).expect("connect");
        let mut raw = Raw { role: Role::Client, _publication: None, events, page, left: None, right: None };
        let pages = |offset| 1usize << raw.u16(offset).load(Ordering::Acquire).saturating_sub(12);
        let (left, right) = (pages(LEFT_ORDER), pages(RIGHT_ORDER));
        let grant = |n: usize| raw.u32(24 + 4 * n).load(Ordering::Acquire);
        let grants = [(0..left).map(grant).collect(), (left..left + right).map(grant).collect()];
        let [left, right] = grants.map(|grants: Vec<u32>| parts.memory.map(&grants).expect("map a ring"));
        (raw.left, raw.right) = (Some(left), Some(right));
        raw
    }

    /// Announces the client.
    pub fn announce(&self) {
        self.u8(CLI_LIVE).store(1, Ordering::SeqCst);
        self.u8(SRV_NOTIFY).store(1, Ordering::SeqCst);
        self.send_event();
    }

    /// A server that publishes the given orders; its rings have 64 KiB each.
    pub fn server(world: &dyn World, left_order: u16, right_order: u16) -> Raw {
        let parts = open(world, Role::Server);
        let events = parts.events.listen().expect("listen");
        let page = parts.memory.share(1, None).expect("share the page");
        let ring = || parts.memory.share(16, None).expect("share a ring");
        let (left, right) = (ring(), ring());
        let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
        let grants = [left.grants(), right.grants()].concat();
        let mut raw = Raw {
            role: Role::Server,
            _publication: None,
            events,
            page,
            left: Some(left),
            right: Some(right),
        };
        for (n, &grant) in grants.iter().enumerate() {
            raw.u32(24 + 4 * n).store(grant, Ordering::Release);
        }
        raw.u16(LEFT_ORDER).store(left_order, Ordering::Release);
        raw.u16(RIGHT_ORDER).store(right_order, Ordering::Release);
        raw.u8(CLI_LIVE).store(2, Ordering::Release);
        raw.u8(SRV_LIVE).store(1, Ordering::Release);
        raw.u8(CLI_NOTIFY).store(1, Ordering::Release);
        raw._publication = Some(parts.registry.publish(&rendezvous).expect("publish"));
        raw
    }

    /// Sends an event.
    pub fn send_event(&self) {
        self.events.notify().expect("send an event");
    }

    /// Takes the pending events. A server must do that to accept a client.
    pub fn take_events(&self) -> bool {
        self.events.receive().expect("receive events").event
    }

    /// Writes like a correct peer, into a ring of 64 KiB with enough space and without wrapping.
    pub fn write(&self, data: &[u8]) {
        let (ring, prod) = match self.role {
            Role::Server => (&self.right, RIGHT_PROD),
            Role::Client => (&self.left, LEFT_PROD),
        };
        let prod = self.u32(prod);
        let at = prod.load(Ordering::Relaxed);
        let base = ring.as_ref().expect("a mapped ring").base();
        for (n, &byte) in data.iter().enumerate() {
            // SAFETY: inside the mapping, since the index is taken modulo its size; accessed only by atomics
            // here, and by raw copies in the library.
            unsafe { base.add((at as usize + n) % 65536).cast::<AtomicU8>().as_ref() }
                .store(byte, Ordering::Relaxed);
        }
        prod.store(at.wrapping_add(data.len() as u32), Ordering::Release);
        fence(Ordering::SeqCst);
        self.send_event();
    }

    pub fn u8(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < 4096);
        // SAFETY: inside the page, which is mapped while `self` lives.
        unsafe { self.page.base().add(offset).cast().as_ref() }
    }

    pub fn u16(&self, offset: usize) -> &AtomicU16 {
        assert!(offset < 4096 && offset % 2 == 0);
        // SAFETY: as above, and aligned.
        unsafe { self.page.base().add(offset).cast().as_ref() }
    }

    pub fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset < 4096 && offset % 4 == 0);
        // SAFETY: as above, and aligned.
        unsafe { self.page.base().add(offset).cast().as_ref() }
    }
}
