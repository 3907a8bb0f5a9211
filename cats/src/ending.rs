//! One conversation, and above all its end: who ended it, what is still on its way, and what is made of it.
//!
//! The pumps move the data; the thread that calls [`converse`] sleeps until one of them ends, a signal comes or
//! something is due: the end of lingering, a time-out.

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
use crate::pump::{Course, Event, Pump, ReceiveEnd, SendEnd, Stop, GRACE};
use crate::report::Report;
use crate::signals::{Reason, Signals};

/// What a conversation depends on.
pub struct Terms<'a> {
    /// Whether the end of standard input ends it.
    pub ends_with_input: bool,
    /// Whether what is coming in at the end of standard input is worth staying for.
    pub lingers: bool,
    /// How long to listen after the end of standard input, if not as the peer makes it best.
    pub linger: Option<Duration>,
    /// How long nothing may move.
    pub timeout: Option<Duration>,
    /// Where to warn.
    pub report: &'a Report,
}

/// How a conversation went that ended well.
pub struct Ended {
    /// The bytes sent and received.
    pub counts: (u64, u64),
    /// How long it lasted.
    pub lasted: Duration,
}

/// A peer that can't say where its stream ends is listened to, after the end of input, until nothing has come for this long.
/// Data that came in recently means that it is in the middle of something.
const RECENT: Duration = Duration::from_millis(500);
/// The same where nothing has come yet at all.
const YOUNG: Duration = Duration::from_millis(100);
/// The same for who had nothing to say (standard input from /dev/null, as a shell gives it to background jobs) and so
/// came to listen.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long a peer that doesn't stop sending is listened to after the end of input, if the conversation was
/// shorter.
const LINGER: Duration = Duration::from_secs(45);
/// How long a peer that has been left gets to leave, too; what it has put into the ring is received meanwhile.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long everything may take after a signal.
const ASKED: Duration = Duration::from_secs(1);
/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(100);
/// How long a pump may need to end after it was told to.
const STOPPING: Duration = Duration::from_secs(2);
/// How often to look for what no event tells of.
const AGAIN: Duration = Duration::from_millis(10);

/// Talks over `vchan` until the end. `input` is standard input, or nothing; nothing after its end.
pub fn converse(
    vchan: Vchan,
    terms: &Terms,
    input: &mut Option<Arc<OwnedFd>>,
    output: OwnedFd,
    signals: &Signals,
    progress: &Progress,
) -> Result<Ended, Failure> {
    let closer = vchan.closer();
    // A client may not have heard yet of what its server is.
    let half_closes = vchan.role() == Role::Client || vchan.peer_half_closes();
    let (reader, writer) = vchan.split();
    let (sender, events) = mpsc::channel();
    let to_self = sender.clone();
    signals.direct_to(move |reason| {
        // The conversation may be over, then this came late.
        let _ = to_self.send(Event::Ends(reason));
    });
    let stop = Arc::new(Stop::new().map_err(|errno| system("make an eventfd", errno.into()))?);
    let course = Course {
        events: sender,
        meter: Arc::new(Meter::start()),
        stop,
        look: terms.timeout.map(|timeout| timeout / 4),
        half_closes,
        receives: terms.lingers,
        input: input.clone(),
    };
    let receive = course.receive(reader, output).map_err(|error| system("start a thread", error))?;
    let send = match course.send(writer) {
        Ok(send) => send,
        Err(error) => {
            closer.abort();
            part(&course, &closer, &events, &[receive]);
            return Err(system("start a thread", error));
        }
    };
    let mut talk = Talk {
        terms,
        course: &course,
        phase: Phase::Talking,
        asked: None,
        writer: None,
        input_over: false,
        delivered: false,
        peer_finished: false,
        peer_left: false,
        failure: None,
    };
    let verdict = talk.run(&events, progress);
    let (counts, lasted) = (course.meter.counts(), course.meter.elapsed());
    if talk.input_over {
        *input = None;
    }
    // A peer that has left by itself, for whatever reason, has nothing to learn.
    let failed = verdict.as_ref().is_err_and(|failure| failure.exit != Exit::PeerFailed);
    if failed || talk.is_cut_off() {
        closer.abort();
    }
    part(&course, &closer, &events, &[send, receive]);
    verdict.map(|()| Ended { counts, lasted })
}

fn system(doing: &'static str, error: std::io::Error) -> Failure {
    Failure::new("conversation", &Error::os(doing, error))
}

/// Tells the peer, if it doesn't know yet, and ends the pumps, whatever they wait for.
fn part(course: &Course, closer: &Closer, events: &Receiver<Event>, pumps: &[Pump]) {
    closer.close();
    course.stop.stop();
    let limit = Instant::now() + STOPPING;
    while pumps.iter().any(|pump| !pump.is_finished()) && Instant::now() < limit {
        // The halves of the channel come back in the events; they are dropped here.
        match events.recv_timeout(AGAIN) {
            Ok(event) => drop(event),
            Err(_) => pumps.iter().filter(|pump| !pump.is_finished()).for_each(Pump::interrupt),
        }
    }
}

enum Phase {
    Talking,
    /// One of the two streams is over. The other one goes on for a while.
    Lingering {
        until: Instant,
        /// Ends it before, where nothing moves any more.
        quiet: Quiet,
    },
    /// We have left; the peer hasn't.
    Left {
        until: Instant,
    },
}

/// What ends the lingering before its time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Nothing,
    /// Nothing has come in for a while.
    NothingCame,
    /// Nothing has moved for a while.
    NothingMoved,
}

struct Talk<'a> {
    terms: &'a Terms<'a>,
    course: &'a Course,
    phase: Phase,
    /// When to go at the latest, once a signal has come.
    asked: Option<Instant>,
    /// From the sending pump, when it has ended.
    writer: Option<Writer>,
    input_over: bool,
    /// And the peer has taken all of it.
    delivered: bool,
    /// The peer has ended its stream, all of which has been delivered, and listens.
    peer_finished: bool,
    /// The peer has left in order, and everything that it wrote has been delivered.
    peer_left: bool,
    /// What went wrong, while the rest is still being received.
    failure: Option<Failure>,
}

/// The conversation is over.
type Verdict = Result<(), Failure>;

impl Talk<'_> {
    fn run(&mut self, events: &Receiver<Event>, progress: &Progress) -> Verdict {
        loop {
            let now = Instant::now();
            progress.show(&self.course.meter);
            let wake = match self.due(now) {
                Ok(wake) => wake,
                Err(verdict) => return verdict,
            };
            let wake = if progress.shows() { earlier(wake, Some(now + TICK)) } else { wake };
            let event = match wake {
                None => events.recv().ok(),
                Some(wake) => match events.recv_timeout(wake.saturating_duration_since(now)) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => None,
                },
            };
            // `course` holds a sender, so there is always another event to hope for.
            let Some(event) = event else { return Ok(()) };
            if let Some(verdict) = self.on(event) {
                return verdict;
            }
        }
    }

    /// Does what is due, and says when to come back; or that it is over.
    fn due(&mut self, now: Instant) -> Result<Option<Instant>, Verdict> {
        let meter = &self.course.meter;
        if self.asked.is_some_and(|limit| limit <= now) {
            return Err(self.verdict());
        }
        let end_of_phase = match self.phase {
            Phase::Talking => None,
            Phase::Lingering { until, quiet: Quiet::Nothing } => Some(until),
            Phase::Lingering { until, quiet: Quiet::NothingCame } => {
                Some(until.min(meter.last_received() + self.quiet()))
            }
            Phase::Lingering { until, quiet: Quiet::NothingMoved } => {
                Some(until.min(meter.last_moved() + RECENT))
            }
            Phase::Left { until } => Some(until),
        };
        if end_of_phase.is_some_and(|end| end <= now) {
            if matches!(self.phase, Phase::Left { .. }) {
                return Err(self.verdict());
            }
            match self.phase {
                // The news came late: it will say where its stream ends.
                Phase::Lingering { quiet: Quiet::NothingCame, .. } if self.peer_half_closes() => {
                    self.phase = Phase::Talking;
                }
                _ => self.leave(),
            }
            return self.due(now);
        }
        if matches!(self.phase, Phase::Left { .. }) {
            return Ok(earlier(self.asked, end_of_phase));
        }
        let wake = earlier(self.asked, end_of_phase);
        let out_of_time =
            self.terms.timeout.map(|timeout| (timeout, self.course.meter.last_moved() + timeout));
        match out_of_time {
            Some((timeout, end)) if end <= now => Err(Err(Failure::timed_out(format!(
                "conversation: nothing has moved for {timeout:?}; check that the other side is alive, or allow \
                 more time by --timeout"
            )))),
            _ => Ok(earlier(wake, out_of_time.map(|(_, end)| end))),
        }
    }

    fn on(&mut self, event: Event) -> Option<Verdict> {
        match event {
            Event::Ends(Reason::OutputLost) => Some(Err(Failure::stream("standard output", Errno::EPIPE))),
            Event::Ends(Reason::Asked) if self.asked.is_some() => Some(self.verdict()),
            Event::Ends(Reason::Asked) => {
                self.asked = Some(Instant::now() + ASKED);
                self.course.stop.stop();
                self.leave();
                None
            }
            Event::Sent(writer, end) => {
                self.writer = Some(writer);
                self.on_sent(end);
                if matches!(self.phase, Phase::Left { .. }) {
                    self.tell();
                }
                (self.peer_left || self.is_complete()).then(|| self.verdict())
            }
            Event::PeerFinished => {
                self.peer_finished = true;
                // Where clients come one after the other, each ends the conversation.
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
                // How far the sending pump came is known when it has ended.
                self.leave();
                None
            }
        }
    }

    fn on_sent(&mut self, end: SendEnd) {
        match end {
            // The receiving pump will report the same, and whether it was in order.
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
                    // Where nothing has come for long enough already, that is over at once.
                    self.linger(Quiet::NothingCame);
                }
            }
        }
    }

    /// Whether the peer says where its stream ends, as far as is known.
    fn peer_half_closes(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::peer_half_closes)
    }

    /// Whether both streams are over, and all of both has been delivered.
    fn is_complete(&self) -> bool {
        self.peer_finished && self.delivered
    }

    /// Goes on for as long as the user says, or else until it has become quiet.
    fn linger(&mut self, quiet: Quiet) {
        if matches!(self.phase, Phase::Left { .. }) {
            return;
        }
        let now = Instant::now();
        self.phase = match self.terms.linger {
            Some(time) => Phase::Lingering { until: now + time, quiet: Quiet::Nothing },
            None => Phase::Lingering { until: now + LINGER.max(self.course.meter.elapsed()), quiet },
        };
    }

    /// For how long nothing may come after the end of input.
    fn quiet(&self) -> Duration {
        match self.course.meter.counts() {
            (0, _) => PATIENCE,
            (_, 0) => YOUNG,
            _ => RECENT,
        }
    }

    /// Goes, as soon as what has been read is handed over. What the peer has put into the ring still arrives.
    fn leave(&mut self) {
        if !matches!(self.phase, Phase::Left { .. }) {
            self.phase = Phase::Left { until: Instant::now() + FAREWELL };
            if self.writer.is_none() {
                self.course.stop.stop();
            }
            self.tell();
        }
    }

    /// Whether a signal came before the end of standard input, which the sending pump need not have seen. A terminal has sent all
    /// that was typed.
    fn is_cut_off(&self) -> bool {
        let may_send = !self.input_over && !self.course.reads_terminal();
        self.asked.is_some() && may_send && self.course.has_more_input(Duration::ZERO)
    }

    /// Tells the peer that we go, once nothing more is sent; and whether that is too early.
    fn tell(&self) {
        let Some(writer) = &self.writer else { return };
        if self.failure.is_some() || self.is_cut_off() {
            writer.abort();
        } else {
            writer.leave();
        }
    }

    /// What a peer that left by itself has not got. Where clients come one after the other, what is left of standard input is
    /// for the next one; and who was told to go need not have sent it.
    fn undelivered(&self) -> Option<Failure> {
        if !self.peer_left || self.asked.is_some() {
            return None;
        }
        let rest = self.terms.ends_with_input && !self.input_over && self.course.has_more_input(GRACE);
        let untaken = self.writer.as_ref().map_or(0, untaken);
        Failure::undelivered(rest, untaken)
    }

    fn verdict(&mut self) -> Verdict {
        let failure = self.failure.take().or_else(|| self.undelivered());
        failure.map_or(Ok(()), Err)
    }
}

/// How much a peer that has left has not taken. What is in the ring it takes after that, for as long as this side would.
fn untaken(writer: &Writer) -> usize {
    // A peer of this kind waits for that.
    writer.leave();
    let limit = Instant::now() + FAREWELL;
    loop {
        match writer.pending() {
            Ok(count @ 1..) if Instant::now() >= limit => return count,
            Ok(1..) => std::thread::sleep(AGAIN),
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
