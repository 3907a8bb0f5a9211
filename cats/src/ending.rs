//! One conversation and its end: which side ended it, what is still in flight, and the result.
//!
//! The pumps move the data. The thread that calls [`converse`] sleeps until a pump ends, a signal arrives or a
//! deadline passes (end of lingering, timeout).

use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use vchan::transport::Role;
use vchan::{Closer, Error, Vchan, Writer};

use crate::failure::{no_input, Exit, Failure};
use crate::meter::Meter;
use crate::progress::Progress;
use crate::pump::{Event, Pump, PumpContext, ReceiveEnd, SendEnd, Stop, GRACE};
use crate::report::Report;
use crate::signals::{Reason, Signals};

/// Parameters of a conversation.
pub struct Terms<'a> {
    /// End the conversation at EOF on standard input.
    pub ends_with_input: bool,
    /// Keep receiving after EOF on standard input.
    pub lingers: bool,
    /// How long to keep receiving after EOF on standard input; `None` adapts to the peer.
    pub linger: Option<Duration>,
    /// Idle timeout.
    pub timeout: Option<Duration>,
    /// Destination of warnings.
    pub report: &'a Report,
}

/// Statistics of a successful conversation.
pub struct Ended {
    /// Bytes sent and received.
    pub counts: (u64, u64),
    /// Duration of the conversation.
    pub lasted: Duration,
}

/// After EOF on standard input, a peer without half-close is received from until it has been silent for this
/// long. Recent data suggests that it has more to send.
const QUIET_LIMIT: Duration = Duration::from_millis(500);
/// The same if the peer has not sent anything.
const QUIET_LIMIT_NONE_RECEIVED: Duration = Duration::from_millis(100);
/// The same if this side has not sent anything (standard input is /dev/null, as in background jobs of a shell)
/// and so exists to receive.
const QUIET_LIMIT_NONE_SENT: Duration = Duration::from_secs(2);
/// Upper limit of lingering with a peer that keeps sending, unless the conversation lasted longer before.
const LINGER_LIMIT: Duration = Duration::from_secs(45);
/// How long to wait for the peer to leave after this side has left. Data already in the ring is still received.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit after a signal.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Refresh interval of the progress line.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How long a pump may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Poll interval for conditions without an event.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Runs the conversation on `vchan` to its end. `input` is standard input, or `None` to send nothing; it
/// becomes `None` at EOF.
pub fn converse(
    vchan: Vchan,
    terms: &Terms,
    input: &mut Option<Arc<OwnedFd>>,
    output: OwnedFd,
    signals: &Signals,
    progress: &Progress,
) -> Result<Ended, Failure> {
    let closer = vchan.closer();
    // A client may not know its server's extensions yet.
    let half_closes = vchan.role() == Role::Client || vchan.peer_half_closes();
    let (reader, writer) = vchan.split();
    let (sender, events) = mpsc::channel();
    let to_self = sender.clone();
    signals.set_listener(move |reason| {
        // Fails only if the conversation is already over.
        let _ = to_self.send(Event::Ends(reason));
    });
    let stop = Arc::new(Stop::new().map_err(|errno| system("make an eventfd", errno.into()))?);
    let context = PumpContext {
        events: sender,
        meter: Arc::new(Meter::start()),
        stop,
        drain_poll: terms.timeout.map(|timeout| timeout / 4),
        half_closes,
        receives: terms.lingers,
        input: input.clone(),
    };
    let receive = context.receive(reader, output).map_err(|error| system("start a thread", error))?;
    let send = match context.send(writer) {
        Ok(send) => send,
        Err(error) => {
            closer.abort();
            shut_down(&context, &closer, &events, &[receive]);
            return Err(system("start a thread", error));
        }
    };
    let mut talk = Talk {
        terms,
        context: &context,
        phase: Phase::Talking,
        signal_deadline: None,
        writer: None,
        input_over: false,
        delivered: false,
        peer_finished: false,
        peer_left: false,
        failure: None,
    };
    let verdict = talk.run(&events, progress);
    let (counts, lasted) = (context.meter.counts(), context.meter.elapsed());
    if talk.input_over {
        *input = None;
    }
    // A peer that has left needs no notification.
    let failed = verdict.as_ref().is_err_and(|failure| failure.exit != Exit::PeerFailed);
    if failed || talk.is_cut_off() {
        closer.abort();
    }
    shut_down(&context, &closer, &events, &[send, receive]);
    verdict.map(|()| Ended { counts, lasted })
}

fn system(doing: &'static str, error: std::io::Error) -> Failure {
    Failure::new("conversation", &Error::os(doing, error))
}

/// Notifies the peer if necessary and stops both pumps, whatever they are blocked on.
fn shut_down(context: &PumpContext, closer: &Closer, events: &Receiver<Event>, pumps: &[Pump]) {
    closer.close();
    context.stop.stop();
    let limit = Instant::now() + STOP_TIMEOUT;
    while pumps.iter().any(|pump| !pump.is_finished()) && Instant::now() < limit {
        // The channel halves are returned in the events; they are dropped here.
        match events.recv_timeout(POLL_INTERVAL) {
            Ok(event) => drop(event),
            Err(_) => pumps.iter().filter(|pump| !pump.is_finished()).for_each(Pump::interrupt),
        }
    }
}

enum Phase {
    Talking,
    /// One stream has ended; the other continues for a limited time.
    Lingering {
        until: Instant,
        /// Ends the phase early on silence.
        quiet: Quiet,
    },
    /// This side has left, the peer has not.
    Left {
        until: Instant,
    },
}

/// Which silence ends lingering early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Nothing,
    /// Nothing received for a while.
    NothingReceived,
    /// Nothing sent or received for a while.
    NothingMoved,
}

struct Talk<'a> {
    terms: &'a Terms<'a>,
    context: &'a PumpContext,
    phase: Phase,
    /// The deadline set by a signal.
    signal_deadline: Option<Instant>,
    /// Returned by the sending pump at its end.
    writer: Option<Writer>,
    input_over: bool,
    /// Standard input has ended and the peer has consumed all of it.
    delivered: bool,
    /// The peer has half-closed and all its data has been delivered; it still receives.
    peer_finished: bool,
    /// The peer has left cleanly and all its data has been delivered.
    peer_left: bool,
    /// A failure reported after the remaining data has been received.
    failure: Option<Failure>,
}

/// The result of the conversation.
type Verdict = Result<(), Failure>;

impl Talk<'_> {
    fn run(&mut self, events: &Receiver<Event>, progress: &Progress) -> Verdict {
        loop {
            let now = Instant::now();
            progress.show(&self.context.meter);
            let wake = match self.due(now) {
                Ok(wake) => wake,
                Err(verdict) => return verdict,
            };
            let wake = if progress.shows() { earlier(wake, Some(now + PROGRESS_INTERVAL)) } else { wake };
            let event = match wake {
                None => events.recv().ok(),
                Some(wake) => match events.recv_timeout(wake.saturating_duration_since(now)) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => None,
                },
            };
            // `context` holds a sender, so `recv` cannot fail.
            let Some(event) = event else { return Ok(()) };
            if let Some(verdict) = self.on(event) {
                return verdict;
            }
        }
    }

    /// Handles expired deadlines. Returns the next deadline, or the verdict if the conversation is over.
    fn due(&mut self, now: Instant) -> Result<Option<Instant>, Verdict> {
        let meter = &self.context.meter;
        if self.signal_deadline.is_some_and(|limit| limit <= now) {
            return Err(self.verdict());
        }
        let end_of_phase = match self.phase {
            Phase::Talking => None,
            Phase::Lingering { until, quiet: Quiet::Nothing } => Some(until),
            Phase::Lingering { until, quiet: Quiet::NothingReceived } => {
                Some(until.min(meter.last_received() + self.quiet()))
            }
            Phase::Lingering { until, quiet: Quiet::NothingMoved } => {
                Some(until.min(meter.last_moved() + QUIET_LIMIT))
            }
            Phase::Left { until } => Some(until),
        };
        if end_of_phase.is_some_and(|end| end <= now) {
            if matches!(self.phase, Phase::Left { .. }) {
                return Err(self.verdict());
            }
            match self.phase {
                // The peer announced half-close late: wait for its EOF.
                Phase::Lingering { quiet: Quiet::NothingReceived, .. } if self.peer_half_closes() => {
                    self.phase = Phase::Talking;
                }
                _ => self.leave(),
            }
            return self.due(now);
        }
        if matches!(self.phase, Phase::Left { .. }) {
            return Ok(earlier(self.signal_deadline, end_of_phase));
        }
        let wake = earlier(self.signal_deadline, end_of_phase);
        let out_of_time =
            self.terms.timeout.map(|timeout| (timeout, self.context.meter.last_moved() + timeout));
        match out_of_time {
            Some((timeout, end)) if end <= now => Err(Err(Failure::timed_out(format!(
                "conversation: no data moved for {timeout:?}; check that the other side is alive, or raise \
                 --timeout"
            )))),
            _ => Ok(earlier(wake, out_of_time.map(|(_, end)| end))),
        }
    }

    fn on(&mut self, event: Event) -> Option<Verdict> {
        match event {
            Event::Ends(Reason::OutputLost) => Some(Err(Failure::stream("standard output", Errno::EPIPE))),
            Event::Ends(Reason::Signal) if self.signal_deadline.is_some() => Some(self.verdict()),
            Event::Ends(Reason::Signal) => {
                self.signal_deadline = Some(Instant::now() + SIGNAL_TIMEOUT);
                self.context.stop.stop();
                self.leave();
                None
            }
            Event::Sent(writer, end) => {
                self.writer = Some(writer);
                self.on_sent(end);
                if matches!(self.phase, Phase::Left { .. }) {
                    self.notify_peer();
                }
                (self.peer_left || self.is_complete()).then(|| self.verdict())
            }
            Event::PeerFinished => {
                self.peer_finished = true;
                // With --keep-listening the client ends the conversation.
                if !self.terms.ends_with_input && !self.input_over {
                    self.linger(Quiet::NothingMoved);
                }
                self.is_complete().then(|| self.verdict())
            }
            Event::Received(_, ReceiveEnd::Failed(failure)) => {
                Some(Err(self.failure.take().unwrap_or(failure)))
            }
            Event::Received(_, ReceiveEnd::Stopped) => Some(self.verdict()),
            Event::Received(_, ReceiveEnd::PeerLeft) => {
                self.peer_left = true;
                if self.writer.is_some() {
                    return Some(self.verdict());
                }
                // The sending pump's progress is known only when it has ended.
                self.leave();
                None
            }
        }
    }

    fn on_sent(&mut self, end: SendEnd) {
        match end {
            // The receiving pump reports the same, and whether the peer left cleanly.
            SendEnd::PeerGone { input_over } => self.input_over = input_over,
            SendEnd::Stopped => self.leave(),
            SendEnd::NoInput(None) => (self.input_over, self.delivered) = (true, true),
            SendEnd::NoInput(Some(errno)) => {
                self.terms.report.warning(no_input(errno));
                (self.input_over, self.delivered) = (true, true);
            }
            SendEnd::Failed(failure) => {
                self.failure = Some(failure);
                self.leave();
            }
            SendEnd::EndOfInput => {
                (self.input_over, self.delivered) = (true, true);
                if !self.terms.ends_with_input {
                    return;
                }
                if !self.terms.lingers {
                    self.leave();
                } else if self.terms.linger.is_some() || !self.peer_half_closes() {
                    // Ends at once if the silence has already lasted long enough.
                    self.linger(Quiet::NothingReceived);
                }
            }
        }
    }

    /// Whether the peer is known to support half-close.
    fn peer_half_closes(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::peer_half_closes)
    }

    /// Whether both streams have ended and all data has been delivered.
    fn is_complete(&self) -> bool {
        self.peer_finished && self.delivered
    }

    /// Lingers for the time given by the user, otherwise until silence.
    fn linger(&mut self, quiet: Quiet) {
        if matches!(self.phase, Phase::Left { .. }) {
            return;
        }
        let now = Instant::now();
        self.phase = match self.terms.linger {
            Some(time) => Phase::Lingering { until: now + time, quiet: Quiet::Nothing },
            None => Phase::Lingering { until: now + LINGER_LIMIT.max(self.context.meter.elapsed()), quiet },
        };
    }

    /// How long the peer may be silent after the end of input.
    fn quiet(&self) -> Duration {
        match self.context.meter.counts() {
            (0, _) => QUIET_LIMIT_NONE_SENT,
            (_, 0) => QUIET_LIMIT_NONE_RECEIVED,
            _ => QUIET_LIMIT,
        }
    }

    /// Leaves once all data read has been handed over. Data in the receive ring is still delivered.
    fn leave(&mut self) {
        if !matches!(self.phase, Phase::Left { .. }) {
            self.phase = Phase::Left { until: Instant::now() + LEAVE_TIMEOUT };
            if self.writer.is_none() {
                self.context.stop.stop();
            }
            self.notify_peer();
        }
    }

    /// Whether a signal arrived before EOF on standard input. The sending pump may not have noticed. A terminal
    /// has already delivered everything typed.
    fn is_cut_off(&self) -> bool {
        let may_send = !self.input_over && !self.context.reads_terminal();
        self.signal_deadline.is_some() && may_send && self.context.has_more_input(Duration::ZERO)
    }

    /// Notifies the peer, once nothing more will be sent, that this side leaves or aborts.
    fn notify_peer(&self) {
        let Some(writer) = &self.writer else { return };
        if self.failure.is_some() || self.is_cut_off() {
            writer.abort();
        } else {
            writer.leave();
        }
    }

    /// What a peer that left by itself has not consumed. With --keep-listening the rest of standard input is
    /// for the next client; after a signal it need not be sent.
    fn undelivered(&self) -> Option<Failure> {
        if !self.peer_left || self.signal_deadline.is_some() {
            return None;
        }
        let rest = self.terms.ends_with_input && !self.input_over && self.context.has_more_input(GRACE);
        let unconsumed = self.writer.as_ref().map_or(0, unconsumed);
        Failure::undelivered(rest, unconsumed)
    }

    fn verdict(&mut self) -> Verdict {
        let failure = self.failure.take().or_else(|| self.undelivered());
        failure.map_or(Ok(()), Err)
    }
}

/// Bytes that a departed peer has not consumed. It may still drain the ring for as long as this side would.
fn unconsumed(writer: &Writer) -> usize {
    // A peer with half-close waits for this.
    writer.leave();
    let limit = Instant::now() + LEAVE_TIMEOUT;
    loop {
        match writer.pending() {
            Ok(count @ 1..) if Instant::now() >= limit => return count,
            Ok(1..) => std::thread::sleep(POLL_INTERVAL),
            Ok(0) | Err(_) => return 0,
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
