//! Other processes: this test program again; the environment selects its part.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::{leftovers, Client, Server};

const PART: &str = "VCHAN_TEST_PART";
const ROOT: &str = "VCHAN_TEST_ROOT";
const NAME: &str = "VCHAN_TEST_NAME";

/// The line that the other process prints when it has done its part.
const READY: &str = "the child is ready";

/// The entry point of other processes. Does nothing in the test run itself.
#[test]
fn part_of_another_process() {
    let Ok(part) = std::env::var(PART) else { return };
    let root = std::env::var(ROOT).unwrap();
    let name = std::env::var(NAME).unwrap();
    match part.as_str() {
        "serve" => hold(Server::start(root.as_ref(), &name).unwrap()),
        "connect" => hold(Client::start(root.as_ref(), &name).unwrap()),
        "serve and fork" => {
            let server = Server::start(root.as_ref(), &name).unwrap();
            crate::confined::fork_and_stay();
            hold(server)
        }
        "serve under a limit" => crate::confined::serve_under_a_limit(root.as_ref(), &name),
        "meet under a filter" => crate::confined::connect_under_a_filter(root.as_ref(), &name),
        "meet under a umask" => crate::modes::connect_under_a_umask(root.as_ref()),
        "meet without proc" => crate::no_proc::connect_without_proc(root.as_ref()),
        "refuse without proc" => crate::no_proc::refuse_without_proc(root.as_ref()),
        "serve in a child" => crate::lost::serve_in_a_child(root.as_ref()),
        "lock the root" => hold(crate::crowded::lock_root(root.as_ref())),
        "meet once" => crate::crowded::connect_once(root.as_ref(), &name),
        "count" => leftovers::count_leftovers(root.as_ref()),
        _ => panic!("no such part: {part}"),
    }
}

/// Reports that it is ready, and keeps `held` until it is killed or its input ends.
fn hold<T>(held: T) {
    println!("\n{READY}");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(held);
}

/// Another process, killed when dropped.
pub struct Other(Child);

impl Other {
    /// The command that runs one.
    pub fn command(part: &str, root: &Path, name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child::part_of_another_process", "--nocapture"])
            .envs([(PART, part), (NAME, name)])
            .env(ROOT, root);
        command
    }

    /// Starts one for `part`, and waits until it is ready.
    pub fn start(part: &str, root: &Path, name: &str) -> Other {
        let mut command = Other::command(part, root, name);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let other = Other(child);
        assert!(lines.any(|line| line.unwrap() == READY), "{part} did not get ready");
        other
    }

    /// Runs one to its end.
    pub fn run(part: &str, root: &Path) -> std::process::Output {
        Other::command(part, root, "").output().unwrap()
    }

    /// As [`start`](Self::start), for a process that ends without getting ready.
    pub fn run_as(part: &str, root: &Path, name: &str) -> std::process::Output {
        Other::command(part, root, name).output().unwrap()
    }

    /// Kills it; its forked children live while its input is open.
    pub fn kill_alone(mut self) -> std::process::ChildStdin {
        let input = self.0.stdin.take().unwrap();
        self.kill();
        input
    }

    /// Stops it, and waits until it has stopped.
    pub fn stop(&self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let stopped = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(stopped, nix::sys::wait::WaitStatus::Stopped(..)));
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        let status: ExitStatus = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have been killed and reaped already; both calls do nothing then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
