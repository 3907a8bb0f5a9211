//! The Unix transport from outside: several servers and clients, in this process and in others.

mod child;
mod confined;
mod crowded;
mod doorbells;
mod events;
mod killed;
mod leftovers;
mod lost;
mod many;
mod modes;
mod no_proc;
mod others;
mod rendezvous;
mod waiting;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use tempfile::TempDir;
use vchan::transport::unix::UnixTransport;
use vchan::transport::{
    EventChannel, EventSet, Mapping, Parts, Publication, Received, Rendezvous, Role, Tokens, Transport,
};
use vchan::Result;

/// Far longer than any operation here.
const LONG: Duration = Duration::from_secs(60);

/// A directory that other users cannot enter.
fn private_dir() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn transport(root: &Path) -> UnixTransport {
    UnixTransport::with_root(root).unwrap()
}

/// A server that is ready for its client. The fields are dropped in order.
struct Server {
    _publication: Box<dyn Publication>,
    _rings: Vec<Box<dyn Mapping>>,
    page: Box<dyn Mapping>,
    events: Box<dyn EventChannel>,
    rendezvous: Rendezvous,
}

impl Server {
    fn start(root: &Path, path: &str) -> Result<Server> {
        Server::start_sized(root, path, 16)
    }

    fn start_sized(root: &Path, path: &str, ring_pages: usize) -> Result<Server> {
        let parts = transport(root).open(Role::Server, 1, path)?;
        let events = parts.events.listen()?;
        let page = parts.memory.share(1, None)?;
        let left = parts.memory.share(ring_pages, None)?;
        let right = parts.memory.share(ring_pages, None)?;
        let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
        let publication = parts.registry.publish(&rendezvous)?;
        Ok(Server { _publication: publication, _rings: vec![left, right], page, events, rendezvous })
    }
}

/// A connected client.
struct Client {
    page: Box<dyn Mapping>,
    events: Box<dyn EventChannel>,
}

impl Client {
    fn start(root: &Path, path: &str) -> Result<Client> {
        Client::connect(&transport(root).open(Role::Client, 0, path)?)
    }

    fn connect(parts: &Parts) -> Result<Client> {
        let rendezvous = parts.registry.look_up()?;
        let page = parts.memory.map(&[rendezvous.ring_ref])?;
        let events = parts.events.connect(&rendezvous.event_channel)?;
        Ok(Client { page, events })
    }
}

/// A server's channel, once its client has connected.
fn accept(listening: vchan::Vchan, limit: Option<Duration>) -> vchan::Result<vchan::Vchan> {
    listening.wait_for_client(limit).map(|()| listening)
}

const TOKENS: Tokens = Tokens { readable: 42, rung: 43 };

/// An event set in which a channel is registered.
struct Waiter {
    epoll: Epoll,
    _set: Arc<EventSet>,
}

impl Waiter {
    fn on(channel: &dyn EventChannel) -> Waiter {
        let set = Arc::new(EventSet::new().unwrap());
        channel.attach(Arc::clone(&set), TOKENS).unwrap();
        let epoll = Epoll(set.as_fd().try_clone_to_owned().unwrap());
        Waiter { epoll, _set: set }
    }

    /// Waits until the channel is ready and takes its events; repeats that until `enough`.
    fn until(&self, channel: &dyn EventChannel, enough: impl Fn(Received) -> bool) -> Received {
        let deadline = Instant::now() + LONG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = self.wait(EpollTimeout::try_from(left).unwrap());
            assert!(!found.is_empty(), "no event came");
            let mut received = Received::default();
            if found.contains(&TOKENS.readable) {
                received = channel.receive().unwrap();
            }
            received.event |= found.contains(&TOKENS.rung);
            if enough(received) {
                return received;
            }
        }
    }

    /// The ready tokens. Takes doorbell events.
    fn wait(&self, timeout: EpollTimeout) -> Vec<u64> {
        let mut found = [EpollEvent::empty(); 4];
        let count = self.epoll.wait(&mut found, timeout).unwrap();
        found[..count].iter().map(|event| event.data()).collect()
    }

    /// Takes no events.
    fn is_ready(&self) -> bool {
        readable(&self.epoll.0, Duration::ZERO)
    }
}

/// Whether the descriptor becomes readable within `limit`.
fn readable(fd: impl AsFd, limit: Duration) -> bool {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::try_from(limit).unwrap()).unwrap() > 0
}

fn write_byte(mapping: &dyn Mapping, offset: usize, byte: u8) {
    assert!(offset < mapping.pages() * 4096);
    // SAFETY: within the mapping; the other process reads it only on request.
    unsafe { mapping.base().add(offset).write_volatile(byte) }
}

fn read_byte(mapping: &dyn Mapping, offset: usize) -> u8 {
    assert!(offset < mapping.pages() * 4096);
    // SAFETY: as above.
    unsafe { mapping.base().add(offset).read_volatile() }
}

/// Every file and directory below `root`, sorted.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}
