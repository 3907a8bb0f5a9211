//! Runs the tools, each in its own process. Tests wait for output and never sleep for it.
//!
//! `UNIXCAT_SERVER` and `UNIXCAT_CLIENT` select other builds for either role.

#![allow(dead_code, reason = "each test file uses its part")]

mod data;
pub mod historical;
pub mod terminal;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, signal, SigHandler, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use data::*;

/// Longer than anything that works takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A directory for one test, with a root for the tools in it.
pub struct Place {
    dir: TempDir,
    root: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        Place::with_root("root")
    }

    /// `name` may be any file name.
    pub fn with_root(name: impl AsRef<OsStr>) -> Place {
        let dir = TempDir::with_prefix("unixcat-test-").unwrap();
        let root = dir.path().join(name.as_ref());
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        Place { dir, root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of `len` pseudo-random bytes, depending on `seed`.
    pub fn file(&self, name: &str, len: usize, seed: u64) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, noise(len, seed)).unwrap();
        path
    }

    pub fn server(&self, args: &[&str]) -> Setup {
        self.setup("UNIXCAT_SERVER", &[&["-l"], args].concat())
    }

    pub fn client(&self, args: &[&str]) -> Setup {
        self.setup("UNIXCAT_CLIENT", args)
    }

    fn setup(&self, choice: &str, args: &[&str]) -> Setup {
        self.run(program(choice), args)
    }

    /// Any program, in the same environment.
    pub fn run(&self, program: PathBuf, args: &[&str]) -> Setup {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("XEN_ROOT", &self.root)
            .env_remove("XEN_CONFIGURATION")
            .env_remove("VCHAN_DOMID")
            .env_remove("VCHAN_TRANSPORT");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Undoes an inherited nohup: the tests send SIGHUP.
        let heeds = || {
            // SAFETY: sets a signal disposition, which is async-signal-safe.
            unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.map_err(std::io::Error::from).map(drop)
        };
        // SAFETY: the closure makes one system call and doesn't allocate.
        unsafe { command.pre_exec(heeds) };
        Setup { command }
    }

    /// Files below the root; none are expected at the end.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        below(&self.root)
    }

    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new(), "left behind");
    }
}

/// The build to test.
pub fn program(choice: &str) -> PathBuf {
    std::env::var_os(choice).map_or_else(|| env!("CARGO_BIN_EXE_unixcat").into(), PathBuf::from)
}

pub fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

/// A tool to be started.
pub struct Setup {
    command: Command,
}

impl Setup {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Setup {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Setup {
        self.command.env_remove(name);
        self
    }

    pub fn args(mut self, args: &[&str]) -> Setup {
        self.command.args(args);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Setup {
        self.command.arg(arg);
        self
    }

    /// Standard input from a file.
    pub fn from(mut self, path: &Path) -> Setup {
        self.command.stdin(File::open(path).unwrap());
        self
    }

    /// Standard input from the test.
    pub fn piped(mut self) -> Setup {
        self.command.stdin(Stdio::piped());
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Setup {
        self.command.stdin(stdin);
        self
    }

    /// Standard output into a file.
    pub fn to(mut self, path: &Path) -> Setup {
        self.command.stdout(File::create(path).unwrap());
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Setup {
        self.command.stdout(stdout);
        self
    }

    /// Standard error elsewhere; `line` does not work then.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Setup {
        self.command.stderr(stderr);
        self
    }

    /// Runs `act` in the child before exec: system calls only, no allocation.
    pub fn prepared(mut self, act: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) -> Setup {
        // SAFETY: the callers comply.
        unsafe { self.command.pre_exec(act) };
        self
    }

    /// Without one of the standard streams.
    pub fn without(mut self, fd: i32) -> Setup {
        let close = move || {
            // SAFETY: close is async-signal-safe, and nothing uses this descriptor before exec.
            unsafe { libc::close(fd) };
            Ok(())
        };
        // SAFETY: the closure makes one system call and doesn't allocate.
        unsafe { self.command.pre_exec(close) };
        self
    }

    /// Runs `act` between fork and exec; it must not allocate.
    pub fn before_exec(mut self, act: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) -> Setup {
        // SAFETY: ensured by the caller.
        unsafe { self.command.pre_exec(act) };
        self
    }

    /// A new session, with standard input as its terminal.
    pub fn in_terminal(mut self) -> Setup {
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            self.command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        self
    }

    #[track_caller]
    pub fn start(mut self) -> Cat {
        let mut child = self.command.spawn().unwrap();
        // The command holds the parent's copies of the child's streams.
        drop(self.command);
        let (sender, lines) = channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).split(b'\n') {
                    let Ok(line) = line else { break };
                    if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                        break;
                    }
                }
            });
        }
        let output = child.stdout.take().map(|mut stdout| {
            let (sender, pieces) = channel();
            let thread = std::thread::spawn(move || {
                let mut piece = vec![0; 65536];
                while let Ok(count @ 1..) = stdout.read(&mut piece) {
                    if sender.send(piece[..count].to_vec()).is_err() {
                        break;
                    }
                }
            });
            Output { pieces, have: Vec::new(), _thread: thread }
        });
        let input = child.stdin.take();
        Cat { child, input, output, lines, seen: Vec::new(), ended: None }
    }
}

struct Output {
    pieces: Receiver<Vec<u8>>,
    have: Vec<u8>,
    _thread: JoinHandle<()>,
}

/// A running tool, killed on drop.
pub struct Cat {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Output>,
    lines: Receiver<String>,
    seen: Vec<String>,
    ended: Option<i32>,
}

/// How a tool ended.
#[derive(Debug)]
pub struct End {
    /// The exit code, or the negated signal number.
    pub code: i32,
    pub stderr: Vec<String>,
    pub stdout: Vec<u8>,
}

impl End {
    /// The last line of standard error.
    pub fn last(&self) -> &str {
        self.stderr.last().map_or("", |line| line)
    }

    /// Checks that the conversation ended cleanly.
    #[track_caller]
    pub fn ended_cleanly(&self) {
        assert_eq!((self.code, self.last()), (0, "Disconnected."), "{:?}", self.stderr);
    }

    /// Checks exit code and message: the peer left before consuming everything.
    #[track_caller]
    pub fn saw_the_peer_leave(&self) {
        assert_eq!(self.code, 4, "{:?}", self.stderr);
        assert!(self.last().contains(": conversation: the peer left "), "{:?}", self.stderr);
        assert!(!self.last().contains("because of a failure"), "{:?}", self.stderr);
    }

    /// Checks exit code and message: the peer failed.
    #[track_caller]
    pub fn saw_the_peer_fail(&self) {
        assert_eq!(self.code, 4, "{self:?}");
        assert!(self.last().contains(": the peer left because of a failure on its side; "), "{self:?}");
    }
}

/// The system calls that wait for descriptors. Newer architectures lack the older two.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
const WAITS: &[libc::c_long] =
    &[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
const WAITS: &[libc::c_long] = &[libc::SYS_ppoll, libc::SYS_epoll_pwait];

impl Cat {
    /// Waits for a matching line on standard error.
    #[track_caller]
    pub fn line(&mut self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        let limit = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("no line {what:?} ({error}); there were {:?}", self.seen),
            }
        }
    }

    /// Waits until the server accepts clients.
    #[track_caller]
    pub fn serving(&mut self) -> String {
        self.line("XEN_CONFIGURATION=", |line| line.starts_with("XEN_CONFIGURATION="))
    }

    #[track_caller]
    pub fn connected(&mut self) {
        self.line("Connected.", |line| line == "Connected.");
    }

    #[track_caller]
    pub fn disconnected(&mut self) {
        self.line("Disconnected.", |line| line == "Disconnected.");
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn send(&mut self, data: impl AsRef<[u8]>) {
        self.input.as_mut().expect("stdin is piped").write_all(data.as_ref()).unwrap();
    }

    /// Closes its standard input. A process being started by another test holds a copy of the pipe until its
    /// exec, which delays EOF; this waits for it.
    pub fn close_input(&mut self) {
        // Missing if the tool has exited.
        let reader = File::open(format!("/proc/{}/fd/0", self.pid()));
        self.input = None;
        if let Ok(reader) = reader {
            let mut fds = [PollFd::new(reader.as_fd(), PollFlags::empty())];
            assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1), "standard input has not ended");
        }
    }

    /// Takes the test's end of its standard input.
    pub fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("stdin is piped")
    }

    /// Waits for this data on standard output.
    #[track_caller]
    pub fn receive(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        let output = self.output.as_mut().expect("stdout is piped");
        let limit = Instant::now() + LIMIT;
        while output.have.len() < data.len() {
            match output.pieces.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(piece) => output.have.extend(piece),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&output.have)),
            }
        }
        let rest = output.have.split_off(data.len());
        assert_eq!(output.have, data);
        output.have = rest;
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Waits until its first thread sleeps in poll or epoll, and so is idle.
    #[track_caller]
    pub fn asleep(&self) {
        let limit = Instant::now() + LIMIT;
        let path = format!("/proc/{}/syscall", self.pid());
        loop {
            let text = fs::read_to_string(&path).unwrap();
            let number = text.split(' ').next().unwrap().parse::<libc::c_long>().unwrap_or(-1);
            if WAITS.contains(&number) {
                return;
            }
            assert!(Instant::now() < limit, "never sleeps: {text}");
            std::thread::yield_now();
        }
    }

    /// Waits until it has read this much of the file on its standard input.
    #[track_caller]
    pub fn has_read(&self, count: usize) {
        let limit = Instant::now() + LIMIT;
        let path = format!("/proc/{}/fdinfo/0", self.pid());
        while !fs::read_to_string(&path).unwrap().contains(&format!("pos:\t{count}\n")) {
            assert!(Instant::now() < limit, "has not read {count} bytes");
            std::thread::yield_now();
        }
    }

    /// The number of its threads.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// Closes its standard input and waits until the tool has noticed: its sending thread ends.
    #[track_caller]
    pub fn end_input(&mut self) {
        let (limit, before) = (Instant::now() + LIMIT, self.threads());
        self.close_input();
        while self.threads() >= before {
            assert!(Instant::now() < limit, "has not noticed the end of its input");
            std::thread::yield_now();
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end without a limit, for tools whose standard error is elsewhere.
    pub fn wait(mut self) -> i32 {
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        self.ended = Some(code);
        code
    }

    /// Waits for its end, within the usual limit.
    #[track_caller]
    pub fn end(self) -> End {
        self.end_within(LIMIT)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end_within(mut self, limit: Duration) -> End {
        let until = Instant::now() + limit;
        loop {
            // EOF on standard error means that it has exited.
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("still runs after {limit:?}; said {:?}", self.seen),
            }
        }
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        self.ended = Some(code);
        let mut stdout = Vec::new();
        if let Some(output) = &mut self.output {
            stdout.append(&mut output.have);
            stdout.extend(output.pieces.iter().flatten());
        }
        End { code, stderr: std::mem::take(&mut self.seen), stdout }
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may have exited already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
