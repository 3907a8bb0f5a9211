//! One end of a channel: its memory, event channel, waiter, and how far it has ended. Shared by both halves.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::closer::{Closable, Closer};
use super::wait::{cancel, Waiter};
use super::State;
use crate::fault::{fault, Fault};
use crate::ring::{Endpoint, Interest, PeerLive, Role};
use crate::transport::{EventChannel, Mapping, Publication, Readiness, Rendezvous};
use crate::{Error, Result};

/// This side may write.
const WRITING: u8 = 0;
/// This side has announced that it writes no more.
const FINISHED: u8 = 1;
/// This side has announced that it left.
const LEFT: u8 = 2;

/// The parts of a channel, see [`Channel::new`].
pub(super) struct ChannelParts {
    pub ring: Endpoint,
    pub events: Box<dyn EventChannel>,
    pub mappings: Vec<Box<dyn Mapping>>,
    pub publication: Option<Box<dyn Publication>>,
    pub rendezvous: Rendezvous,
    pub path: String,
}

/// How a channel behaves; see [`ListenerBuilder`](super::ListenerBuilder).
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub spin: Option<Duration>,
    pub extra_events: bool,
    pub persistent: bool,
    pub half_closes: bool,
}

/// One end of a channel, shared between threads.
///
/// One thread may read while another writes and a third closes. Two that read at once, or write at once, mix up their
/// data and may make the channel [corrupt](Error::Corrupt), but touch no other memory. [`Vchan`](super::Vchan) rules
/// that out by its types. This type is for interfaces that cannot, such as C's.
// The fields are dropped in this order: the name first, the memory last.
pub struct Channel {
    publication: Mutex<Option<Box<dyn Publication>>>,
    pub(super) ring: Endpoint,
    pub(super) waiter: Waiter,
    pub(super) events: Box<dyn EventChannel>,
    closer: Closer,
    /// The event channel reported the end of the peer.
    ended: AtomicBool,
    /// How far this side has ended its stream: one of the constants above.
    stage: AtomicU8,
    /// This side has begun to leave. `stage` becomes `LEFT` only after the shared page says so.
    leaving: AtomicBool,
    pub(super) persistent: AtomicBool,
    /// Several clients may have used the memory. An end of stream in the page may stem from an earlier one.
    many_clients: AtomicBool,
    /// This end supports half-close and abort.
    half_closes: bool,
    rendezvous: Rendezvous,
    path: String,
    /// Behind `ring`, which points here.
    _mappings: Vec<Box<dyn Mapping>>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("path", &self.path).field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Channel {
    pub(super) fn new(parts: ChannelParts, closer: &Closer, settings: Settings) -> Result<Arc<Channel>> {
        let waiter = Waiter::new(&*parts.events, settings.spin, settings.extra_events)?;
        let channel = Arc::new(Channel {
            waiter,
            publication: Mutex::new(parts.publication),
            ring: parts.ring,
            events: parts.events,
            closer: closer.clone(),
            ended: AtomicBool::new(false),
            stage: AtomicU8::new(WRITING),
            leaving: AtomicBool::new(false),
            persistent: AtomicBool::new(false),
            many_clients: AtomicBool::new(false),
            half_closes: settings.half_closes,
            rendezvous: parts.rendezvous,
            path: parts.path,
            _mappings: parts.mappings,
        });
        if !settings.half_closes {
            channel.ring.keep_silent();
        }
        if channel.waiter.can_offer_heavy_fences() {
            channel.ring.allow_fence_elision();
        }
        closer.bind(Arc::downgrade(&channel) as Weak<dyn Closable>)?;
        if settings.persistent {
            channel.set_persistent(true)?;
        }
        Ok(channel)
    }

    /// The shared memory of this end.
    pub fn ring(&self) -> &Endpoint {
        &self.ring
    }

    /// What the server published.
    pub fn rendezvous(&self) -> &Rendezvous {
        &self.rendezvous
    }

    /// The configuration path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// From now on a call that waits may also end as [interrupted](Error::Interrupted) so that its caller can check
    /// for a cancellation of the thread, see [`cancellation`](super::cancellation).
    #[doc(hidden)]
    pub fn look_for_cancellation(&self) {
        self.waiter.look_for_cancellation();
    }

    /// The handle that closes this channel.
    pub fn closer(&self) -> &Closer {
        &self.closer
    }

    /// The descriptor to poll for one direction, or for both, see [`Vchan`](super::Vchan). Made on first request,
    /// which fails where no descriptor is free.
    pub fn fd(&self, interest: Option<Interest>) -> Result<BorrowedFd<'_>> {
        // The name may be lost while no call waits.
        self.watch_name();
        self.waiter.fd(self, interest)
    }

    /// From now on the descriptors become readable if a server that waits for its client loses its name.
    pub(super) fn watch_name(&self) {
        if self.events.name_watch_delay().is_some() {
            self.events.watch_name();
        }
    }

    /// As [`fd`](Self::fd). If that fails, an always readable descriptor, or else [`events_fd`](Self::events_fd).
    pub(super) fn fd_in_any_case(&self, interest: Option<Interest>) -> BorrowedFd<'_> {
        self.fd(interest).unwrap_or_else(|_| match self.events.always_ready() {
            (fd, Readiness::READABLE) => fd,
            _ => self.events_fd(),
        })
    }

    /// Readable when an event has come that no call has taken. Also when this side has lost its name, which is noticed
    /// only after a call has waited for a second. Unlike [`fd`](Self::fd) it does not report what another thread's
    /// call has taken, and costs nothing unless it is polled.
    pub fn events_fd(&self) -> BorrowedFd<'_> {
        self.waiter.events_fd()
    }

    /// The local event port, never 0.
    pub fn event_port(&self) -> u32 {
        self.events.local_port()
    }

    /// See [`EventChannel::evtchn_fd`].
    pub fn evtchn_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.evtchn_fd()
    }

    /// See [`ListenerBuilder::persistent`](super::ListenerBuilder::persistent). No effect on a client.
    pub fn set_persistent(&self, persistent: bool) -> Result<()> {
        let _held = cancel::hold();
        let persistent = persistent && self.ring.role() == Role::Server;
        self.persistent.store(persistent, Ordering::Relaxed);
        if persistent {
            self.expect_other_clients();
        }
        self.events.serve_many(persistent)
    }

    /// Another client may use, or has used, the same memory. What one client announces there must not count for
    /// another.
    fn expect_other_clients(&self) {
        if !self.many_clients.swap(true, Ordering::Relaxed) && !fault(Fault::LastingOffer) {
            self.ring.stop_eliding();
        }
    }

    /// The state of the peer. The live byte counts more than the end of the event channel: a peer that left in order
    /// ends that, too.
    pub(super) fn state(&self) -> Result<State> {
        let ended = self.ended.load(Ordering::Acquire);
        Ok(match self.ring.peer_live()? {
            PeerLive::Exited => State::PeerClosed,
            PeerLive::Connected | PeerLive::Waiting if ended => State::PeerDied,
            PeerLive::Connected => State::Connected,
            PeerLive::Waiting => State::Waiting,
        })
    }

    /// The state of the peer. Also asks the event channel, for callers that never wait and so take no event.
    pub fn state_now(&self) -> Result<State> {
        let state = self.state()?;
        let ended = || {
            let _held = cancel::hold();
            self.events.ended()
        };
        if state == State::Connected && ended() {
            return if self.ring.peer_live()? == PeerLive::Exited {
                Ok(State::PeerClosed)
            } else {
                Ok(State::PeerDied)
            };
        }
        Ok(state)
    }

    /// The error for a peer that is gone, by its `state`. A persistent server waits for the next client instead.
    pub(super) fn peer_gone(&self, state: State) -> Option<Error> {
        match state {
            _ if self.persistent.load(Ordering::Relaxed) && self.ring.role() == Role::Server => None,
            State::PeerClosed if self.heeds_stream_end() && self.ring.peer_aborted() => {
                Some(Error::PeerAborted)
            }
            State::PeerClosed => Some(Error::PeerClosed),
            State::PeerDied => Some(Error::PeerDied),
            State::Connected | State::Waiting => None,
        }
    }

    /// Whether the end of a stream in the page counts: this end supports half-close, and there was only one peer.
    pub(super) fn heeds_stream_end(&self) -> bool {
        self.half_closes && !self.many_clients.load(Ordering::Relaxed)
    }

    /// The error if no more bytes of this interest can come: the peer is [gone](Self::peer_gone), or has ended its
    /// stream. A server that was persistent ignores the end of a stream: it may be an earlier client's.
    pub(super) fn terminal_error(&self, interest: Interest, state: State) -> Option<Error> {
        self.peer_gone(state).or_else(|| {
            let over = interest == Interest::Readable && self.heeds_stream_end() && self.ring.peer_finished();
            over.then(|| {
                // The answer to a peer that announced half-close before this side did.
                self.ring.peer_half_closes();
                Error::PeerFinished
            })
        })
    }

    /// Fails if no more bytes of this interest can come. A persistent server waits for the next client instead.
    pub fn check_peer(&self, interest: Interest) -> Result<()> {
        self.terminal_error(interest, self.state_now()?).map_or(Ok(()), Err)
    }

    /// Fails if this side was closed.
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        self.closer.check().inspect_err(|_| self.leave_the_page())
    }

    /// The closer may not have reached [`leave`](Self::leave) yet. A call that returns because of it must leave the
    /// page in a state in which the peer sees the end.
    #[cold]
    fn leave_the_page(&self) {
        self.ring.leave();
    }

    /// Whether this side has left.
    pub(super) fn has_left(&self) -> bool {
        self.stage.load(Ordering::Acquire) == LEFT
    }

    /// Whether this side has ended its stream or left, and must not write any more.
    #[inline]
    pub(super) fn has_finished(&self) -> bool {
        self.stage.load(Ordering::Acquire) != WRITING
    }

    /// Whether the peer is known to support [`finish`](Self::finish) and [`abort`](Self::abort).
    pub fn peer_half_closes(&self) -> bool {
        self.ring.peer_half_closes()
    }

    /// Announces that this side writes no more. Reading goes on. A peer of another implementation does not notice.
    pub fn finish(&self) -> Result<()> {
        self.check_open()?;
        match self.stage.compare_exchange(WRITING, FINISHED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.ring.finish();
                if fault(Fault::SilentFinish) {
                    return Ok(());
                }
                self.notify()
            }
            Err(LEFT) => Err(Error::Closed),
            Err(_) => Ok(()),
        }
    }

    /// Sends an event, whether or not the peer asked for one.
    pub fn notify(&self) -> Result<()> {
        let _held = cancel::hold();
        self.events.notify()
    }

    /// Announces that this side has left. What is in the rings stays readable for both.
    pub fn leave(&self) {
        self.leave_with(|| ());
    }

    /// As [`leave`](Self::leave), with a failure as the reason.
    pub fn abort(&self) {
        self.leave_with(|| self.ring.abort());
    }

    fn leave_with(&self, reason: impl FnOnce()) {
        let _held = cancel::hold();
        if !self.leaving.swap(true, Ordering::AcqRel) {
            reason();
            self.ring.leave();
            self.stage.store(LEFT, Ordering::Release);
            if fault(Fault::SilentLeave) {
                return;
            }
            // A peer that cannot be notified is gone itself.
            let _ = self.events.notify();
        }
    }

    /// Withdraws the publication, so that no client can come any more.
    pub fn withdraw(&self) {
        let _held = cancel::hold();
        self.take_publication();
    }

    fn take_publication(&self) -> Option<Box<dyn Publication>> {
        self.publication.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the pending events. Returns whether there were any.
    pub(super) fn take_pending(&self) -> Result<bool> {
        let received = self.events.receive().inspect_err(|_| {
            // Nothing will make the descriptor readable any more.
            if self.events.ended() {
                self.ended.store(true, Ordering::Release);
            }
        })?;
        if received.ended {
            // The end came before any client had connected, so a client is still awaited.
            let awaited =
                self.persistent.load(Ordering::Relaxed) || self.ring.peer_live()? == PeerLive::Waiting;
            let continues = awaited && self.events.rearm()?;
            if continues {
                self.expect_other_clients();
            }
            self.ended.store(!continues, Ordering::Release);
        }
        if self.events.has_had_another_peer() {
            self.expect_other_clients();
        }
        // Announces half-close as soon as the peer has.
        self.ring.peer_half_closes();
        Ok(received.event || received.ended)
    }
}

impl Closable for Channel {
    fn close(&self) {
        let _held = cancel::hold();
        self.waiter.close(&*self.events);
        #[cfg(model)]
        super::model::Doorbell::ring_all();
        self.leave();
    }

    fn abort(&self) {
        Channel::abort(self);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let _held = cancel::hold();
        drop(self.take_publication());
        self.leave();
    }
}
