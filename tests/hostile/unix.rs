//! The same peer in another process, over the Unix transport. It also truncates the memory files.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vchan::transport::unix::UnixTransport;
use vchan::{Error, Vchan};

use crate::engine::{
    count, race_against, server, Peer, Script, Tally, ACTS, CLIENT, PORT, RARE_ACTS, SERVER, TRUNCATE,
};
use crate::runs;

/// Set in the peer's process: the root directory.
const ROOT: &str = "VCHAN_HOSTILE_ROOT";

fn transport(root: &Path, domid: u16) -> UnixTransport {
    UnixTransport::with_root(root).expect("a root").domid(domid)
}

#[test]
fn another_process() {
    if let Some(root) = std::env::var_os(ROOT) {
        return run_peer(root.as_ref());
    }
    let named = tempfile::Builder::new().prefix("vchan-hostile-").to_owned();
    let directory = named.tempdir_in("/dev/shm").or_else(|_| named.tempdir()).expect("a directory");
    let root = directory.path().join("root");
    let other = Mutex::new(Other::start(&root));
    let tally = runs::run("another process", 1200, 1000, |bytes| {
        // An earlier script has reported its own failure.
        let mut other = other.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        against(&mut other, &root, bytes)
    });
    tally
        .assert_tried(&ACTS, &["success", "corrupt", "peer-closed", "peer-died", "timed-out", "would-block"]);
    tally.assert_tried(&[TRUNCATE], &[]);
}

/// Runs one script: this process is the victim.
fn against(other: &mut Other, root: &Path, bytes: &[u8]) -> Tally {
    let mut script = Script::new(bytes);
    let mut tally = Tally { scripts: 1, ..Tally::default() };
    let (servers, clients) = (transport(root, SERVER), transport(root, CLIENT));
    let victim = if script.once_in(2) {
        let victim = server(servers.clone(), &mut script).open().expect("listen");
        other.prepare("client", bytes);
        Some(victim)
    } else {
        other.prepare("server", bytes);
        match Vchan::builder(SERVER, PORT).transport(clients).connect() {
            Ok(victim) => Some(victim),
            Err(error) => {
                let documented = matches!(
                    error,
                    Error::Corrupt(_) | Error::Refused(_) | Error::NoServer { .. } | Error::InUse { .. }
                );
                assert!(documented, "connect failed with {error:?}");
                count(&mut tally.results, "refused");
                None
            }
        }
    };
    other.go();
    if let Some(victim) = victim {
        tally.add(&race_against(victim, &mut script));
    }
    for (act, number) in other.stop() {
        *tally.acts.entry(act).or_default() += number;
    }
    tally
}

/// The peer's process.
struct Other {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Other {
    fn start(root: &Path) -> Other {
        let mut command = Command::new(std::env::current_exe().expect("this program's path"));
        command.args(["--exact", "unix::another_process", "--nocapture", "--test-threads=1"]).env(ROOT, root);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the peer");
        let (to, from) = (process.stdin.take().expect("a pipe"), process.stdout.take().expect("a pipe"));
        Other { process, to, from: BufReader::new(from) }
    }

    /// Sends the peer's role and script; returns once it is ready.
    fn prepare(&mut self, role: &str, bytes: &[u8]) {
        writeln!(self.to, "{role} {}", runs::hex(bytes)).expect("write to the peer");
        assert_eq!(self.receive(), "ready");
    }

    fn go(&mut self) {
        writeln!(self.to, "go").expect("write to the peer");
    }

    /// Stops the peer; returns how often it did each action.
    fn stop(&mut self) -> Vec<(&'static str, u64)> {
        writeln!(self.to, "stop").expect("write to the peer");
        let done = self.receive();
        let mut numbers = done.split(' ').map(|number| number.parse().expect("a number"));
        all_acts().map(|act| (act, numbers.next().expect("a number for each"))).collect()
    }

    /// The peer's next line; those of the test harness are skipped.
    fn receive(&mut self) -> String {
        loop {
            let mut line = String::new();
            let len = self.from.read_line(&mut line).expect("read from the peer");
            assert!(len > 0, "the peer has gone: {:?}", self.process.try_wait());
            if let Some((_, meant)) = line.trim_end().split_once("peer: ") {
                return meant.into();
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn all_acts() -> impl Iterator<Item = &'static str> {
    ACTS.into_iter().chain(RARE_ACTS).chain([TRUNCATE])
}

fn say(what: &str) {
    println!("\npeer: {what}");
    std::io::stdout().flush().expect("flush");
}

/// Runs in the other process.
fn run_peer(root: &Path) {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("a line"));
    while let Some(line) = lines.next() {
        let (role, bytes) = line.split_once(' ').expect("role and script");
        let bytes: Vec<u8> = bytes
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("text"), 16).expect("hexadecimal"))
            .collect();
        let mut script = Script::new(&bytes);
        let mut peer = match role {
            "client" => Peer::client(Arc::new(transport(root, CLIENT))),
            _ => Peer::server(Arc::new(transport(root, SERVER)), &mut script),
        }
        .expect("the hostile peer");
        if role == "client" {
            peer.announce();
        }
        peer.restrict(script.u32() & script.u32());
        if script.once_in(4) {
            peer.truncate_files(&root.join("memory"));
        }
        say("ready");
        assert_eq!(lines.next().as_deref(), Some("go"));
        let stop = AtomicBool::new(false);
        let mut tally = Tally::default();
        std::thread::scope(|scope| {
            let acts = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    peer.act(&mut script, &mut tally.acts);
                    if script.is_over() {
                        script.rewind();
                    }
                }
            });
            assert_eq!(lines.next().as_deref(), Some("stop"));
            stop.store(true, Ordering::Relaxed);
            acts.join().expect("the peer");
        });
        drop(peer);
        let numbers = all_acts().map(|act| tally.acts.get(act).copied().unwrap_or(0).to_string());
        say(&numbers.collect::<Vec<_>>().join(" "));
    }
}
