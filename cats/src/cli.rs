//! The command line.

use std::ffi::OsString;
use std::io::{stderr, stdout, Write};
use std::time::Duration;

use vchan::DomId;

use crate::failure::{one_line, Exit};
use crate::help::help;
use crate::line::{Key, Line, UsageError};
use crate::meet::{Point, Tool};
use crate::size;

/// Domain IDs from 0x7FF0 on are reserved by Xen.
const LAST_DOMID: DomId = 0x7FEF;

/// Mutually exclusive options.
const EXCLUSIVE: [(Key, Key); 4] = [
    (Key::RecvOnly, Key::SendOnly),
    (Key::Listen, Key::Wait),
    (Key::Quiet, Key::Verbose),
    (Key::Quiet, Key::Progress),
];

/// Parsed command-line options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Server mode; without it the tool is a client.
    pub listen: bool,
    /// The peer's domain.
    pub domid: DomId,
    /// Where server and client meet.
    pub point: Point,
    /// Ring size per direction, in bytes.
    pub buffer_size: usize,
    /// Receive only.
    pub recv_only: bool,
    /// Send only.
    pub send_only: bool,
    /// How long a client waits for its server.
    pub wait_limit: WaitLimit,
    /// How long to keep receiving after the end of standard input.
    pub linger: Option<Duration>,
    /// Idle timeout.
    pub timeout: Option<Duration>,
    /// Serve clients one after another.
    pub keep_listening: bool,
    /// Print only errors.
    pub quiet: bool,
    /// Print details.
    pub verbose: bool,
    /// Show progress.
    pub progress: bool,
}

/// How long to wait for a server that does not exist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitLimit {
    /// Not at all.
    None,
    /// Up to this long.
    AtMost(Duration),
    /// Until a signal arrives.
    Forever,
}

/// Parses the command line. Prints help, version and errors itself; `Err` carries the exit code.
pub fn parse(tool: &dyn Tool, args: impl Iterator<Item = OsString>) -> Result<Options, Exit> {
    let line = match Line::read(args.skip(1)) {
        Ok(line) => line,
        Err(message) => return Err(report_usage_error(tool, &message)),
    };
    if line.has(Key::Help) {
        return Err(print(&help(tool, line.brief)));
    }
    if line.has(Key::Version) {
        return Err(print(&format!("{} {} (vchan-rs)\n", tool.name(), env!("CARGO_PKG_VERSION"))));
    }
    options(tool, line).map_err(|message| report_usage_error(tool, &message))
}

fn print(text: &str) -> Exit {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Error,
    }
}

fn report_usage_error(tool: &dyn Tool, message: &str) -> Exit {
    let line = format!("{0}: {1}; see {0} --help\n", tool.name(), one_line(message));
    // Nothing sensible can be done if standard error is not writable.
    let _ = stderr().write_all(line.as_bytes());
    Exit::Usage
}

/// Validates and converts the parsed line.
fn options(tool: &dyn Tool, mut line: Line) -> Result<Options, UsageError> {
    for (one, other) in EXCLUSIVE {
        if line.has(one) && line.has(other) {
            return Err(format!("--{} and --{} are mutually exclusive", one.name(), other.name()));
        }
    }
    if line.has(Key::KeepListening) && !line.has(Key::Listen) {
        return Err("--keep-listening needs --listen".into());
    }
    resolve_wait_seconds(&mut line)?;
    let path = line.value(Key::Path).map(str::to_owned);
    if let (Some(port), Some(_)) = (line.words.get(1), &path) {
        return Err(format!("PORT '{port}' and --path are mutually exclusive"));
    }
    if let Some(more) = line.words.get(2) {
        return Err(format!("unexpected argument '{more}' after DOMID and PORT"));
    }
    let domid = line.words.first().map(|word| domid(word)).transpose()?;
    let port = line.words.get(1).map(|word| port(word)).transpose()?;
    let buffer_size = value(&line, Key::BufferSize, size::bytes)?.unwrap_or(tool.buffer_size());
    let wait = value(&line, Key::Wait, size::seconds)?;
    let timeout = value(&line, Key::Timeout, size::seconds)?;
    let linger = value(&line, Key::Linger, size::seconds_or_zero)?;
    let (domid, point) = match (domid, path.map(Point::Path).or(port.map(Point::Port))) {
        (Some(domid), Some(point)) => (domid, point),
        (Some(_), None) => return Err("PORT is missing".into()),
        (None, Some(_)) => return Err("DOMID is missing".into()),
        (None, None) => return Err("DOMID and PORT are missing".into()),
    };
    let wait_limit = match wait.or(timeout) {
        _ if !line.has(Key::Wait) => WaitLimit::None,
        Some(limit) => WaitLimit::AtMost(limit),
        None => WaitLimit::Forever,
    };
    Ok(Options {
        listen: line.has(Key::Listen),
        domid,
        point,
        buffer_size,
        recv_only: line.has(Key::RecvOnly),
        send_only: line.has(Key::SendOnly),
        wait_limit,
        linger,
        timeout,
        keep_listening: line.has(Key::KeepListening),
        quiet: line.has(Key::Quiet),
        verbose: line.has(Key::Verbose),
        progress: line.has(Key::Progress),
    })
}

/// In `--wait 5 0 port`, 5 can only be the seconds. In `--wait 5 port` it would be DOMID, which is rarely
/// intended.
fn resolve_wait_seconds(line: &mut Line) -> Result<(), UsageError> {
    let Some(at) = line.after_wait.filter(|&at| size::seconds(&line.words[at]).is_ok()) else {
        return Ok(());
    };
    let needed = if line.has(Key::Path) { 1 } else { 2 };
    if line.words.len() == needed + 1 {
        line.make_value(Key::Wait, at);
    } else if line.words.len() == needed {
        let (word, what) = (&line.words[at], if at == 0 { "DOMID" } else { "PORT" });
        return Err(format!(
            "'--wait {word}' is ambiguous: for SECONDS write --wait={word}; if {word} is {what}, write --wait after it"
        ));
    }
    Ok(())
}

/// Parses the value of an option; `read` returns the reason for rejecting it.
fn value<T>(
    line: &Line,
    key: Key,
    read: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, UsageError> {
    let Some(text) = line.value(key) else { return Ok(None) };
    read(text).map(Some).map_err(|wrong| format!("--{} '{text}' {wrong}", key.name()))
}

fn domid(text: &str) -> Result<DomId, UsageError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|&number| digits && number <= LAST_DOMID);
    number.ok_or_else(|| format!("invalid DOMID '{text}', expected 0 to {LAST_DOMID}"))
}

fn port(text: &str) -> Result<String, UsageError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() {
        return Err("PORT is empty".into());
    }
    if !text.bytes().all(valid) {
        return Err(format!("invalid PORT '{text}', expected letters, digits, '_' and '-'"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{UNIXCAT, XENCAT};

    fn read(line: &str) -> Options {
        Line::read(line.split_whitespace().map(OsString::from))
            .and_then(|line| options(&XENCAT, line))
            .unwrap()
    }

    #[test]
    fn typical_command_lines_parse() {
        let server = read("-l 0 some_port-1");
        assert!(server.listen && !server.keep_listening && server.wait_limit == WaitLimit::None);
        assert_eq!((server.domid, server.buffer_size), (0, 65536));
        assert_eq!(
            options(&UNIXCAT, Line::read(["0", "p"].map(OsString::from).into_iter()).unwrap())
                .unwrap()
                .buffer_size,
            1 << 20
        );
        assert_eq!(server.point, Point::Port("some_port-1".into()));
        assert_eq!(read("0 --path /a/b").point, Point::Path("/a/b".into()));
        assert_eq!(read("-lk 7 p").domid, 7);
        assert_eq!(read("32751 p").domid, 32751);
    }

    #[test]
    fn wait_limit_follows_wait_and_timeout() {
        let wait_limit = |line| read(line).wait_limit;
        let seconds = |count| WaitLimit::AtMost(Duration::from_secs(count));
        assert_eq!(wait_limit("0 p"), WaitLimit::None);
        assert_eq!(wait_limit("0 p --timeout 3"), WaitLimit::None);
        assert_eq!(wait_limit("--wait 0 p"), WaitLimit::Forever);
        assert_eq!(wait_limit("--wait --timeout 3 0 p"), seconds(3));
        assert_eq!(wait_limit("--wait=2 --timeout 3 0 p"), seconds(2));
        assert_eq!(wait_limit("--wait 2 --timeout 3 0 p"), seconds(2));
        assert_eq!(wait_limit("7 p --wait 2"), seconds(2));
    }
}
