//! Runs each test in its own process, under a watchdog.
//!
//! Descriptors and mappings belong to a process, and `cargo test` runs many tests in one. So each test runs
//! this program again for itself alone, with a time limit, and prints its output if it failed. A hang is a
//! failure with a message.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::World;

/// Set in the process that runs the test.
const MARK: &str = "VCHAN_CONFORMANCE_ALONE";
/// The time limit of a test: several times that of the slowest on a busy machine.
const LIMIT: Duration = Duration::from_secs(45);
/// Another limit, in seconds, for slow builds, such as sanitizers.
const OTHER_LIMIT: &str = "VCHAN_CONFORMANCE_LIMIT";

fn limit() -> Duration {
    let other = std::env::var(OTHER_LIMIT).ok().map(|text| text.parse().expect("a number of seconds"));
    other.map_or(LIMIT, Duration::from_secs)
}

/// Runs `test`, known to the test harness as `name` (prefixed by the crate's name), in its own process.
pub fn run<W: World>(name: &str, test: fn(&dyn World)) {
    let name = name.split_once("::").expect("a module's path").1;
    if cfg!(miri) {
        // Miri has no processes and no /proc; it detects leaks itself.
        in_a_world::<W>(test);
        return;
    }
    if std::env::var_os(MARK).is_some() {
        alone::<W>(test);
        return;
    }
    let program = std::env::current_exe().expect("this program's path");
    let mut child = Command::new(program)
        .args(["--exact", name, "--nocapture", "--test-threads=2"])
        .env(MARK, "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start a process for the test");
    let output = [reader(child.stdout.take()), reader(child.stderr.take())];
    let hung = watch(&mut child);
    let status = child.wait().expect("the test's exit status");
    let output: String = output.map(|thread| thread.join().expect("the test's output")).concat();
    if let Some(threads) = hung {
        panic!("{name} hung for {:?} and was killed; its threads:\n{threads}\n{output}", limit());
    }
    assert!(status.success(), "{name} failed ({:?}, signal {:?}):\n{output}", status.code(), status.signal());
    assert!(output.contains("1 passed"), "{name} did not run:\n{output}");
}

/// Waits for the child; kills it if it hangs, and returns the state of its threads.
fn watch(child: &mut Child) -> Option<String> {
    let deadline = Instant::now() + limit();
    while child.try_wait().expect("the test's state").is_none() {
        if Instant::now() >= deadline {
            let threads = threads(child.id());
            child.kill().expect("kill the test");
            return Some(threads);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn threads(pid: u32) -> String {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let line = |path: std::path::PathBuf| {
        let text = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default().trim().to_owned();
        format!("  {}: {} {}\n", text("comm"), text("wchan"), text("syscall"))
    };
    tasks.flatten().map(|task| line(task.path())).collect()
}

/// Reads a pipe to its end in a thread, so that the child never blocks on it.
fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    let mut pipe = pipe.expect("a pipe");
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).expect("read the test's output");
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// In the test's process: runs the test, then checks for leftovers.
fn alone<W: World>(test: fn(&dyn World)) {
    let before = resources();
    in_a_world::<W>(test);
    assert_eq!(resources(), before, "descriptors or shared mappings");
}

fn in_a_world<W: World>(test: fn(&dyn World)) {
    let world = W::new();
    test(&world);
    assert_eq!(world.leftovers(), Vec::<String>::new(), "leftovers");
}

/// The open descriptors and the shared mappings of this process, with their numbers.
fn resources() -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let list = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    let descriptors = list.flatten().map(|entry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        format!("descriptor of {}", target.display())
    });
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    // Private mappings belong to the allocator and the stacks.
    let shared = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.ends_with('s')));
    let mappings = shared.map(|line| format!("mapping {line}"));
    for item in descriptors.chain(mappings) {
        *all.entry(item).or_default() += 1;
    }
    all
}
