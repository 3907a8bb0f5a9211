//! Failures: the exit code, and the one line that names what was tried, what happened and what to do.

use std::fmt;
use std::process::ExitCode;

use nix::errno::Errno;
use vchan::Error;

/// What the process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The conversation is over and everything has been delivered, or the user asked for the end.
    Done = 0,
    /// Something failed.
    Error = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The peer was killed, or crashed.
    PeerDied = 3,
    /// The peer left because of a failure, or before it had got everything.
    PeerFailed = 4,
    /// The time allowed ran out.
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a tool ends with another code than 0.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    text: String,
    peers: bool,
}

impl Failure {
    /// A failure of the channel, or of the way to it, while `doing` something.
    pub fn new(doing: &str, error: &Error) -> Failure {
        let exit = match error {
            Error::PeerDied => Exit::PeerDied,
            Error::PeerAborted => Exit::PeerFailed,
            Error::TimedOut(_) => Exit::TimedOut,
            _ => Exit::Error,
        };
        let peers =
            exit != Exit::Error || matches!(error, Error::PeerClosed | Error::Corrupt(_) | Error::Refused(_));
        Failure { exit, text: format!("{doing}: {error}; {}", advice(error)), peers }
    }

    /// A failure of standard input or output, called `stream` in the message.
    pub fn stream(stream: &str, errno: Errno) -> Failure {
        let text = format!("{stream}: {}; {}", described(errno), stream_advice(errno));
        Failure { exit: Exit::Error, text, peers: false }
    }

    /// The peer left before it had got everything: the `rest` of standard input, or the last `untaken` bytes of what was
    /// sent. `None` if it got everything.
    pub fn undelivered(rest: bool, untaken: usize) -> Option<Failure> {
        let what = match (rest, untaken) {
            (false, 0) => return None,
            (false, _) => format!("the peer left without taking the last {untaken} bytes"),
            (true, 0) => "the peer left before the end of standard input".into(),
            (true, _) => format!(
                "the peer left before the end of standard input, without taking the last {untaken} bytes sent"
            ),
        };
        let text = format!("conversation: {what}; see what the other side says");
        Some(Failure { exit: Exit::PeerFailed, text, peers: true })
    }

    /// The time allowed ran out; `text` is the whole message.
    pub fn timed_out(text: String) -> Failure {
        Failure { exit: Exit::TimedOut, text, peers: true }
    }

    /// Whether the peer is to blame, so that it may go well with another one.
    pub fn is_the_peers(&self) -> bool {
        self.peers
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.text))
    }
}

/// One line, whatever strange names it contains: what would control a terminal is written out.
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
        Error::NoServer { .. } => "start the server first, or give --wait",
        Error::InUse { serving: true, .. } => "end the other server, or choose another port",
        Error::InUse { serving: false, .. } => "another client was first; give --wait to be the next",
        Error::PeerDied => "some data may be missing, start both sides again",
        Error::PeerAborted => "some data may be missing, see what the other side says",
        Error::PeerClosed => "start both sides again",
        Error::TimedOut(_) => "check that the other side runs, or allow more time",
        Error::Corrupt(_) => "the other program is broken or hostile, don't trust what it sent",
        Error::Invalid(_) => "correct the value",
        Error::Refused(_) => "check who owns it, or choose another place",
        Error::Os { .. } => match Errno::from_raw(error.errno()) {
            Errno::ENOSPC => "make room on that file system, or ask for smaller rings by --buffer-size",
            Errno::EACCES | Errno::EPERM => "check the permissions, or run it as another user",
            Errno::EMFILE | Errno::ENFILE => "close other files, or raise the limit (ulimit -n)",
            Errno::ENOMEM => "free memory, or ask for smaller rings by --buffer-size",
            Errno::ENOENT | Errno::ENOTDIR => "check that it exists",
            Errno::ENAMETOOLONG => "choose a shorter path or smaller rings",
            _ => "see what the system says, and try again",
        },
        Error::Xenstore(_) => "see that xenstored runs, and what this domain may do there",
        _ => "start both sides again",
    }
}

/// A warning: standard input is none, so that there is nothing to say.
pub fn no_input(errno: Errno) -> String {
    format!("standard input: {}; receiving goes on without it", described(errno))
}

/// What the C library calls it.
fn described(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn stream_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EPIPE => "whoever read this output has ended, the peer has been told",
        Errno::ENOSPC | Errno::EDQUOT => "make room there and start again, the peer has been told",
        Errno::EISDIR => "give it a file or a pipe",
        Errno::EBADF => "open it before starting this program",
        Errno::EFBIG => "raise the limit on file sizes (ulimit -f)",
        _ => "check that file or device, the peer has been told",
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
    fn the_exit_code_follows_from_the_error() {
        assert_eq!(Failure::new("x", &Error::PeerDied).exit, Exit::PeerDied);
        assert_eq!(Failure::new("x", &Error::TimedOut(std::time::Duration::ZERO)).exit, Exit::TimedOut);
        assert_eq!(Failure::new("x", &Error::PeerAborted).exit, Exit::PeerFailed);
        assert_eq!(Failure::new("x", &Error::PeerClosed).exit, Exit::Error);
        assert_eq!(Failure::stream("standard output", Errno::EPIPE).exit, Exit::Error);
    }
}
