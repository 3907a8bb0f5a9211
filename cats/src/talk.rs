//! From the command line to the exit: meets the peer and runs the conversation; a server may serve several in
//! turn.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use vchan::transport::Transport;
use vchan::{Closer, Error, Vchan};

use crate::cli::{Options, WaitLimit};
use crate::ending::{converse, Ended, Terms};
use crate::failure::{no_input, Failure};
use crate::meet::{transport_warning, Tool, ORDERS};
use crate::notice::with_notice;
use crate::progress::Progress;
use crate::pump::prepare_to_interrupt;
use crate::report::Report;
use crate::signals::Signals;
use crate::size::human;
use crate::standard::{self, has_reader};
use crate::told;

/// Runs the tool with these options.
pub fn talk(tool: &dyn Tool, options: &Options, report: &Report) -> Result<(), Failure> {
    if let Some(warning) = transport_warning(tool) {
        report.warning(warning);
    }
    let start = |error| Failure::new("start", &Error::os("catch signals", error));
    let signals = Signals::catch().map_err(start)?;
    prepare_to_interrupt().map_err(|errno| start(errno.into()))?;
    let mut input = input(options, report)?;
    let output = output(options)?;
    if has_reader(&output) {
        let watched = output.try_clone().map_err(|error| failed("standard output", &error))?;
        signals.watch(watched).map_err(|error| Failure::new("start", &Error::os("start a thread", error)))?;
    }
    let server_variable = tool.server_variable().filter(|_| !options.listen);
    let doing = match server_variable {
        _ if options.listen => "listen".into(),
        Some(variable) => format!("connect by {variable}"),
        None => "connect".into(),
    };
    let transport = tool.transport(options.listen).map_err(|error| Failure::new(&doing, &error))?;
    let session = Session {
        options,
        report,
        doing,
        server_variable,
        wait_hint: tool.wait_hint(),
        transport: Arc::from(transport),
        signals: &signals,
        output,
    };
    if options.listen {
        session.serve(&mut input)
    } else {
        session.connect(&mut input)
    }
}

/// Standard input, if it is used and open.
fn input(options: &Options, report: &Report) -> Result<Input, Failure> {
    if options.recv_only {
        return Ok(None);
    }
    match standard::input() {
        Ok(input) => Ok(Some(Arc::new(input))),
        Err(Errno::EBADF) if !options.send_only => {
            report.warning(no_input(Errno::EBADF));
            Ok(None)
        }
        Err(errno) => Err(Failure::stream("standard input", errno)),
    }
}

/// Destination of received data.
fn output(options: &Options) -> Result<OwnedFd, Failure> {
    if options.send_only {
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
        return null.map(OwnedFd::from).map_err(|error| failed("/dev/null", &error));
    }
    standard::output().map_err(|errno| Failure::stream("standard output", errno))
}

/// Standard input, until its EOF.
type Input = Option<Arc<OwnedFd>>;

struct Session<'a> {
    options: &'a Options,
    report: &'a Report,
    /// The operation named in failures of the meeting.
    doing: String,
    /// The environment variable that names a client's server.
    server_variable: Option<&'static str>,
    /// A hint for a client that may be waiting in the wrong place.
    wait_hint: &'static str,
    transport: Arc<dyn Transport>,
    signals: &'a Signals,
    output: OwnedFd,
}

impl Session<'_> {
    fn connect(&self, input: &mut Input) -> Result<(), Failure> {
        let closer = self.closer()?;
        if self.options.wait_limit != WaitLimit::None {
            match self.server_variable {
                Some(variable) => self.report.detail(format_args!("waiting for the server of {variable}")),
                None => self.report.detail(format_args!("waiting for a server of {}", self.options.point)),
            }
        }
        let client = self.options.point.client(self.options.domid);
        let met = client.transport(self.transport.clone()).closer(&closer).connect();
        let met = match met {
            Err(why @ (Error::NoServer { .. } | Error::InUse { serving: false, .. })) => {
                self.wait_for_server(&closer, why)
            }
            met => met,
        };
        match self.unless_signalled(&self.doing, met)? {
            Some(vchan) => self.converse(vchan, input),
            None => Ok(()),
        }
    }

    /// Waits for a missing server as long as the options allow.
    fn wait_for_server(&self, closer: &Closer, why: Error) -> vchan::Result<Vchan> {
        let client =
            self.options.point.client(self.options.domid).transport(self.transport.clone()).closer(closer);
        let client = match self.options.wait_limit {
            WaitLimit::None => return Err(why),
            WaitLimit::AtMost(limit) => client.wait(limit),
            WaitLimit::Forever => client.wait_forever(),
        };
        let hint = match self.server_variable {
            Some(variable) => format!("unset {variable} to use DOMID and PORT"),
            None => self.wait_hint.into(),
        };
        with_notice(|| self.report.note(format_args!("still waiting: {why}; {hint}")), || client.connect())
    }

    fn serve(&self, input: &mut Input) -> Result<(), Failure> {
        let mut announced = Vec::new();
        loop {
            let closer = self.closer()?;
            let listening = self
                .options
                .point
                .server(self.options.domid)
                .transport(self.transport.clone())
                .buffer_size(self.options.buffer_size)
                .order_table(ORDERS)
                .closer(&closer)
                .open();
            let Some(listening) = self.unless_signalled(&self.doing, listening)? else { return Ok(()) };
            let announcement = self.transport.export_lines(listening.rendezvous());
            let announcement = announcement.map_err(|error| Failure::new(&self.doing, &error))?;
            if announcement != announced {
                announcement.iter().for_each(|line| self.report.line(line));
                announced = announcement;
            }
            self.report.detail(format_args!("serving at {}", listening.path()));
            // With --keep-listening there is no timeout between two clients.
            let limit = self.options.timeout.filter(|_| !self.options.keep_listening);
            let met = listening.wait_for_client(limit).map(|()| listening);
            if met.as_ref().is_err_and(|error| error.errno() == Errno::EIDRM as i32) {
                self.report.detail("the published address was removed, publishing again");
                continue;
            }
            let ended = match self.unless_signalled("wait for a client", met) {
                Ok(Some(vchan)) => self.converse(vchan, input),
                Ok(None) => return Ok(()),
                Err(failure) => Err(failure),
            };
            if !self.options.keep_listening || self.signals.signal_received() {
                return ended;
            }
            match ended {
                // A client's failure does not end the server.
                Err(failure) if failure.is_peers_fault() => self.report.failure(&failure),
                ended => ended?,
            }
        }
    }

    fn converse(&self, vchan: Vchan, input: &mut Input) -> Result<(), Failure> {
        let warning = self.server_variable.and_then(|by| told::warning(by, &self.options.point, &vchan));
        warning.iter().for_each(|warning| self.report.warning(warning));
        self.report.line("Connected.");
        match self.server_variable {
            Some(variable) => self.report.detail(told::description(variable, &vchan)),
            None => self.report.detail(format_args!("connected at {}", vchan.path())),
        }
        let output = self.output.try_clone().map_err(|error| failed("standard output", &error))?;
        let terms = Terms {
            ends_with_input: !self.options.keep_listening,
            lingers: !self.options.send_only,
            linger: self.options.linger,
            timeout: self.options.timeout,
            report: self.report,
        };
        let progress = Progress::new(self.options.progress);
        let ended = converse(vchan, &terms, input, output, self.signals, &progress);
        progress.finish();
        let Ended { counts: (sent, received), lasted } = ended?;
        self.report.line("Disconnected.");
        self.report.detail(format_args!(
            "sent {}, received {} in {:.3} s",
            human(sent),
            human(received),
            lasted.as_secs_f64()
        ));
        Ok(())
    }

    /// A closer that signals use until the conversation begins.
    fn closer(&self) -> Result<Closer, Failure> {
        let closer = Closer::new();
        let other = closer.clone();
        self.signals.set_listener(move |_| other.close());
        Ok(closer)
    }

    /// `None` if a signal ended the attempt to meet.
    fn unless_signalled(&self, doing: &str, attempt: vchan::Result<Vchan>) -> Result<Option<Vchan>, Failure> {
        match attempt {
            Err(Error::Closed) if self.signals.signal_received() => Ok(None),
            Err(Error::Closed) if self.signals.output_lost() => {
                Err(Failure::stream("standard output", Errno::EPIPE))
            }
            other => other.map(Some).map_err(|error| Failure::new(doing, &error)),
        }
    }
}

fn failed(name: &str, error: &io::Error) -> Failure {
    Failure::stream(name, Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
