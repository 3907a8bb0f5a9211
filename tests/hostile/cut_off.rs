//! Memory files that are truncated while mapped.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::mman::{mmap, MapFlags, ProtFlags};
use vchan::transport::unix::UnixTransport;
use vchan::{Listener, Vchan};

/// Set in the process that is expected to be killed.
const DOOMED: &str = "VCHAN_HOSTILE_DOOMED";

fn pair(root: &Path) -> (Vchan, Vchan) {
    let transport = UnixTransport::with_root(root).expect("a root");
    let server =
        Listener::builder(0, "cut").transport(transport.clone()).buffer_size(65536).open().expect("listen");
    let client = Vchan::builder(0, "cut").transport(transport.clone()).connect().expect("connect");
    (server, client)
}

fn truncate(root: &Path, len: u64) {
    for file in root.join("memory").read_dir().expect("the memory files") {
        let file = OpenOptions::new().write(true).open(file.expect("a file").path()).expect("open");
        file.set_len(len).expect("truncate");
    }
}

fn action_of_sigbus() -> usize {
    // SAFETY: zeroes are a valid `sigaction`, which the call fills in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut action), 0);
        action.sa_sigaction
    }
}

/// Reads a mapped file, truncates it and reads it again.
fn access_truncated_file(directory: &Path) {
    let path = directory.join("other");
    let file = File::options().create_new(true).read(true).write(true).open(path).expect("a file");
    file.set_len(4096).expect("a page");
    let len = 4096.try_into().expect("not 0");
    // SAFETY: a new mapping; the second access is expected to end this process.
    unsafe {
        let page = mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &file, 0).expect("map");
        page.cast::<u8>().read_volatile();
        file.set_len(0).expect("truncate");
        page.cast::<u8>().read_volatile();
    }
}

#[test]
fn both_sides_survive_truncation() {
    for len in [0, 1000, 4096] {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        let (mut server, mut client) = pair(&root);
        client.send(b"before").expect("send");
        truncate(&root, len);
        for end in [&mut server, &mut client] {
            end.set_timeout(Some(Duration::from_millis(20)));
            // Any result is allowed, but no crash.
            let results = (end.send(&[1; 60_000]), end.recv(&mut [0; 60_000]), end.read(&mut [0; 9]).is_ok());
            println!("truncated to {len}: {results:?}, {:?}", end.state());
        }
    }
}

/// Bus errors of other files are not handled, whether or not a channel is open.
#[test]
fn other_bus_errors_kill() {
    if let Ok(directory) = std::env::var(DOOMED) {
        let directory = Path::new(&directory);
        let before = action_of_sigbus();
        let channel = pair(&directory.join("root"));
        assert_ne!(action_of_sigbus(), before);
        if !directory.join("keep").exists() {
            drop(channel);
        }
        access_truncated_file(directory);
        return;
    }
    for keep in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        if keep {
            File::create(directory.path().join("keep")).expect("a file");
        }
        let mut command = Command::new(std::env::current_exe().expect("this program's path"));
        command
            .args(["--exact", "cut_off::other_bus_errors_kill", "--nocapture"])
            .env(DOOMED, directory.path());
        let output = command.output().expect("run this program");
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "keep {keep}: {output:?}");
    }
}
