//! The shared page and the two rings, seen from one side.

use std::ops::Range;
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::config::Configuration;
use crate::events::{Channel, Received};
use crate::memory::{self, Granter, Mapping, Share, PAGE};
use crate::orders::{self, Location};
use crate::root::Root;

/// Notification bit: requests an event after a write.
const WRITE: u8 = 1;
/// Notification bit: requests an event after a read.
const READ: u8 = 2;

const EXITED: u8 = 0;
const CONNECTED: u8 = 1;
const WAITING: u8 = 2;

const LEFT: usize = 0;
const RIGHT: usize = 8;
const LEFT_ORDER: usize = 16;
const RIGHT_ORDER: usize = 18;
const CLI_LIVE: usize = 20;
const SRV_LIVE: usize = 21;
const CLI_NOTIFY: usize = 22;
const SRV_NOTIFY: usize = 23;
const GRANTS: usize = 24;

enum Page {
    Shared(Share),
    Mapped(Mapping),
}

enum Store {
    InPage(usize),
    Shared(Share),
    Mapped(Mapping),
}

struct Ring {
    /// Offset of cons in the page; prod follows it.
    indices: usize,
    order: usize,
    store: Store,
}

/// The result of looking for data.
pub enum Look {
    /// Data in this part of the read ring.
    Data(Range<usize>),
    /// None yet.
    Empty,
    /// None, and the peer has left.
    End,
}

/// The result of a write attempt.
pub enum Put {
    /// This many bytes went into the ring.
    Bytes(usize),
    /// The peer is not connected (any more).
    End,
}

/// One side of a connection.
pub struct Endpoint {
    page: Page,
    read: Ring,
    write: Ring,
    /// The socket, until the endpoint is closed.
    pub channel: Option<Channel>,
    own_live: usize,
    peer_live: usize,
    own_notify: usize,
    peer_notify: usize,
    acknowledge: u32,
    /// Checks the ring again after the peer was seen gone, which the original does not.
    final_look: bool,
}

impl Endpoint {
    /// Creates the page and the rings, announces them and waits for the client.
    pub fn serve(root: &mut Root, buffer_size: usize, final_look: bool) -> Result<Endpoint, String> {
        let mut granter = Granter::new(root.memory_dir()?);
        let page = granter.share(1)?;
        let map = &page.mapping;
        map.u8(CLI_LIVE)?.store(WAITING, Ordering::SeqCst);
        map.u8(SRV_LIVE)?.store(CONNECTED, Ordering::SeqCst);
        map.u8(CLI_NOTIFY)?.store(WRITE, Ordering::SeqCst);
        map.u8(SRV_NOTIFY)?.store(0, Ordering::SeqCst);
        let (left_order, right_order) = orders::pick(buffer_size, buffer_size);
        map.store_u16(LEFT_ORDER, left_order as u16)?;
        map.store_u16(RIGHT_ORDER, right_order as u16)?;
        let mut grants = GRANTS;
        let mut store = |order| match orders::locate(order)? {
            Location::Page(offset) => Ok::<_, String>(Store::InPage(offset)),
            Location::Block(pages) => {
                let share = granter.share(pages)?;
                for &grant in &share.grants {
                    map.store_u32(grants, grant)?;
                    grants += 4;
                }
                Ok(Store::Shared(share))
            }
        };
        let (left, right) = (store(left_order)?, store(right_order)?);

        let path = root.path().join("0");
        let listener =
            UnixListener::bind(&path).map_err(|e| format!("listening on {}: {e}", path.display()))?;
        let ring_ref = page.grants[0].to_string();
        let event_channel = path.to_string_lossy().into_owned();
        Configuration { ring_ref, event_channel }.announce();
        let mut channel = Channel::accept(listener, &path)?;
        while page.mapping.u8(CLI_LIVE)?.load(Ordering::SeqCst) == WAITING {
            wait_for_event(&mut channel)?;
        }
        Ok(Endpoint {
            page: Page::Shared(page),
            read: Ring { indices: LEFT, order: LEFT_ORDER, store: left },
            write: Ring { indices: RIGHT, order: RIGHT_ORDER, store: right },
            channel: Some(channel),
            own_live: SRV_LIVE,
            peer_live: CLI_LIVE,
            own_notify: SRV_NOTIFY,
            peer_notify: CLI_NOTIFY,
            acknowledge: 0,
            final_look,
        })
    }

    /// Maps what a server announced and notifies it.
    pub fn connect(root: &mut Root, final_look: bool) -> Result<Endpoint, String> {
        let configuration = Configuration::from_environment()?;
        let dir = root.memory_dir()?;
        let ring_ref = &configuration.ring_ref;
        let page_grant: i32 = ring_ref.parse().map_err(|e| format!("ring_ref {ring_ref}: {e}"))?;
        let page = memory::map(&dir, &[page_grant as u32])?;
        let left = orders::locate(u32::from(page.load_u16(LEFT_ORDER)?))?;
        let right = orders::locate(u32::from(page.load_u16(RIGHT_ORDER)?))?;
        let mut channel = Channel::connect(&configuration.event_channel)?;
        let mut offset = GRANTS;
        let mut store = |location| match location {
            Location::Page(at) => Ok::<_, String>(Store::InPage(at)),
            Location::Block(pages) => {
                let end = offset + pages as usize * 4;
                if end > PAGE {
                    return Err(format!("{pages} grants do not fit in the page"));
                }
                let grants: Result<Vec<u32>, String> =
                    (offset..end).step_by(4).map(|at| page.load_u32(at)).collect();
                offset = end;
                Ok(Store::Mapped(memory::map(&dir, &grants?)?))
            }
        };
        let (left, right) = (store(left)?, store(right)?);
        page.u8(CLI_LIVE)?.store(CONNECTED, Ordering::SeqCst);
        page.u8(SRV_NOTIFY)?.store(WRITE, Ordering::SeqCst);
        channel.send()?;
        Ok(Endpoint {
            page: Page::Mapped(page),
            read: Ring { indices: RIGHT, order: RIGHT_ORDER, store: right },
            write: Ring { indices: LEFT, order: LEFT_ORDER, store: left },
            channel: Some(channel),
            own_live: CLI_LIVE,
            peer_live: SRV_LIVE,
            own_notify: CLI_NOTIFY,
            peer_notify: SRV_NOTIFY,
            acknowledge: 0,
            final_look,
        })
    }

    /// Begins a read: only now the bytes of the last read are acknowledged as consumed.
    pub fn begin_read(&mut self) -> Result<(), String> {
        self.page().store_u32(self.read.indices, self.acknowledge)?;
        self.notify(READ)
    }

    /// Looks for data up to the end of the ring: first at the index, then at the peer's state.
    pub fn look(&mut self) -> Result<Look, String> {
        let mut ready = self.used(&self.read)?;
        if ready < 1 {
            self.request(WRITE)?;
            ready = self.used(&self.read)?;
        }
        if ready == 0 {
            if self.peer_connected()? {
                return Ok(Look::Empty);
            }
            if self.final_look {
                ready = self.used(&self.read)?;
            }
            if ready == 0 {
                return Ok(Look::End);
            }
        }
        // A count beyond the ring is trusted: the bytes after it are returned as data.
        let ready = usize::try_from(ready).map_err(|_| format!("index out of bounds: {ready} ready"))?;
        let size = self.size(&self.read)?;
        let start = self.page().load_u32(self.read.indices)? as usize & (size - 1);
        let len = ready.min(size - start);
        self.acknowledge = self.acknowledge.wrapping_add(len as u32);
        Ok(Look::Data(start..start + len))
    }

    /// Copies a part that `look` returned.
    pub fn copy_out(&self, part: Range<usize>, out: &mut Vec<u8>) -> Result<(), String> {
        let (mapping, offset) = self.bytes(&self.read);
        mapping.read(offset + part.start, part.len(), out)
    }

    /// Writes what fits.
    pub fn put(&mut self, data: &[u8]) -> Result<Put, String> {
        if !self.peer_connected()? {
            return Ok(Put::End);
        }
        let wanted = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let mut space = self.space()?;
        // An exact fit requests a notification too, although it will not wait for one.
        if space <= wanted {
            self.request(READ)?;
            space = self.space()?;
        }
        let len = space.min(wanted);
        let len = usize::try_from(len).map_err(|_| format!("index out of bounds: space for {len}"))?;
        if len > 0 {
            let size = self.size(&self.write)?;
            let prod = self.page().load_u32(self.write.indices + 4)?;
            let start = prod as usize & (size - 1);
            let (first, second) = data[..len].split_at(len.min(size - start));
            let (mapping, offset) = self.bytes(&self.write);
            mapping.write(offset + start, first)?;
            mapping.write(offset, second)?;
            self.page().store_u32(self.write.indices + 4, prod.wrapping_add(len as u32))?;
            self.notify(WRITE)?;
        }
        Ok(Put::Bytes(len))
    }

    /// Leaves: notifies the peer, removes the names of what this side shared, closes the socket. The memory
    /// stays mapped, and `put` still works.
    pub fn close(&mut self) -> Result<(), String> {
        self.page().u8(self.own_live)?.store(EXITED, Ordering::SeqCst);
        if let Some(channel) = &mut self.channel {
            channel.send()?;
        }
        if let Page::Shared(page) = &self.page {
            // A server reads left and writes right.
            for ring in [&self.read, &self.write] {
                if let Store::Shared(share) = &ring.store {
                    share.unshare()?;
                }
            }
            page.unshare()?;
        }
        self.channel = None;
        Ok(())
    }

    fn page(&self) -> &Mapping {
        match &self.page {
            Page::Shared(share) => &share.mapping,
            Page::Mapped(mapping) => mapping,
        }
    }

    fn bytes<'a>(&'a self, ring: &'a Ring) -> (&'a Mapping, usize) {
        match &ring.store {
            Store::InPage(offset) => (self.page(), *offset),
            Store::Shared(share) => (&share.mapping, 0),
            Store::Mapped(mapping) => (mapping, 0),
        }
    }

    /// The order is read from the page each time.
    fn size(&self, ring: &Ring) -> Result<usize, String> {
        let order = self.page().load_u16(ring.order)?;
        1usize.checked_shl(u32::from(order)).ok_or_else(|| format!("Invalid ring order: {order}"))
    }

    fn used(&self, ring: &Ring) -> Result<i64, String> {
        let prod = self.page().load_u32(ring.indices + 4)?;
        let cons = self.page().load_u32(ring.indices)?;
        Ok(i64::from(prod.wrapping_sub(cons) as i32))
    }

    fn space(&self) -> Result<i64, String> {
        Ok(self.size(&self.write)? as i64 - self.used(&self.write)?)
    }

    fn peer_connected(&self) -> Result<bool, String> {
        for (name, live) in [("cli_live", CLI_LIVE), ("srv_live", SRV_LIVE)] {
            let value = self.page().u8(live)?.load(Ordering::SeqCst);
            if value > WAITING {
                return Err(format!("invalid argument: {name} is {value}"));
            }
        }
        Ok(self.page().u8(self.peer_live)?.load(Ordering::SeqCst) == CONNECTED)
    }

    fn request(&self, bit: u8) -> Result<(), String> {
        self.page().u8(self.peer_notify)?.fetch_or(bit, Ordering::SeqCst);
        Ok(())
    }

    fn notify(&mut self, bit: u8) -> Result<(), String> {
        let before = self.page().u8(self.own_notify)?.fetch_and(!bit, Ordering::SeqCst);
        match &mut self.channel {
            Some(channel) if before & bit != 0 => channel.send(),
            _ => Ok(()),
        }
    }
}

/// Waits for one event of a client that is connecting. If the client goes away before it has sent
/// one, the end of the stream is that event; after it none will come.
fn wait_for_event(channel: &mut Channel) -> Result<(), String> {
    while let Received::Nothing = channel.receive() {
        let mut fds: Vec<PollFd<'_>> =
            channel.readable().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(format!("waiting for the client: {e}")),
        }
    }
    Ok(())
}
