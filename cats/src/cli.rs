//! The command line.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Command, CommandFactory, FromArgMatches, Parser};
use vchan::DomId;

use crate::failure::Exit;
use crate::meet::{Point, Tool};
use crate::size;

/// Xen's numbers from 0x7FF0 on have special meanings and name no domain.
const LAST_DOMID: u64 = 0x7FEF;

/// What the user asked for.
#[derive(Clone, Debug, Parser)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Options {
    /// Be the server: wait for a client (without it: connect to a server)
    #[arg(short = 'l', long)]
    pub listen: bool,

    /// The other side's domain, 0 to 32751
    #[arg(value_name = "DOMID", value_parser = RangedU64ValueParser::<DomId>::new().range(0..=LAST_DOMID))]
    pub domid: DomId,

    /// The name of the meeting point: letters, digits, '_' and '-'
    #[arg(value_name = "PORT", value_parser = port, required_unless_present = "path")]
    port: Option<String>,

    /// Meet at this path, as of xenstore, instead of PORT's; without a '/' before it is relative to the server's
    /// or, for a client, its own /local/domain/NUMBER/
    #[arg(long, value_name = "PATH", conflicts_with = "port")]
    path: Option<String>,

    /// Size of the ring in each direction, K and M for KiB and MiB; it is the server's that counts, and more than
    /// 1M has the effect of 1M
    #[arg(long, value_name = "BYTES", default_value = "64K", value_parser = size::bytes)]
    pub buffer_size: usize,

    /// Only receive: leave standard input alone; the peer ends the conversation
    #[arg(long, conflicts_with = "send_only")]
    pub recv_only: bool,

    /// Only send: throw away whatever comes in
    #[arg(long)]
    pub send_only: bool,

    /// As a client, wait until the server is there, for SECONDS at most
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, value_parser = size::seconds,
          conflicts_with = "listen")]
    pub wait: Option<Option<Duration>>,

    /// Give up when nothing has moved, in either direction, for SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = size::seconds)]
    pub timeout: Option<Duration>,

    /// Serve one client after the other, until a signal comes
    #[arg(short = 'k', long, requires = "listen")]
    pub keep_listening: bool,

    /// Print nothing but errors on standard error
    #[arg(short = 'q', long, conflicts_with_all = ["verbose", "progress"])]
    pub quiet: bool,

    /// Print also where the meeting takes place, and how much was moved
    #[arg(short = 'v', long)]
    pub verbose: bool,

    /// Show the bytes moved and the rate, if standard error is a terminal
    #[arg(long)]
    pub progress: bool,

    /// Print help
    #[arg(short = 'h', long, action = ArgAction::HelpLong)]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

impl Options {
    /// Where the sides meet.
    pub fn point(&self) -> Point {
        match (&self.path, &self.port) {
            (Some(path), _) => Point::Path(path.clone()),
            (None, port) => Point::Port(port.clone().unwrap_or_default()),
        }
    }

    /// How long a client waits for its server: not at all, for some time, or for ever.
    pub fn patience(&self) -> Patience {
        match self.wait {
            None => Patience::None,
            Some(given) => given.or(self.timeout).map_or(Patience::ForEver, Patience::AtMost),
        }
    }
}

/// How long to wait for a server that isn't there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// Not longer than this.
    AtMost(Duration),
    /// Until a signal comes.
    ForEver,
}

/// The command-line parser of `tool`.
pub fn command(tool: &dyn Tool) -> Command {
    Options::command()
        .name(tool.name())
        .bin_name(tool.name())
        .version(concat!(env!("CARGO_PKG_VERSION"), " (vchan-rs)"))
        .about(tool.about())
        .override_usage(format!(
            "{0} [OPTIONS] <DOMID> <PORT>\n       {0} [OPTIONS] --path <PATH> <DOMID>",
            tool.name()
        ))
        .after_help(format!("{}{COMMON_HELP}", tool.examples()))
}

/// Reads the command line. Help, the version and complaints are printed here, what is left is the exit code.
pub fn parse(tool: &dyn Tool, args: impl Iterator<Item = OsString>) -> Result<Options, Exit> {
    let parsed =
        command(tool).try_get_matches_from(args).and_then(|matches| Options::from_arg_matches(&matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Exit::Done,
            Err(_) => Exit::Error,
        },
        _ => {
            let line = one_line(&error.render().to_string());
            let complaint = format!("{0}: {line}; see {0} --help\n", tool.name());
            let _ = std::io::stderr().write_all(complaint.as_bytes());
            Exit::Usage
        }
    })
}

/// The first paragraph of clap's complaint, without its label; the others repeat the usage.
fn one_line(complaint: &str) -> String {
    let paragraph = complaint.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn port(text: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || !text.bytes().all(valid) {
        return Err("a port is one or more letters, digits, '_' or '-'".into());
    }
    Ok(text.to_owned())
}

const COMMON_HELP: &str = "
What is read from standard input goes to the peer, what the peer sends goes to standard output. The end of
standard input on either side ends the conversation, after every byte has arrived. A server reads nothing before
its client is there.

SIGINT, SIGTERM and SIGHUP end it in order at any moment, with exit code 0: what has been read is still handed
over, the peer is told, nothing is left behind. A second signal ends it at once.

With -k, standard input goes to whichever client is there, and its end ends no conversation: the clients do that.
What one client fails to read, the next doesn't get.

--timeout counts while waiting for the other side, too; with -k it ends only the idle conversation.

Exit codes:
  0    done: the peer has taken everything, or a signal asked for the end
  1    an error, told in one line
  2    the command line makes no sense
  3    the peer was killed or crashed
  4    the peer left before it had taken everything, or said that it failed
  124  the time of --timeout or --wait ran out";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UNIXCAT;

    fn options(line: &str) -> Result<Options, clap::Error> {
        let words = std::iter::once("unixcat").chain(line.split_whitespace());
        command(&UNIXCAT).try_get_matches_from(words).and_then(|matches| Options::from_arg_matches(&matches))
    }

    #[test]
    fn clap_finds_no_fault_with_the_definition() {
        command(&UNIXCAT).debug_assert();
    }

    #[test]
    fn the_usual_lines_are_understood() {
        let server = options("-l 0 some_port-1").unwrap();
        assert!(server.listen && !server.keep_listening && server.wait.is_none());
        assert_eq!((server.domid, server.buffer_size), (0, 65536));
        assert_eq!(server.point(), Point::Port("some_port-1".into()));
        assert_eq!(options("0 --path /a/b").unwrap().point(), Point::Path("/a/b".into()));
        assert_eq!(options("-lk 7 p").unwrap().domid, 7);
        assert_eq!(options("32751 p").unwrap().domid, 32751);
    }

    #[test]
    fn patience_follows_from_wait_and_timeout() {
        let patience = |line| options(line).unwrap().patience();
        let seconds = |count| Patience::AtMost(Duration::from_secs(count));
        assert_eq!(patience("0 p"), Patience::None);
        assert_eq!(patience("0 p --timeout 3"), Patience::None);
        assert_eq!(patience("--wait 0 p"), Patience::ForEver);
        assert_eq!(patience("--wait --timeout 3 0 p"), seconds(3));
        assert_eq!(patience("--wait=2 --timeout 3 0 p"), seconds(2));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "0",
            "0 a b",
            "0 a --path /b",
            "0 --path",
            "32752 p",
            "-1 p",
            "x p",
            "0 p.q",
            "0 p/q",
            "0 é",
            "-k 0 p",
            "-l --wait 0 p",
            "--send-only --recv-only 0 p",
            "-q -v 0 p",
            "--buffer-size 0 0 p",
            "--timeout 0 0 p",
            "--wait=x 0 p",
            "--nonsense 0 p",
        ] {
            assert!(options(line).is_err(), "{line:?}");
        }
        assert!(port("").is_err());
    }

    #[test]
    fn a_complaint_is_one_line() {
        let line = |text| one_line(&options(text).unwrap_err().render().to_string());
        assert_eq!(line(""), "the following required arguments were not provided: <DOMID> <PORT>");
        assert!(line("0 p/q").starts_with("invalid value 'p/q' for '[PORT]': a port is"));
    }
}
