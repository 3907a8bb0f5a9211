//! One side of a channel's shared memory: both rings, the live bytes, the notify bytes.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering as Private};
use std::sync::Arc;

use super::buffer::RingBuffer;
use super::consumer::Consumer;
use super::corrupt::{Corrupt, Field, Poison};
use super::fence_elision;
use super::interest::Interest;
use super::layout::{Indices, SharedPage};
use super::notify;
use super::order::Orders;
use super::page::Page;
use super::producer::Producer;
use super::role::Role;
use super::stream_end::{self, Said};
use super::sync::{AtomicU8, Ordering};

/// The meaning of a live byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLive {
    /// The peer has left.
    Exited,
    /// The peer is connected.
    Connected,
    /// No client has come yet. Only a server sees this.
    Waiting,
}

const EXITED: u8 = 0;
const CONNECTED: u8 = 1;
pub(crate) const WAITING: u8 = 2;

/// One side of the shared memory.
#[derive(Debug)]
pub struct Endpoint {
    page: Arc<Page>,
    /// The ring that this side writes.
    pub producer: Producer,
    /// The ring that this side reads.
    pub consumer: Consumer,
    /// A client has come before, so its live byte cannot mean `Waiting` any more.
    met: AtomicBool,
    /// The peer knows that this side understands half-close and abort.
    acknowledged: AtomicBool,
}

/// The memory of a channel's rings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rings {
    /// The left ring, if it has pages of its own.
    pub left: Option<NonNull<u8>>,
    /// The right ring, if it has pages of its own.
    pub right: Option<NonNull<u8>>,
}

impl Endpoint {
    /// Lays out a fresh shared page for a server before it publishes: orders, live bytes, and a notification for the
    /// client's first write. Both indices begin at `first`: 0, except in tests of the wrap.
    ///
    /// # Safety
    ///
    /// `page` must point at a zeroed page, and the rings at as many bytes as the orders say, all mapped for the life
    /// of the endpoint. A ring of order 12 or more must have pages of its own.
    pub(crate) unsafe fn server(page: NonNull<u8>, rings: Rings, orders: Orders, first: u32) -> Endpoint {
        let page: NonNull<SharedPage> = page.cast();
        // SAFETY: the caller's.
        let fields = unsafe { page.as_ref() };
        for index in [&fields.left.cons, &fields.left.prod, &fields.right.cons, &fields.right.prod] {
            index.store(first, Ordering::Relaxed);
        }
        fields.left_order.store(orders.left().get() as u16, Ordering::Relaxed);
        fields.right_order.store(orders.right().get() as u16, Ordering::Relaxed);
        fields.cli_live.store(WAITING, Ordering::Relaxed);
        fields.srv_live.store(CONNECTED, Ordering::Relaxed);
        fields.cli_notify.store(Interest::Readable.bit(), Ordering::Release);
        // SAFETY: the caller's.
        unsafe { Endpoint::over(page, rings, orders, Role::Server) }
    }

    /// Takes the client's side of a page that a server laid out. The orders come from [`published`](Self::published).
    /// The server sees nothing yet, see [`announce`](Self::announce).
    ///
    /// # Safety
    ///
    /// As for [`server`](Self::server), except for the zeroes.
    pub(crate) unsafe fn client(
        page: NonNull<u8>,
        rings: Rings,
        orders: Orders,
    ) -> Result<Endpoint, Corrupt> {
        // SAFETY: the caller's.
        let endpoint = unsafe { Endpoint::over(page.cast(), rings, orders, Role::Client) };
        endpoint.producer.space()?;
        endpoint.consumer.ready()?;
        Ok(endpoint)
    }

    /// Reads what a server published in its page: the checked orders, and the grants of both rings. They are never
    /// read again.
    ///
    /// # Safety
    ///
    /// `page` must point at a mapped page.
    pub(crate) unsafe fn published(page: NonNull<u8>) -> Result<(Orders, Vec<u32>, Vec<u32>), Corrupt> {
        // SAFETY: the caller's.
        let fields = unsafe { page.cast::<SharedPage>().as_ref() };
        let left = fields.left_order.load(Ordering::Acquire);
        let orders = Orders::check(left, fields.right_order.load(Ordering::Acquire))?;
        let mut grants = fields.grants.iter().map(|grant| grant.load(Ordering::Relaxed));
        let left = grants.by_ref().take(orders.left().pages()).collect();
        let right = grants.take(orders.right().pages()).collect();
        Ok((orders, left, right))
    }

    /// Writes the grants of both rings into a server's page.
    ///
    /// # Safety
    ///
    /// `page` must point at a mapped page.
    pub(crate) unsafe fn publish_grants(page: NonNull<u8>, left: &[u32], right: &[u32]) {
        // SAFETY: the caller's.
        let fields = unsafe { page.cast::<SharedPage>().as_ref() };
        for (field, &grant) in fields.grants.iter().zip(left.iter().chain(right)) {
            field.store(grant, Ordering::Release);
        }
    }

    /// # Safety
    ///
    /// As for `server` and `client`.
    unsafe fn over(page: NonNull<SharedPage>, rings: Rings, orders: Orders, role: Role) -> Endpoint {
        let place = |own: Option<NonNull<u8>>, order: super::Order| {
            let start = match order.offset_in_page() {
                // SAFETY: both in-page rings end within the page.
                Some(offset) => unsafe { page.cast::<u8>().add(offset) },
                None => own.expect("a ring of order 12 and more has pages"),
            };
            // SAFETY: as many bytes as the order says, by the caller's contract.
            unsafe { RingBuffer::new(start, order.size()) }
        };
        let left = place(rings.left, orders.left());
        let right = place(rings.right, orders.right());
        let (read, write) = match role {
            Role::Server => (left, right),
            Role::Client => (right, left),
        };
        let page = Arc::new(Page {
            start: page,
            role,
            poison: Poison::default(),
            heavy_fences: AtomicBool::new(false),
            may_elide: AtomicBool::new(false),
        });
        let indices = |ring: &Indices| (ring.cons.load(Ordering::Acquire), ring.prod.load(Ordering::Acquire));
        let (cons, prod) = indices(page.read_ring());
        let consumer = Consumer::new(page.clone(), read, cons, prod);
        let (cons, prod) = indices(page.written_ring());
        let producer = Producer::new(page.clone(), write, prod, cons);
        let (met, acknowledged) = (AtomicBool::new(role == Role::Client), AtomicBool::new(false));
        Endpoint { page, producer, consumer, met, acknowledged }
    }

    /// Announces this client in the page. An event must follow.
    pub(crate) fn announce(&self) {
        let page = self.page.fields();
        fence_elision::reset(&page.cli_notify, &page.srv_notify);
        // Before the live byte: a server that sees its client sees this, too.
        self.acknowledge();
        page.cli_live.store(CONNECTED, Ordering::SeqCst);
        page.srv_notify.fetch_or(Interest::Readable.bit(), Ordering::SeqCst);
    }

    /// Announces that this side understands half-close and abort. A client does so when it comes, a server answers. So
    /// the page of a client of another implementation stays unchanged.
    fn acknowledge(&self) {
        if !self.acknowledged.swap(true, Private::Relaxed) {
            stream_end::understand(self.page.peer_notify());
        }
    }

    /// From now on, does not announce half-close and abort to the peer.
    pub(crate) fn keep_silent(&self) {
        self.acknowledged.store(true, Private::Relaxed);
    }

    fn said(&self) -> Said {
        Said::look(self.page.own_notify())
    }

    /// Whether the peer understands half-close and abort. If so, announces the same for this side.
    pub(crate) fn peer_half_closes(&self) -> bool {
        let understood = self.said().understood();
        if understood {
            self.acknowledge();
        }
        understood
    }

    /// Whether the peer has ended its stream. A check of the index after this finds the last byte.
    pub(crate) fn peer_finished(&self) -> bool {
        self.said().finished()
    }

    /// Whether the peer announced a failure before it left.
    pub(crate) fn peer_aborted(&self) -> bool {
        self.said().aborted()
    }

    /// Ends this side's stream. An event must follow.
    pub(crate) fn finish(&self) {
        stream_end::finish(self.page.peer_notify());
    }

    /// Announces a failure, before this side [leaves](Self::leave).
    pub(crate) fn abort(&self) {
        stream_end::abort(self.page.peer_notify());
    }

    /// The address of the shared page, for programs that inspect it.
    pub fn page(&self) -> NonNull<SharedPage> {
        self.page.start
    }

    /// Which side this is.
    pub fn role(&self) -> Role {
        self.page.role
    }

    /// Fails if an impossible value was seen.
    #[inline]
    pub fn check(&self) -> Result<(), Corrupt> {
        self.page.poison.check()
    }

    /// The state in the peer's live byte.
    #[inline]
    pub fn peer_live(&self) -> Result<PeerLive, Corrupt> {
        self.page.poison.check()?;
        let page = self.page.fields();
        let (field, byte) = match self.page.role {
            Role::Server => (Field::CliLive, page.cli_live.load(Ordering::Acquire)),
            Role::Client => (Field::SrvLive, page.srv_live.load(Ordering::Acquire)),
        };
        match byte {
            EXITED | CONNECTED => {
                self.met.store(true, Private::Relaxed);
                Ok(if byte == EXITED { PeerLive::Exited } else { PeerLive::Connected })
            }
            WAITING if !self.met.load(Private::Relaxed) => Ok(PeerLive::Waiting),
            impossible => Err(self.page.poison.set(field, impossible.into())),
        }
    }

    /// Whether this side's live byte is still set. A C program may have cleared it, and so may the peer.
    pub fn own_live(&self) -> bool {
        self.own_live_byte().load(Ordering::Acquire) != EXITED
    }

    /// Clears this side's live byte. An event must follow.
    pub fn leave(&self) {
        self.own_live_byte().store(EXITED, Ordering::SeqCst);
    }

    fn own_live_byte(&self) -> &AtomicU8 {
        match self.page.role {
            Role::Server => &self.page.fields().srv_live,
            Role::Client => &self.page.fields().cli_live,
        }
    }

    /// Asks the peer for an event after it next moves its index. The caller checks the index again before it sleeps,
    /// after [a heavy fence](crate::fence::heavy) if this returns `true`: the peer publishes without a fence then.
    #[must_use]
    pub fn enable_notification(&self, interest: Interest) -> bool {
        notify::enable_notification(self.page.peer_notify(), interest)
            && self.page.heavy_fences.load(Private::Relaxed)
    }

    /// From now on this side can make heavy fences, which reach the peer's process, and the peer's reach this one.
    /// Without this the page is used as by every other implementation.
    pub(crate) fn allow_fence_elision(&self) {
        self.page.heavy_fences.store(true, Private::Relaxed);
        self.page.may_elide.store(true, Private::Relaxed);
    }

    /// From now on every publication has a fence, whatever is offered: the offer may be an earlier client's. Any
    /// thread may call this, also while another publishes.
    pub(crate) fn stop_eliding(&self) {
        self.page.may_elide.store(false, Private::SeqCst);
        self.producer.stop_eliding();
        self.consumer.stop_eliding();
    }

    /// Whether a publication goes without a fence, since the peer offered heavy ones.
    pub(crate) fn elides(&self) -> bool {
        self.producer.elides() || self.consumer.elides()
    }

    /// Offers the peer a heavy fence after each request, so that it needs none to publish, or withdraws the offer.
    /// Only after [`allow_fence_elision`](Self::allow_fence_elision).
    pub(crate) fn offer_heavy_fences(&self, offered: bool) {
        fence_elision::offer(self.page.peer_notify(), offered);
    }

    /// The size in bytes of the ring that this interest is in.
    #[inline]
    pub fn size(&self, interest: Interest) -> u32 {
        match interest {
            Interest::Readable => self.consumer.size(),
            Interest::Writable => self.producer.size(),
        }
    }

    /// Bytes ready for this interest. Checks the peer's index only if fewer than `enough` are known.
    #[inline]
    pub fn known(&self, interest: Interest, enough: usize) -> Result<u32, Corrupt> {
        match interest {
            Interest::Readable => self.consumer.ready_for(enough),
            Interest::Writable => self.producer.space_for(enough),
        }
    }

    /// Bytes ready for this interest, by a fresh check.
    #[inline]
    pub fn available(&self, interest: Interest) -> Result<u32, Corrupt> {
        match interest {
            Interest::Readable => self.consumer.ready(),
            Interest::Writable => self.producer.space(),
        }
    }
}
