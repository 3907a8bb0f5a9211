//! From the command line to the last word: meets the peer and talks to it; a server perhaps to one after the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use vchan::transport::Transport;
use vchan::{Closer, Error, Vchan};

use crate::cli::{Options, Patience};
use crate::ending::{converse, Ended, Terms};
use crate::failure::Failure;
use crate::meet::{contradiction, Tool, ORDERS};
use crate::notice::unless_soon;
use crate::progress::Progress;
use crate::pump::prepare_to_interrupt;
use crate::report::Report;
use crate::signals::Signals;
use crate::size::human;
use crate::told;

/// Does what the options ask for.
pub fn talk(tool: &dyn Tool, options: &Options, report: &Report) -> Result<(), Failure> {
    if let Some(warning) = contradiction(tool) {
        report.warning(warning);
    }
    let start = |error| Failure::new("start", &Error::os("catch signals", error));
    let signals = Signals::catch().map_err(start)?;
    prepare_to_interrupt().map_err(|errno| start(errno.into()))?;
    let led_by = tool.led_by().filter(|_| !options.listen);
    let doing = match led_by {
        _ if options.listen => "listen".into(),
        Some(variable) => format!("connect by {variable}"),
        None => "connect".into(),
    };
    let transport = tool.transport(options.listen).map_err(|error| Failure::new(&doing, &error))?;
    let session = Session {
        options,
        report,
        doing,
        led_by,
        elsewhere: tool.elsewhere(),
        transport: &*transport,
        signals: &signals,
    };
    if options.listen {
        session.serve()
    } else {
        session.call()
    }
}

struct Session<'a> {
    options: &'a Options,
    report: &'a Report,
    /// What a failure of the meeting is a failure of.
    doing: String,
    /// The variable that leads a client to its server.
    led_by: Option<&'static str>,
    /// What to do about one that waits at the wrong place.
    elsewhere: &'static str,
    transport: &'a dyn Transport,
    signals: &'a Signals,
}

impl Session<'_> {
    fn call(&self) -> Result<(), Failure> {
        let closer = self.closer()?;
        if self.options.patience != Patience::None {
            match self.led_by {
                Some(variable) => self.report.detail(format_args!("waiting for the server of {variable}")),
                None => self.report.detail(format_args!("waiting for a server of {}", self.options.point)),
            }
        }
        let client = self.options.point.client(self.options.domid);
        let met = client.transport(self.transport).closer(&closer).connect();
        let met = match met {
            Err(why @ (Error::NoServer { .. } | Error::InUse { serving: false, .. })) => {
                self.wait_for_server(&closer, why)
            }
            met => met,
        };
        match self.unless_asked(met).map_err(|error| Failure::new(&self.doing, &error))? {
            Some(vchan) => self.converse(vchan, &mut !self.options.recv_only),
            None => Ok(()),
        }
    }

    /// Waits, as long as the options say, for a server that was looked for in vain.
    fn wait_for_server(&self, closer: &Closer, why: Error) -> vchan::Result<Vchan> {
        let client = self.options.point.client(self.options.domid).transport(self.transport).closer(closer);
        let client = match self.options.patience {
            Patience::None => return Err(why),
            Patience::AtMost(limit) => client.wait(limit),
            Patience::ForEver => client.wait_forever(),
        };
        let hint = match self.led_by {
            Some(variable) => format!("unset {variable} to go by DOMID and PORT"),
            None => self.elsewhere.into(),
        };
        unless_soon(|| self.report.note(format_args!("still waiting: {why}; {hint}")), || client.connect())
    }

    fn serve(&self) -> Result<(), Failure> {
        let mut reads_input = !self.options.recv_only;
        let mut announced = Vec::new();
        loop {
            let closer = self.closer()?;
            let listening = self
                .options
                .point
                .server(self.options.domid)
                .transport(self.transport)
                .buffer_size(self.options.buffer_size)
                .order_table(ORDERS)
                .closer(&closer)
                .listen();
            let listening =
                self.unless_asked(listening).map_err(|error| Failure::new(&self.doing, &error))?;
            let Some(listening) = listening else { return Ok(()) };
            let announcement = self.transport.export_lines(listening.meeting());
            let announcement = announcement.map_err(|error| Failure::new(&self.doing, &error))?;
            if announcement != announced {
                announcement.iter().for_each(|line| self.report.line(line));
                announced = announcement;
            }
            self.report.detail(format_args!("serving at {}", listening.path()));
            // A server that keeps listening has nothing to be impatient about between two clients.
            let limit = self.options.timeout.filter(|_| !self.options.keep_listening);
            let met = listening.accept(limit);
            let ended =
                match self.unless_asked(met).map_err(|error| Failure::new("wait for a client", &error)) {
                    Ok(Some(vchan)) => self.converse(vchan, &mut reads_input),
                    Ok(None) => return Ok(()),
                    Err(failure) => Err(failure),
                };
            if !self.options.keep_listening || self.signals.asked() {
                return ended;
            }
            match ended {
                // What one client did is no reason to refuse the next one.
                Err(failure) if failure.is_the_peers() => self.report.failure(&failure),
                ended => ended?,
            }
        }
    }

    /// Talks; `reads_input` says whether standard input is to be read, before and after.
    fn converse(&self, vchan: Vchan, reads_input: &mut bool) -> Result<(), Failure> {
        let warning = self.led_by.and_then(|by| told::warning(by, &self.options.point, &vchan));
        warning.iter().for_each(|warning| self.report.warning(warning));
        self.report.line("Connected.");
        match self.led_by {
            Some(variable) => self.report.detail(told::description(variable, &vchan)),
            None => self.report.detail(format_args!("connected at {}", vchan.path())),
        }
        let input = if *reads_input { Some(own(&io::stdin(), "standard input")?) } else { None };
        let output = if self.options.send_only { nowhere()? } else { own(&io::stdout(), "standard output")? };
        let terms = Terms {
            ends_with_input: !self.options.keep_listening,
            lingers: !self.options.send_only,
            timeout: self.options.timeout,
        };
        let progress = Progress::new(self.options.progress);
        let ended = converse(vchan, &terms, input, output, self.signals, &progress);
        progress.finish();
        let Ended { input_over, counts: (sent, received), lasted } = ended?;
        *reads_input &= !input_over;
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
        let closer = Closer::new().map_err(|error| Failure::new("start", &error))?;
        let other = closer.clone();
        self.signals.direct_to(move || other.close());
        Ok(closer)
    }

    /// `None` if a signal ended the attempt to meet.
    fn unless_asked(&self, attempt: vchan::Result<Vchan>) -> vchan::Result<Option<Vchan>> {
        match attempt {
            Err(Error::Closed) if self.signals.asked() => Ok(None),
            other => other.map(Some),
        }
    }
}

fn own(stream: &impl AsFd, name: &str) -> Result<OwnedFd, Failure> {
    stream.as_fd().try_clone_to_owned().map_err(|error| failed(name, &error))
}

fn nowhere() -> Result<OwnedFd, Failure> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
    null.map(OwnedFd::from).map_err(|error| failed("/dev/null", &error))
}

fn failed(name: &str, error: &io::Error) -> Failure {
    Failure::stream(name, nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
