//! Roots with many servers, and one whose lock is held by a stopped process.

use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

use super::child::Other;
use super::*;
use vchan::{Error, Vchan};

/// Far less than the timeout of the root's lock.
const PROMPT: Duration = Duration::from_secs(5);

/// Holds the root's lock, as a server does briefly.
pub fn lock_root(root: &Path) -> Flock<fs::File> {
    let dir = fs::File::open(root).unwrap();
    Flock::lock(dir, FlockArg::LockExclusive).unwrap()
}

#[test]
fn stopped_lock_holder_blocks_neither_clients_nor_close() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let holder = Other::start("lock the root", root.path(), "");
    holder.stop();
    let begun = Instant::now();
    let client = Client::start(root.path(), "data/x").unwrap();
    drop(client);
    let transport = transport(root.path());
    let wait = Duration::from_millis(20);
    let missing = Vchan::builder_at(0, "/missing").transport(transport.clone()).wait(wait).connect();
    assert!(matches!(missing, Err(Error::TimedOut(_))));
    drop(server);
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());

    // Files that could not be removed are not mistaken for a server, and are removed by the next one.
    let missing = Client::start(root.path(), "data/x").err().unwrap();
    assert!(matches!(missing, Error::NoServer { .. }), "{missing}");
    holder.kill();
    drop(Server::start(root.path(), "data/y").unwrap());
    assert_eq!(tree(root.path()), [""; 0]);
}

/// Creates one server and its client.
pub fn connect_once(root: &Path, name: &str) {
    let server = Server::start(root, name).unwrap();
    drop((Client::start(root, name).unwrap(), server));
}

/// The number of system calls for a server and its client. `None` if they cannot be counted here.
fn calls_to_connect(root: &Path) -> Option<usize> {
    let meet = Other::command("meet once", root, "data/x");
    let mut counted = Command::new("strace");
    counted.args(["-f", "-c", "-U", "calls,name"]).arg(meet.get_program()).args(meet.get_args());
    counted.envs(meet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = counted.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let total = text.lines().find(|line| line.split_whitespace().nth(1) == Some("total"));
    let count = total?.split_whitespace().next()?.parse().ok()?;
    assert!(output.status.success(), "{text}");
    Some(count)
}

#[test]
fn cost_hardly_depends_on_other_servers() {
    let root = private_dir();
    let slot = |n: usize| {
        let parts = transport(root.path()).open(Role::Server, 1, &format!("data/{n}")).unwrap();
        parts.memory.share(1, None).unwrap()
    };
    let mut held: Vec<_> = (0..1).map(slot).collect();
    let Some(few) = calls_to_connect(root.path()) else {
        return println!("NOT TESTED: strace can't count system calls here");
    };
    held.extend((1..300).map(slot));
    let many = calls_to_connect(root.path()).unwrap();
    println!("{few} system calls beside 1 server, {many} beside 300");
    assert!(many < few + 200, "{few} system calls beside 1 server, {many} beside 300");
}
