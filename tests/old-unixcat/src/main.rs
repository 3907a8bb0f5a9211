//! A test peer that behaves like the historical OCaml `unixcat`, defects included: an
//! implementation of the wire protocol that shares no code with the library it tests.
//!
//! The defects that it has on purpose:
//! - An event wakes only one of its reader and its writer, so that a full ring can stay full
//!   (`--no-lost-wakeup`, `--always-lose-wakeup`).
//! - It leaves first and sends the rest afterwards; it hangs if that needs space in the ring, and loops if
//!   the peer has left too; it treats the peer as gone without a last check of the ring (`--clean-exit`,
//!   `--always-lose-tail`).
//! - It does not notice that the peer was killed; a client is killed by SIGPIPE when it sends an event.
//!   SIGINT has no effect before the client has connected, and none after the end has begun.
//! - Memory files of a root in use are emptied and used; files stay behind after errors and signals.
//! - The configuration is unusable from a root of 45 characters on.
//! - Indices are trusted: a count beyond the ring's size yields garbage, or an error.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signal::{self, SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

mod config;
mod endpoint;
mod events;
mod memory;
mod orders;
mod root;
mod session;

use endpoint::Endpoint;
use events::Wake;
use root::Root;
use session::{Behaviour, Session};

const USAGE: &str = "\
usage: old-unixcat [-l] [OPTION]... DOMID PORT
  -l, --listen           be the server
  --buffer-size N        size of a ring in bytes (default 65536, at least 16)
  --no-lost-wakeup       an event wakes all waiters
  --always-lose-wakeup   a writer sleeps through the first event after it went to sleep
  --clean-exit           lose no byte, hang or loop at the end
  --always-lose-tail     see the end of a regular file before the last of it is sent";

/// The smallest buffer of the original's I/O library.
const SMALLEST_BUFFER: usize = 16;

struct Options {
    listen: bool,
    behaviour: Behaviour,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = PathBuf::from(arguments.next().unwrap_or_default());
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("old-unixcat: {why}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match run(&program, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("old-unixcat: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options {
        listen: false,
        behaviour: Behaviour {
            buffer_size: 65536,
            wake: Wake::First,
            clean_exit: false,
            always_lose_tail: false,
        },
    };
    let mut names = Vec::new();
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-l" | "--listen" => options.listen = true,
            "--buffer-size" => {
                let size = arguments.next().ok_or("--buffer-size needs a number")?;
                options.behaviour.buffer_size = buffer_size(&size)?;
            }
            "--no-lost-wakeup" => options.behaviour.wake = Wake::All,
            "--always-lose-wakeup" => options.behaviour.wake = Wake::NeverWriterAtOnce,
            "--clean-exit" => options.behaviour.clean_exit = true,
            "--always-lose-tail" => options.behaviour.always_lose_tail = true,
            _ => match argument.strip_prefix("--buffer-size=") {
                Some(size) => options.behaviour.buffer_size = buffer_size(size)?,
                None if argument.starts_with('-') => return Err(format!("unknown option {argument}")),
                None => names.push(argument),
            },
        }
    }
    // Both are checked for their form and then ignored.
    let [domid, port] = names.as_slice() else { return Err("DOMID and PORT are needed".into()) };
    domid.parse::<i64>().map_err(|e| format!("DOMID {domid}: {e}"))?;
    if !port.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(format!("PORT {port}: only [a-zA-Z0-9_-] are allowed"));
    }
    Ok(options)
}

fn buffer_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if size >= SMALLEST_BUFFER => Ok(size),
        _ => Err(format!("--buffer-size {text}: a number from {SMALLEST_BUFFER} up is needed")),
    }
}

fn run(program: &std::path::Path, options: Options) -> Result<(), String> {
    let interrupts = prepare_signals(options.listen || options.behaviour.clean_exit);
    let interrupts = interrupts.map_err(|e| format!("preparing signals: {e}"))?;
    let mut root = Root::open(program)?;
    let result = converse(&mut root, options, interrupts);
    root.remove();
    result
}

fn converse(root: &mut Root, options: Options, interrupts: SignalFd) -> Result<(), String> {
    let Behaviour { buffer_size, clean_exit, .. } = options.behaviour;
    let endpoint = if options.listen {
        Endpoint::serve(root, buffer_size, clean_exit)?
    } else {
        Endpoint::connect(root, clean_exit)?
    };
    eprintln!("Connected.");
    Session::new(endpoint, options.behaviour, interrupts).run()?;
    eprintln!("Disconnected.");
    Ok(())
}

/// SIGINT is only looked at in the conversation: one that comes while the server waits for its
/// client ends the conversation as soon as it begins. SIGPIPE kills a client, not a server; even a
/// server's orderly leaving does that to a client that is late with its own last event.
fn prepare_signals(outlive_pipe: bool) -> nix::Result<SignalFd> {
    let handler = if outlive_pipe { SigHandler::SigIgn } else { SigHandler::SigDfl };
    // SAFETY: neither disposition runs any code of this program.
    unsafe { signal::signal(Signal::SIGPIPE, handler) }?;
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGINT);
    interrupts.thread_block()?;
    SignalFd::with_flags(&interrupts, SfdFlags::SFD_CLOEXEC)
}
