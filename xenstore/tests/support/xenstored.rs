//! Debian's real xenstored on plain Linux, one daemon for each test. A preloaded shim plays the guests.

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vchan_xenstore::XsClient;

/// Limit for an expected event.
pub const LONG: Duration = Duration::from_secs(30);
/// Time to wait for an unexpected event.
#[allow(dead_code, reason = "not every test program needs it")]
pub const SHORT: Duration = Duration::from_millis(200);

/// 1: a missing daemon is a failure, not a reason to skip.
const REQUIRED: &str = "VCHAN_REQUIRE_XENSTORED";
/// Names another daemon.
const DAEMON: &str = "VCHAN_XENSTORED";

const INTRODUCE: u32 = 8;
const RELEASE: u32 = 9;

/// A running xenstored. It ends with this value.
pub struct Xenstored {
    child: Child,
    dir: TempDir,
}

impl Xenstored {
    /// A new daemon, or `None` with a message if there is no xenstored.
    pub fn start() -> Option<Self> {
        match (find_daemon(), shim()) {
            (Some(daemon), Ok(shim)) => Some(Self::run(&daemon, shim)),
            (None, _) => skip("no xenstored here; install xen-utils"),
            (_, Err(reason)) => skip(reason),
        }
    }

    fn run(daemon: &Path, shim: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(daemon)
            .arg("-N")
            .arg("--pid-file")
            .arg(dir.path().join("pid"))
            .env("XENSTORED_RUNDIR", dir.path())
            .env_remove("XENSTORED_PATH")
            .env("LD_PRELOAD", shim)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self { child, dir };
        daemon.wait_until_it_serves();
        daemon
    }

    fn wait_until_it_serves(&mut self) {
        let end = Instant::now() + LONG;
        while let Err(error) = UnixStream::connect(self.socket()) {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("xenstored ended at once with {status}: {log}");
            }
            assert!(Instant::now() < end, "xenstored does not serve ({error}): {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its socket for dom0.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// A connection of dom0.
    pub fn client(&self) -> XsClient {
        XsClient::connect(self.socket()).unwrap().with_timeout(LONG)
    }

    /// The one connection of a new, unprivileged domain.
    #[allow(dead_code, reason = "not every test program has guests")]
    pub fn guest(&self, domid: u16) -> XsClient {
        self.control(INTRODUCE, &format!("{domid}\x001\x001\0"));
        XsClient::connect(self.dir.path().join(format!("guest-{domid}"))).unwrap().with_timeout(LONG)
    }

    /// Destroys a domain.
    #[allow(dead_code, reason = "not every test program has guests")]
    pub fn destroy(&self, domid: u16) {
        self.control(RELEASE, &format!("{domid}\0"));
    }

    /// Kills the daemon and waits for its end.
    pub fn kill(&mut self) {
        // The test may have killed it before.
        let _dead_already = self.child.kill();
        self.child.wait().unwrap();
    }

    /// The process ID, for signals.
    #[allow(dead_code, reason = "not every test program sends signals")]
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// A request of the toolstack, which the client does not have.
    fn control(&self, kind: u32, payload: &str) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let header = [kind, 1, 0, payload.len() as u32].map(u32::to_ne_bytes).concat();
        stream.write_all(&[&header, payload.as_bytes()].concat()).unwrap();
        let mut reply = [0; 16 + 3];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply[..4], &kind.to_ne_bytes(), "{payload:?} was refused");
        assert_eq!(&reply[16..], b"OK\0");
    }
}

impl Drop for Xenstored {
    fn drop(&mut self) {
        self.kill();
    }
}

fn find_daemon() -> Option<PathBuf> {
    if let Some(named) = env::var_os(DAEMON) {
        return Some(named.into());
    }
    let versions = fs::read_dir("/usr/lib").ok()?.flatten();
    versions
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("xen-"))
        .map(|entry| entry.path().join("bin/xenstored"))
        .find(|path| path.exists())
}

/// The preloaded library, built once for each test program.
fn shim() -> Result<&'static Path, &'static str> {
    static SHIM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = SHIM.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xenstored-shim");
        // The packages that use this file have different directories.
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("tests-c/xenstored-shim"))
            .find(|path| path.exists())
            .ok_or("no sources of the shim here")?;
        let made = Command::new("make")
            .args(["-s", "-C"])
            .arg(source)
            .arg(format!("OUT={}", out.display()))
            .env_remove("MAKEFLAGS")
            .output();
        match made {
            Ok(output) if output.status.success() => Ok(out.join("xenstored-shim.so")),
            Ok(output) => Err(format!(
                "the shim does not build (libxen-dev, gcc?): {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            )),
            Err(error) => Err(format!("cannot run make: {error}")),
        }
    });
    made.as_deref().map_err(String::as_str)
}

/// Reports the skipped test past the capture of test output.
fn skip<T>(reason: &str) -> Option<T> {
    assert!(env::var_os(REQUIRED).is_none_or(|value| value != "1"), "{REQUIRED}=1, but {reason}");
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED {test}: {reason} ({REQUIRED}=1 makes this a failure)\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}
