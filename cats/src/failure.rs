//! Failures: an exit code and a one-line message with what was tried, what happened and what to do.

use std::fmt;
use std::process::ExitCode;

use nix::errno::Errno;
use vchan::{transport::xen::XENSTORE, Error};

/// Exit codes of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The conversation ended and everything was delivered, or a signal ended it.
    Done = 0,
    /// Any other error.
    Error = 1,
    /// Invalid command line.
    Usage = 2,
    /// The peer was killed or crashed.
    PeerDied = 3,
    /// The peer failed, or left before consuming everything.
    PeerFailed = 4,
    /// Timeout.
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A failure with its exit code and message.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    text: String,
    peers_fault: bool,
}

impl Failure {
    /// A channel failure, or a failure to establish the channel, while `doing` something.
    pub fn new(doing: &str, error: &Error) -> Failure {
        let exit = match error {
            Error::PeerDied => Exit::PeerDied,
            Error::PeerAborted => Exit::PeerFailed,
            Error::TimedOut(_) => Exit::TimedOut,
            _ => Exit::Error,
        };
        let peers_fault =
            exit != Exit::Error || matches!(error, Error::PeerClosed | Error::Corrupt(_) | Error::Refused(_));
        Failure { exit, text: format!("{doing}: {error}; {}", advice(error)), peers_fault }
    }

    /// A failure of standard input or output; `stream` names it in the message.
    pub fn stream(stream: &str, errno: Errno) -> Failure {
        let text = format!("{stream}: {}; {}", errno_text(errno), stream_advice(errno));
        Failure { exit: Exit::Error, text, peers_fault: false }
    }

    /// The peer left before consuming everything: standard input has a `rest`, or the last `unconsumed` bytes sent
    /// are still in the ring. `None` if it consumed everything.
    pub fn undelivered(rest: bool, unconsumed: usize) -> Option<Failure> {
        let what = match (rest, unconsumed) {
            (false, 0) => return None,
            (false, _) => format!("the peer left without taking the last {unconsumed} bytes"),
            (true, 0) => "the peer left before the end of standard input".into(),
            (true, _) => format!(
                "the peer left before the end of standard input, without taking the last {unconsumed} bytes sent"
            ),
        };
        let text = format!("conversation: {what}; check the other side's messages");
        Some(Failure { exit: Exit::PeerFailed, text, peers_fault: true })
    }

    /// A timeout; `text` is the whole message.
    pub fn timed_out(text: String) -> Failure {
        Failure { exit: Exit::TimedOut, text, peers_fault: true }
    }

    /// Whether the peer caused the failure, so that the next client may succeed.
    pub fn is_peers_fault(&self) -> bool {
        self.peers_fault
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.text))
    }
}

/// One line; control characters are escaped.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

fn advice(error: &Error) -> &'static str {
    match error {
        Error::NoServer { .. } => "start the server first, or use --wait",
        Error::InUse { serving: true, .. } => "stop the other server, or choose another port",
        Error::InUse { serving: false, .. } => "another client connected first; use --wait to be next",
        Error::PeerDied => "some data may be missing, restart both sides",
        Error::PeerAborted => "some data may be missing, check the other side's messages",
        Error::PeerClosed => "restart both sides",
        Error::TimedOut(_) => "check that the other side is running, or allow more time",
        Error::Corrupt(_) => "the peer is broken or hostile, do not trust its data",
        Error::Invalid(_) => "correct the value",
        Error::Refused(_) => "check its owner, or choose another location",
        Error::Os { .. } => match Errno::from_raw(error.errno()) {
            Errno::ENOSPC => "free space on that file system, or use smaller rings (--buffer-size)",
            Errno::EACCES | Errno::EPERM => "check the permissions, or run as another user",
            Errno::EMFILE | Errno::ENFILE => "close other files, or raise the limit (ulimit -n)",
            Errno::ENOMEM => "free memory, or use smaller rings (--buffer-size)",
            Errno::ENOENT | Errno::ENOTDIR => "check that it exists",
            Errno::ENAMETOOLONG => "choose a shorter path or smaller rings",
            _ => "check the system log, then try again",
        },
        Error::Transport { part: XENSTORE, .. } => {
            "check that xenstored is running and this domain's permissions there"
        }
        _ => "restart both sides",
    }
}

/// A warning: standard input is unusable, so nothing is sent.
pub fn no_input(errno: Errno) -> String {
    format!("standard input: {}; continuing to receive without it", errno_text(errno))
}

/// The C library's text for the errno.
fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn stream_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EPIPE => "the reader of this output has exited, the peer was notified",
        Errno::ENOSPC | Errno::EDQUOT => "free space there and restart, the peer was notified",
        Errno::EISDIR => "give it a file or a pipe",
        Errno::EBADF => "open it before starting this program",
        Errno::EFBIG => "raise the limit on file sizes (ulimit -f)",
        _ => "check that file or device, the peer was notified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let error = Error::Invalid("a\nb\tc\u{7}é".into());
        assert_eq!(Failure::new("port", &error).to_string(), "port: a\\nb\\tc\\u{7}é; correct the value");
    }

    #[test]
    fn exit_code_follows_error() {
        assert_eq!(Failure::new("x", &Error::PeerDied).exit, Exit::PeerDied);
        assert_eq!(Failure::new("x", &Error::TimedOut(std::time::Duration::ZERO)).exit, Exit::TimedOut);
        assert_eq!(Failure::new("x", &Error::PeerAborted).exit, Exit::PeerFailed);
        assert_eq!(Failure::new("x", &Error::PeerClosed).exit, Exit::Error);
        assert_eq!(Failure::stream("standard output", Errno::EPIPE).exit, Exit::Error);
    }
}
