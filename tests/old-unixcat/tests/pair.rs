//! Two historical peers talk to each other: what works, and the defect.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time that a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(60);
/// Silence that counts as a stall.
const SILENCE: Duration = Duration::from_secs(2);

/// A running peer; killed when dropped.
struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    stderr: Receiver<String>,
}

impl Peer {
    fn start(flags: &[&str], variables: &[(String, String)], tmpdir: &Path, stdin: Stdio) -> Peer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_old-unixcat"))
            .args(flags)
            .args(["1", "test"])
            .env_remove("XEN_ROOT")
            .env_remove("XEN_CONFIGURATION")
            .env("TMPDIR", tmpdir)
            .envs(variables.iter().cloned())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, output) = channel();
        let mut stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let (sender, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Peer { stdin: child.stdin.take(), child, output, stderr }
    }

    fn line(&self) -> String {
        self.stderr.recv_timeout(LIMIT).expect("a line on stderr")
    }

    /// Writes in the background, and leaves standard input open in `self`.
    fn feed(&mut self, data: Vec<u8>) -> thread::JoinHandle<ChildStdin> {
        let mut stdin = self.stdin.take().unwrap();
        thread::spawn(move || {
            // A peer that has been killed takes no more: that is for the test to judge.
            match stdin.write_all(&data) {
                Ok(()) => {}
                Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::BrokenPipe),
            }
            stdin
        })
    }

    fn take(&self, len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < len {
            let chunk = self.output.recv_timeout(LIMIT);
            data.extend(chunk.unwrap_or_else(|e| panic!("after {} of {len} bytes: {e}", data.len())));
        }
        data
    }

    /// Counts bytes until none have come for a while.
    fn take_until_silence(&self) -> usize {
        let mut count = 0;
        loop {
            match self.output.recv_timeout(SILENCE) {
                Ok(chunk) => count += chunk.len(),
                Err(RecvTimeoutError::Timeout) => return count,
                Err(RecvTimeoutError::Disconnected) => panic!("the output ended after {count} bytes"),
            }
        }
    }

    fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn expect_success(&mut self) {
        assert_eq!(self.line(), "Disconnected.");
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "{status}"),
                None if Instant::now() > deadline => panic!("it does not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill and the status is known.
        if self.is_alive() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// A server and a client, connected. The root's name has to be short: see the configuration.
fn pair(flags: &[&str], tmpdir: &Path, client_input: Stdio) -> (Peer, Peer) {
    let server = Peer::start(&[flags, &["-l"]].concat(), &[], tmpdir, Stdio::piped());
    let exported = |line: &str| {
        let (name, rest) = line.split_once('=').unwrap();
        let value = rest.split(';').next().unwrap().trim_matches('"');
        (name.to_string(), value.to_string())
    };
    let root = server.line();
    assert!(root.starts_with("XEN_ROOT=/tmp/"), "{root}");
    assert_eq!(server.line(), root);
    let configuration = server.line();
    assert!(configuration.starts_with("XEN_CONFIGURATION=\"((ring_ref 0) (event_channel /tmp/"));
    let variables = [exported(&root), exported(&configuration)];
    let client = Peer::start(flags, &variables, tmpdir, client_input);
    assert_eq!(client.line(), "Connected.");
    assert_eq!(server.line(), "Connected.");
    (server, client)
}

fn tmpdir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("oc").tempdir_in("/tmp").unwrap()
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

#[test]
fn both_directions_at_once_with_rings_of_every_kind() {
    for (size, client_leaves) in [("1000", true), ("2000", false), ("5000", true), ("65536", false)] {
        let dir = tmpdir();
        let flags = ["--no-lost-wakeup", "--clean-exit", "--buffer-size", size];
        let (mut server, mut client) = pair(&flags, dir.path(), Stdio::piped());
        let (up, down) = (pattern(400_000, 1), pattern(500_000, 2));
        let feeding = [client.feed(up.clone()), server.feed(down.clone())];
        assert!(server.take(up.len()) == up, "client to server, --buffer-size {size}");
        assert!(client.take(down.len()) == down, "server to client, --buffer-size {size}");
        let [client_input, server_input] = feeding.map(|thread| thread.join().unwrap());
        let (leaver, stayer) =
            if client_leaves { (client_input, server_input) } else { (server_input, client_input) };
        drop(leaver);
        client.expect_success();
        server.expect_success();
        drop(stayer);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the root is still there");
    }
}

#[test]
fn every_byte_of_a_file_arrives_when_the_exit_is_clean() {
    let dir = tmpdir();
    let input = tempfile::NamedTempFile::new().unwrap();
    let data = pattern(300_001, 3);
    std::fs::write(input.path(), &data).unwrap();
    let stdin = Stdio::from(File::open(input.path()).unwrap());
    let (mut server, mut client) = pair(&["--no-lost-wakeup", "--clean-exit"], dir.path(), stdin);
    assert!(server.take(data.len()) == data);
    client.expect_success();
    server.expect_success();
    assert_eq!(server.output.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn lost_wakeup_stalls_the_transfer_until_one_more_event() {
    // Enough to fill the ring at some point, however fast the reader is.
    const TOTAL: usize = 16 << 20;
    const RING: usize = 65536;
    let dir = tmpdir();
    let (mut server, mut client) = pair(&["--always-lose-wakeup"], dir.path(), Stdio::piped());
    let feeding = client.feed(pattern(TOTAL, 4));
    let stalled_at = server.take_until_silence();
    assert!((RING..TOTAL).contains(&stalled_at), "{stalled_at} of {TOTAL} bytes came");
    assert!(server.is_alive() && client.is_alive());
    // What the server writes makes an event, and that wakes the client's writer.
    server.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    assert_eq!(client.take(1), b"!");
    assert!(server.take_until_silence() > 0, "one more event did not help");
    assert!(server.is_alive() && client.is_alive());
    drop((server, client));
    feeding.join().unwrap();
}
