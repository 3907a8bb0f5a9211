//! Waiting: for bytes, for any event, for the peer. [`Waiter`] is the only way in.
//!
//! A wait for bytes goes through these steps:
//!
//! 1. *Attempt* ([`policy`], [`spin`]): delay, check, or yield, without an event. The numbers are in [`tuning`].
//! 2. *Rearm* ([`Source::rearm`]): the notification is enabled, a bit that asks the peer for an event.
//! 3. *Check* once more. The order of bit, fence and check is what loses no wake-up, see `ring/notify.rs` and
//!    `docs/protocol.md`; the models check it, and each [`Fault`] is a step left out.
//! 4. *Park* ([`park`]) until an event comes. One thread leads and polls ([`poller`]); each event begins a new *epoch*, by which
//!    others notice that they must check again. [`signals`] and [`cancel`] say what else ends a park.
//! 5. *Forward* ([`forward`]): an event that one thread took may be for a caller that polls a descriptor ([`poll_fd`]). Such
//!    a caller has *armed* its direction; the descriptor is made readable.
//!
//! [`FencePolicy`] decides when this side makes heavy fences on the peer's behalf, [`LostWakeupWorkaround`] helps against
//! peers that lose wake-ups. Both have tests of their own; parking, forwarding and signals are tested by `channel/model/`,
//! `tests/conformance/` and `tests-c/behaviour/`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

mod backoff;
#[cfg_attr(model, allow(dead_code))]
pub(crate) mod cancel;
pub(in crate::channel) mod deadline;
mod fence_policy;
mod forward;
mod lost_wakeup;
mod park;
mod policy;
mod poll_fd;
mod poller;
mod rhythm;
#[cfg(not(model))]
pub(crate) mod signals;
#[cfg(model)]
#[path = "signals_model.rs"]
pub(crate) mod signals;
mod source;
mod spin;
pub(in crate::channel) mod sync;
mod tuning;
mod yield_budget;

pub(in crate::channel) use poll_fd::new_set;
pub(in crate::channel) use source::Source;
pub(in crate::channel) use tuning::CHUNK;

use self::deadline::Deadline;
use self::fence_policy::FencePolicy;
use self::lost_wakeup::LostWakeupWorkaround;
use self::park::{Epoch, EventCount, HandOffGuard, Until, Woken};
use self::policy::{Conditions, Policy};
use self::poll_fd::PollFd;
use self::signals::is_restarted_call;
use self::spin::WaitStart;
use self::tuning::{Tuning, CHUNKS_PER_RING};
use crate::fault::{fault, Fault};
use crate::ring::Interest;
use crate::transport::EventChannel;
use crate::{Error, Result};

const DIRECTIONS: [Interest; 2] = [Interest::Readable, Interest::Writable];

/// How one end of a channel waits, and what it has learnt about that.
#[derive(Debug)]
pub(in crate::channel) struct Waiter {
    tuning: Tuning,
    /// One per direction.
    policies: [Policy; 2],
    fence_policy: FencePolicy,
    lost_wakeups: LostWakeupWorkaround,
    event_count: EventCount,
    poll_fd: PollFd,
    /// How many more unsuccessful non-blocking calls skip the check for a dead peer, since a wait has just made it.
    skipped_peer_checks: AtomicU32,
}

impl Waiter {
    /// For spins of at most `spin`, `None` for the default; with or without extra events for peers that lose wake-ups.
    pub(in crate::channel) fn new(
        events: &dyn EventChannel,
        spin: Option<Duration>,
        extra_events: bool,
    ) -> Result<Waiter> {
        let same_kernel = events.same_scheduler();
        let tuning = Tuning::new(spin, same_kernel);
        Ok(Waiter {
            tuning,
            policies: [Policy::new(tuning), Policy::new(tuning)],
            fence_policy: FencePolicy::new(same_kernel),
            lost_wakeups: LostWakeupWorkaround::new(extra_events),
            event_count: EventCount::new(events)?,
            poll_fd: PollFd::new(),
            skipped_peer_checks: AtomicU32::new(0),
        })
    }

    /// Takes pending events without sleeping, unless another thread is about to take them.
    pub(in crate::channel) fn drain(&self, source: &impl Source) -> Result<()> {
        self.event_count.drain(source)
    }

    /// Whether heavy fences reach a peer of this implementation.
    pub(in crate::channel) fn can_offer_heavy_fences(&self) -> bool {
        self.fence_policy.is_possible()
    }

    /// From now on a call may also end as [interrupted](Error::Interrupted) so that its caller can check for a
    /// cancellation of the thread.
    pub(in crate::channel) fn look_for_cancellation(&self) {
        self.event_count.look_for_cancellation();
    }

    /// Ends every wait from now on, since this side has closed.
    pub(in crate::channel) fn close(&self, events: &dyn EventChannel) {
        self.event_count.close(events);
    }

    #[inline]
    fn policy(&self, interest: Interest) -> &Policy {
        match interest {
            Interest::Readable => &self.policies[0],
            Interest::Writable => &self.policies[1],
        }
    }

    /// How many of `len` bytes to move before publishing them. Chunks let a peer on another processor begin early. On a
    /// shared processor each would cost a switch, and in a large ring the peer has enough to do.
    #[inline]
    pub(in crate::channel) fn chunk_hint(&self, len: usize, ring_size: u32) -> usize {
        if len <= self.tuning.chunk || len <= ring_size as usize / CHUNKS_PER_RING {
            len
        } else if self.policies.iter().all(Policy::peer_keeps_up) {
            self.tuning.chunk
        } else {
            usize::MAX
        }
    }

    /// Waits until there are `need` bytes of data or space, or fails with the reason why there never will be.
    pub(in crate::channel) fn wait_ready(
        &self,
        source: &impl Source,
        interest: Interest,
        need: u32,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let waited = self.spin_or_park(source, interest, need, timeout);
        if matches!(waited, Err(Error::TimedOut(_) | Error::Interrupted)) {
            self.arm_if_polled(source, interest, need);
        }
        waited
    }

    fn spin_or_park(
        &self,
        source: &impl Source,
        interest: Interest,
        need: u32,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let policy = self.policy(interest);
        let Some(start) = self.spin(source, interest, need, timeout) else {
            self.record_ready(source);
            return source.check(interest, need).map(drop);
        };
        let _held = cancel::hold();
        self.disarm(source, interest);
        let guard = self.event_count.guard();
        let deadline = Deadline::from(timeout).fixed();
        let mut extra_events = self.lost_wakeups.extra_events(source.peer_is_ours());
        let mut due = extra_events.due();
        if extra_events.is_due_at_once() {
            source.notify()?;
        }
        self.record_rearm(source);
        loop {
            let epoch = self.event_count.epoch();
            source.rearm(interest);
            if !fault(Fault::Recheck) && source.check(interest, need)? {
                break;
            }
            let woken =
                self.park(source, &guard, epoch, Until::Bytes(interest, need), due.earlier(deadline))?;
            // Checked before the notification is enabled again: if the bytes are there, the peer is spared an event.
            if woken == Woken::Event && source.check(interest, need)? {
                break;
            }
            // Also after an event: a stream of events without data must not defeat the timeout.
            if deadline.is_over() {
                return Err(Error::TimedOut(timeout.unwrap_or_default()));
            }
            if woken == Woken::TimedOut {
                if source.peer_is_ours() {
                    extra_events.end();
                } else {
                    source.notify()?;
                    extra_events.sent();
                }
                due = extra_events.due();
            }
            due = due.fixed();
        }
        extra_events.record_move();
        start.record_park(policy);
        Ok(())
    }

    /// The attempt without a park; `None` if the wait is over.
    fn spin(
        &self,
        source: &impl Source,
        interest: Interest,
        need: u32,
        timeout: Option<Duration>,
    ) -> Option<WaitStart> {
        // A call that is restarted after a look for a cancellation has spun already.
        if is_restarted_call() {
            return Some(WaitStart::now());
        }
        let ring = source.ring();
        // An end of this implementation lets a peer that yields accumulate bytes. Others wake their peer for the first
        // byte, so yielding would cost a switch per byte.
        let can_batch = source.events().peer_has_extensions();
        let conditions = Conditions {
            timeout,
            ring_size: ring.size(interest),
            written: (interest == Interest::Readable).then(|| ring.producer.written()),
            may_yield: can_batch || interest == Interest::Readable,
        };
        let ready = || !matches!(source.check(interest, need), Ok(false));
        let moved = || if can_batch { ring.available(interest).unwrap_or(0) } else { 0 };
        spin::run(self.policy(interest), &conditions, ready, moved)
    }

    /// The brief spin of a call that must not wait. Returns whether there are `need` bytes.
    pub(in crate::channel) fn try_ready(&self, source: &impl Source, interest: Interest, need: u32) -> bool {
        // Corruption counts as ready: the caller's check reports it.
        let ready = || source.ring().available(interest).map_or(true, |count| count >= need);
        spin::run_brief(self.policy(interest), ready)
    }

    /// Whether a non-blocking call that found nothing asks the event channel whether the peer died.
    pub(in crate::channel) fn should_check_peer(&self) -> bool {
        let skipped = self.skipped_peer_checks.load(Ordering::Relaxed);
        self.skipped_peer_checks.store(skipped.saturating_sub(1), Ordering::Relaxed);
        skipped == 0
    }

    /// Waits until an event comes that this thread has not seen.
    pub(in crate::channel) fn wait_event(
        &self,
        source: &impl Source,
        timeout: Option<Duration>,
    ) -> Result<()> {
        source.check_open()?;
        source.ring().check()?;
        let _held = cancel::hold();
        // The caller usually finds nothing in both directions before its next wait.
        self.skipped_peer_checks.store(2, Ordering::Relaxed);
        let epoch = self.event_count.take_noted_epoch();
        let armed = DIRECTIONS.map(|interest| self.poll_fd.armed(interest).map(|need| (interest, need)));
        let was_ready = DIRECTIONS.map(|interest| self.poll_fd.disarm(interest, source.events()));
        if was_ready != [false; 2] {
            return Ok(());
        }
        if let Some(error) = source.end_of_events()? {
            // There will be no further event. One that has come, or unread data, still satisfies this wait.
            self.event_count.drain(source)?;
            let news =
                self.event_count.has_advanced(epoch) || source.ring().available(Interest::Readable)? > 0;
            return if news { Ok(()) } else { Err(error) };
        }
        // A caller whose descriptor was readable expects the event to be taken.
        if self.is_polled(source) && self.take_since(source, epoch)? {
            return Ok(());
        }
        let Some(start) = self.spin_for_armed(source, epoch, armed, timeout) else {
            return source.check_open();
        };
        // The spin may have left an event pending. If it is newer than `epoch`, the wait is over without a park.
        if start.has_spun() && self.take_since(source, epoch)? && !fault(Fault::FreshEpoch) {
            return Ok(());
        }
        let epoch = if fault(Fault::FreshEpoch) { self.event_count.epoch() } else { epoch };
        let woken = self
            .park(source, &self.event_count.guard(), epoch, Until::AnyEvent, timeout.into())
            // A restarted wait is for the same events.
            .inspect_err(|_| self.event_count.restore_epoch(epoch))?;
        for (interest, _) in armed.into_iter().flatten() {
            start.record_park(self.policy(interest));
        }
        match woken {
            Woken::Event => Ok(()),
            Woken::TimedOut => Err(Error::TimedOut(timeout.unwrap_or_default())),
        }
    }

    /// Spins until one of the armed directions is ready or an event was taken. The peer's event stays pending then,
    /// and ends a later wait spuriously.
    fn spin_for_armed(
        &self,
        source: &impl Source,
        epoch: Epoch,
        armed: [Option<(Interest, u32)>; 2],
        timeout: Option<Duration>,
    ) -> Option<WaitStart> {
        if is_restarted_call() {
            return Some(WaitStart::now());
        }
        let armed = || armed.iter().flatten();
        let ready = || {
            self.event_count.has_advanced(epoch)
                || armed().any(|&(interest, need)| !matches!(source.check(interest, need), Ok(false)))
        };
        let can_batch = source.events().peer_has_extensions();
        let moved = || match can_batch {
            true => armed().map(|&(interest, _)| source.ring().available(interest).unwrap_or(0)).sum(),
            false => 0,
        };
        let interest = armed().next().map_or(Interest::Readable, |&(interest, _)| interest);
        let conditions = Conditions { timeout, may_yield: can_batch, ..Conditions::default() };
        spin::run(self.policy(interest), &conditions, ready, moved)
    }

    /// Waits until `over` returns something. It is called after each event. Arms no notification. `timeout` is only
    /// for the error, `deadline` ends the wait.
    pub(in crate::channel) fn wait_until<T>(
        &self,
        source: &impl Source,
        timeout: Option<Duration>,
        deadline: Deadline,
        over: impl Fn() -> Result<Option<T>>,
    ) -> Result<T> {
        let _held = cancel::hold();
        let guard = self.event_count.guard();
        let deadline = deadline.fixed();
        loop {
            source.check_open()?;
            let epoch = self.event_count.epoch();
            if let Some(found) = over()? {
                return Ok(found);
            }
            let woken = self.park(source, &guard, epoch, Until::AnyEvent, deadline)?;
            if woken == Woken::TimedOut || deadline.is_over() {
                return over()?.ok_or(Error::TimedOut(timeout.unwrap_or_default()));
            }
        }
    }

    fn park(
        &self,
        source: &impl Source,
        guard: &HandOffGuard<'_>,
        epoch: Epoch,
        until: Until,
        deadline: Deadline,
    ) -> Result<Woken> {
        let park = |deadline| self.event_count.park(guard, epoch, until, deadline, source);
        let woken = match source.events().name_watch_delay() {
            None => park(deadline),
            Some(due) => {
                let (deadline, due) = (deadline.fixed(), Deadline::After(due).fixed());
                match park(deadline.earlier(due)) {
                    Ok(Woken::TimedOut) if due.is_over() && !deadline.is_over() => {
                        source.events().watch_name();
                        park(deadline)
                    }
                    woken => woken,
                }
            }
        };
        // If this side was closed, that is the reason, not the poll's error.
        let woken = woken.or_else(|error| source.check_open().and(Err(error)))?;
        if woken == Woken::Event {
            self.forward_event_to_both(source);
        }
        Ok(woken)
    }

    /// Takes pending events without sleeping. Returns whether there was any since `epoch`.
    fn take_since(&self, source: &impl Source, epoch: Epoch) -> Result<bool> {
        self.event_count.drain(source)?;
        let advanced = self.event_count.has_advanced(epoch);
        if advanced {
            self.forward_event_to_both(source);
        }
        Ok(advanced)
    }

    /// A wait ended without a notification.
    fn record_ready(&self, source: &impl Source) {
        let is_time = self.fence_policy.record_ready();
        if is_time && self.fence_policy.due_change() == Some(true) && !source.events().peer_has_extensions() {
            // The peer identifies its implementation by an event: take it now. The next park reports a broken event
            // channel.
            let _ = self.take_since(source, self.event_count.epoch());
        }
        self.update_fence_offer(source);
    }

    /// A notification is going to be enabled.
    fn record_rearm(&self, source: &impl Source) {
        let ring = source.ring();
        self.fence_policy.record_rearm(ring.producer.written().wrapping_add(ring.consumer.consumed()));
        self.update_fence_offer(source);
    }

    /// Makes the offer of heavy fences, or withdraws it, if that is due.
    #[inline]
    pub(in crate::channel) fn update_fence_offer(&self, source: &impl Source) {
        if let Some(offer) = self.fence_policy.due_change() {
            self.change_fence_offer(source, offer);
        }
    }

    #[cold]
    fn change_fence_offer(&self, source: &impl Source, offer: bool) {
        let possible = !offer || source.events().peer_has_extensions() || source.ring().elides();
        if possible && self.fence_policy.change_to(offer) {
            source.ring().offer_heavy_fences(offer);
        }
    }
}
