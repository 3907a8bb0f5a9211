//! Helpers for tests of several subjects.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use vchan::{ClientBuilder, Listener, ListenerBuilder, Vchan};

use crate::world::{World, CLIENT, SERVER};

/// A timeout that expires only in failing tests.
pub const LONG: Duration = Duration::from_secs(20);

/// The default port name.
pub const PORT: &str = "conformance";

/// A server's builder with the default name. Without nudges, which would repair a lost wake-up before a test
/// sees it.
pub fn server(world: &dyn World) -> ListenerBuilder {
    Listener::builder(CLIENT, PORT).transport(world.server()).without_extra_events()
}

/// The builder of its client.
pub fn client(world: &dyn World) -> ClientBuilder {
    Vchan::builder(SERVER, PORT).transport(world.client()).without_extra_events()
}

/// A server's channel, once its client has connected.
pub fn accept(listening: Vchan, limit: Option<Duration>) -> vchan::Result<Vchan> {
    listening.wait_for_client(limit).map(|()| listening)
}

/// A connected server and client.
pub fn connect(server: &ListenerBuilder, client: &ClientBuilder) -> (Vchan, Vchan) {
    let listening = server.open().expect("listen");
    let client = client.connect().expect("connect");
    (accept(listening, Some(LONG)).expect("accept"), client)
}

/// A connected server and client with rings of at least `size` bytes.
pub fn pair(world: &dyn World, size: usize) -> (Vchan, Vchan) {
    connect(&server(world).buffer_size(size), &client(world))
}

/// As [`pair`], but neither end spins.
pub fn pair_without_spinning(world: &dyn World, size: usize) -> (Vchan, Vchan) {
    let none = Duration::ZERO;
    connect(&server(world).buffer_size(size).spin(none), &client(world).spin(none))
}

/// Whether a descriptor becomes readable within the time.
pub fn readable(fd: impl AsFd, limit: Duration) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).expect("a time-out for poll");
    loop {
        match poll(&mut fds, limit) {
            Ok(count) => return count > 0,
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// Whether a descriptor is readable now.
pub fn readable_now(fd: impl AsFd) -> bool {
    readable(fd, Duration::ZERO)
}

/// Starts a thread and returns once it runs.
pub fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (started, has_started) = mpsc::channel();
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        started.send(()).expect("the starting thread waits");
        body()
    });
    let thread = thread.expect("start a thread");
    has_started.recv().expect("the thread starts");
    thread
}

/// How often to repeat something. Miri is some thousand times slower.
pub fn rounds(count: usize) -> usize {
    if cfg!(miri) {
        count.div_ceil(200)
    } else {
        count
    }
}

/// Waits until the thread with this name sleeps according to the kernel, so that it is (almost always)
/// blocked in its next call. The tests are also correct without this, but test less.
pub fn wait_until_asleep(name: &str) {
    if cfg!(miri) {
        // Miri runs one thread at a time, almost always until it blocks.
        (0..100).for_each(|_| std::thread::yield_now());
        return;
    }
    for _ in 0..2000 {
        let tasks = std::fs::read_dir("/proc/self/task").expect("/proc/self/task");
        let sleeps = tasks.flatten().any(|task| {
            let text = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            text("comm").trim() == name && text("stat").contains(") S ")
        });
        if sleeps {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the thread {name} never slept");
}

/// A pseudo-random sequence that is the same in every run.
pub struct Random(u64);

impl Random {
    /// Any seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number (xorshift64*).
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// A byte stream with a known pattern, so that both ends can check the bytes.
pub struct Stream {
    bytes: Vec<u8>,
    at: usize,
}

/// A prime, so that the pattern does not repeat at a power of two.
const PERIOD: usize = if cfg!(miri) { 1021 } else { 65_521 };

impl Stream {
    /// A stream at its beginning.
    pub fn new(seed: u64) -> Stream {
        let mut bytes = Random::new(seed).bytes(PERIOD);
        bytes.extend_from_within(..);
        Stream { bytes, at: 0 }
    }

    /// The current position.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next `len` bytes, or fewer at the end of the pattern. [`skip`](Self::skip) advances.
    pub fn next(&self, len: usize) -> &[u8] {
        let at = self.at % PERIOD;
        &self.bytes[at..(at + len).min(self.bytes.len())]
    }

    /// Advances.
    pub fn skip(&mut self, len: usize) {
        self.at += len;
    }

    /// Compares the received bytes with the pattern.
    pub fn check(&mut self, mut received: &[u8]) {
        while !received.is_empty() {
            let expected = self.next(received.len());
            let len = expected.len();
            assert!(received[..len] == *expected, "wrong bytes within {len} from {}", self.at);
            self.skip(len);
            received = &received[len..];
        }
    }
}

/// The crate's error inside an [`std::io::Error`].
pub fn inner(error: &std::io::Error) -> &vchan::Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of the crate")
}
