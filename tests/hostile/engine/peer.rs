//! The hostile peer: it has the shared memory and the event channel, and follows no rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vchan::transport::{EventChannel, Mapping, Parts, Publication, Rendezvous, Role, Transport};

use super::page::*;
use super::script::Script;
use super::tally::count;

/// The domain of servers.
pub const SERVER: u16 = 0;
/// The domain of clients.
pub const CLIENT: u16 = 7;
/// The port name.
pub const PORT: &str = "hostile";

/// The names of a peer's actions.
pub const ACTS: [&str; 18] = [
    "index-beyond",
    "index-near",
    "index-any",
    "index-of-victim",
    "index-back-and-forth",
    "live-byte",
    "live-byte-of-victim",
    "notify-bytes",
    "orders",
    "grants",
    "any-byte",
    "ring-bytes",
    "event",
    "event-flood",
    "produce",
    "consume",
    "leave",
    "events-taken",
];
/// Actions that end or renew the event channel.
pub const RARE_ACTS: [&str; 2] = ["event-channel-dropped", "reconnect"];

/// The action on transports with memory files.
pub const TRUNCATE: &str = "file-truncated";

pub struct Peer {
    transport: Arc<dyn Transport>,
    role: Role,
    // Dropped in this order: a server withdraws its name first.
    _publication: Option<Box<dyn Publication>>,
    events: Option<Box<dyn EventChannel>>,
    pub pages: Pages,
    prod: u32,
    cons: u32,
    /// The actions that this peer uses. A peer that uses all is detected at once.
    allowed: u32,
    /// The directory of the memory files, if the peer truncates them.
    files: Option<PathBuf>,
}

fn open(transport: &dyn Transport, role: Role) -> vchan::Result<Parts> {
    let path = format!("/local/domain/{SERVER}/data/vchan/{CLIENT}/{PORT}");
    let peer = if role == Role::Server { CLIENT } else { SERVER };
    transport.open(role, peer, &path)
}

impl Peer {
    /// A client that has mapped everything but has not announced itself.
    pub fn client(transport: Arc<dyn Transport>) -> vchan::Result<Peer> {
        let parts = open(&*transport, Role::Client)?;
        let rendezvous = parts.registry.look_up()?;
        let page = parts.memory.map(&[rendezvous.ring_ref])?;
        let events = parts.events.connect(&rendezvous.event_channel)?;
        // A correct server's page, read like a hostile one's.
        let mut pages = Pages::new(Role::Server, [Some(page), None, None], [10, 11]);
        let orders = [LEFT_ORDER, RIGHT_ORDER].map(|at| pages.u16(at));
        let of = |order: u16| if order < 12 { 0 } else { 1usize << (order - 12) };
        let (left, right) = (of(orders[0]), of(orders[1]));
        let grants = |from: usize, len: usize| -> Vec<u32> {
            (from..from + len).map(|n| pages.u32(GRANTS + 4 * n)).collect()
        };
        let map = |grants: Vec<u32>| (!grants.is_empty()).then(|| parts.memory.map(&grants)).transpose();
        let (left, right) = (map(grants(0, left))?, map(grants(left, right))?);
        pages = pages.with_rings(left, right, orders);
        let first = pages.u32(LEFT_PROD);
        Ok(Peer::over(transport, Role::Client, None, events, pages, first))
    }

    /// A server whose rings have the script's orders, and which publishes these or, sometimes, others.
    pub fn server(transport: Arc<dyn Transport>, script: &mut Script) -> vchan::Result<Peer> {
        let parts = open(&*transport, Role::Server)?;
        let events = parts.events.listen()?;
        let page = parts.memory.share(1, None)?;
        let orders =
            [[10, 11], [11, 10], [12, 12], [11, 12], [12, 10], [12, 13], [13, 12], [14, 14]][script.below(8)];
        let share = |order: u16| -> vchan::Result<Option<Box<dyn Mapping>>> {
            (order >= 12).then(|| parts.memory.share(1 << (order - 12), None)).transpose()
        };
        let (left, right) = (share(orders[0])?, share(orders[1])?);
        let grants: Vec<u32> = [&left, &right]
            .iter()
            .flat_map(|ring| ring.iter().flat_map(|ring| ring.grants()))
            .copied()
            .collect();
        let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
        let mut pages = Pages::new(Role::Client, [Some(page), left, right], orders);
        let first = if script.once_in(2) { 0 } else { script.u32() };
        for index in [LEFT_CONS, LEFT_PROD, RIGHT_CONS, RIGHT_PROD] {
            pages.set_u32(index, first);
        }
        for (n, &grant) in grants.iter().enumerate() {
            pages.set_u32(GRANTS + 4 * n, grant);
        }
        for (at, order) in [LEFT_ORDER, RIGHT_ORDER].into_iter().zip(orders) {
            pages.set_u16(
                at,
                if script.once_in(16) { script.u32() as u16 >> (script.byte() % 16) } else { order },
            );
        }
        for (at, value) in [(CLI_LIVE, 2), (SRV_LIVE, 1), (CLI_NOTIFY, 1)] {
            pages.set_u8(at, value);
        }
        let publication = Some(parts.registry.publish(&rendezvous)?);
        Ok(Peer::over(transport, Role::Server, publication, events, pages, first))
    }

    fn over(
        transport: Arc<dyn Transport>,
        role: Role,
        publication: Option<Box<dyn Publication>>,
        events: Box<dyn EventChannel>,
        pages: Pages,
        first: u32,
    ) -> Peer {
        Peer {
            transport,
            role,
            _publication: publication,
            events: Some(events),
            pages,
            prod: first,
            cons: first,
            allowed: u32::MAX,
            files: None,
        }
    }

    /// Announces the client.
    pub fn announce(&mut self) {
        self.pages.set_u8(CLI_LIVE, 1);
        self.pages.set_u8(SRV_NOTIFY, 1);
        self.event();
    }

    /// Sends an event.
    pub fn event(&self) {
        if let Some(events) = &self.events {
            // A failure means that the victim is gone.
            let _ = events.notify();
        }
    }

    /// Restricts the actions.
    pub fn restrict(&mut self, allowed: u32) {
        self.allowed = allowed;
    }

    /// Truncates the files in this directory from now on.
    pub fn truncate_files(&mut self, directory: &Path) {
        self.files = Some(directory.into());
    }

    fn truncate(&self, directory: &Path, script: &mut Script) {
        // A server that has closed has removed the directory.
        let Ok(files) = std::fs::read_dir(directory) else { return };
        let files = files.flatten();
        let len = [0, 0, 1024, 4096][script.below(4)];
        for file in files.skip(script.below(3)).take(1 + script.below(3)) {
            // Its owner may just have removed it.
            if let Ok(file) = std::fs::OpenOptions::new().write(true).open(file.path()) {
                file.set_len(len).expect("truncate");
            }
        }
    }

    /// Performs the script's next action.
    pub fn act(&mut self, script: &mut Script, acts: &mut BTreeMap<&'static str, u64>) {
        let choice = script.byte();
        let number = usize::from(choice) % ACTS.len();
        let name = match choice {
            240..=249 if self.files.is_some() => TRUNCATE,
            250..=252 => RARE_ACTS[0],
            253.. => RARE_ACTS[1],
            _ if self.allowed & 1 << number == 0 => ["produce", "consume", "event"][number % 3],
            _ => ACTS[number],
        };
        count(acts, name);
        let index = self.pages.peers_indices()[script.below(2)];
        let ring = if index == self.pages.peers_indices()[0] { self.pages.read } else { self.pages.written };
        match name {
            "index-beyond" => {
                let beyond = [ring.size + 1, u32::MAX, 1 << 31, ring.size * 2][script.below(4)];
                self.pages.set_u32(index, self.pages.u32(index).wrapping_add(beyond));
            }
            "index-near" => {
                let victims = self.pages.victims_indices().map(|at| self.pages.u32(at));
                let step = u32::from(script.byte()).wrapping_sub(4);
                self.pages.set_u32(index, victims[script.below(2)].wrapping_add(step));
            }
            "index-any" => self.pages.set_u32(index, script.u32()),
            "index-of-victim" => {
                self.pages.set_u32(self.pages.victims_indices()[script.below(2)], script.u32())
            }
            "index-back-and-forth" => self.flip(script),
            "live-byte" => self.pages.set_u8(self.pages.live()[1], [1, 1, 1, 0, 2, 3, 255][script.below(7)]),
            "live-byte-of-victim" => self.pages.set_u8(self.pages.live()[0], script.byte() % 4),
            "notify-bytes" => self.pages.set_u8(CLI_NOTIFY + script.below(2), script.byte()),
            "orders" => self.pages.set_u16([LEFT_ORDER, RIGHT_ORDER][script.below(2)], script.u32() as u16),
            "grants" => self.pages.set_u32(GRANTS + 4 * script.below(250), script.u32()),
            "any-byte" => {
                let at = script.u32() as usize % if script.once_in(2) { 4096 } else { 32 };
                self.pages.set_u8(at, script.byte());
            }
            "ring-bytes" => {
                let ring = [self.pages.read, self.pages.written][script.below(2)];
                let (from, value) = (script.u32(), script.byte());
                for n in 0..u32::from(script.byte()) {
                    self.pages.set_ring(ring, from.wrapping_add(n), value);
                }
            }
            "event" => self.event(),
            "event-flood" => (0..100).for_each(|_| self.event()),
            "produce" => {
                let there = self.prod.wrapping_sub(self.pages.u32(self.pages.victims_indices()[1]));
                let space = self.pages.read.size.saturating_sub(there);
                self.prod = self.prod.wrapping_add(script.length() as u32 % (space + 1));
                self.pages.set_u32(self.pages.peers_indices()[0], self.prod);
                self.event();
            }
            "consume" => {
                let there = self.pages.u32(self.pages.victims_indices()[0]).wrapping_sub(self.cons);
                let there = there.min(self.pages.written.size);
                self.cons = self.cons.wrapping_add(script.length() as u32 % (there + 1));
                self.pages.set_u32(self.pages.peers_indices()[1], self.cons);
                self.event();
            }
            "leave" => {
                // Rarely: little is left to test after that.
                if script.once_in(4) {
                    self.pages.set_u8(self.pages.live()[1], 0);
                    self.event();
                }
            }
            "events-taken" => {
                let _ = self.events.as_ref().map(|events| events.receive());
            }
            TRUNCATE => {
                if let Some(directory) = self.files.clone() {
                    self.truncate(&directory, script);
                }
            }
            "event-channel-dropped" => self.events = None,
            _ => self.reconnect(),
        }
    }

    /// Alternates between data and none: reading the index twice yields different values.
    fn flip(&mut self, script: &mut Script) {
        let reads = script.once_in(2);
        let (peers, victims) = (self.pages.peers_indices(), self.pages.victims_indices());
        let (at, nothing) = match reads {
            true => (peers[0], self.pages.u32(victims[1])),
            false => (peers[1], self.pages.u32(victims[0]).wrapping_sub(self.pages.written.size)),
        };
        for round in 0..64 {
            self.pages.set_u32(at, nothing.wrapping_add(round % 2));
        }
    }

    fn reconnect(&mut self) {
        if self.role == Role::Server {
            return self.event();
        }
        self.events = None;
        let events = open(&*self.transport, Role::Client).and_then(|parts| {
            parts.registry.look_up().and_then(|rendezvous| parts.events.connect(&rendezvous.event_channel))
        });
        self.events = events.ok();
        self.announce();
    }
}
