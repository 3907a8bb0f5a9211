//! The side under test: every call of the library, and its allowed results.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsFd, FromRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use vchan::unstable::ring::Interest;
use vchan::unstable::{Channel, Internals};
use vchan::{Closer, Error, Reader, Vchan, Writer};

use super::script::Script;
use super::tally::{count, Tally};

/// The limits of a call's CPU time, and of its duration beyond its timeouts. Other load on the machine only
/// affects the second.
const CPU_LIMIT: Duration = Duration::from_millis(250);
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The longest timeout.
const TIMEOUT_MICROS: u64 = 400;

/// The allowed number of spurious readiness reports while the peer does nothing.
const SPURIOUS_MAX: usize = 6;

/// One side of a channel, or half of it.
pub struct Victim {
    pub reader: Option<Reader>,
    pub writer: Option<Writer>,
    channel: Arc<Channel>,
    closer: Closer,
    nonblocking: bool,
    scratch: File,
    zeroes: File,
    /// The number of bytes written and read: the expected indices.
    pub moved: [u32; 2],
    /// Whether that is known: not after a call that failed half-way, or if the initial indices are unknown.
    pub is_followed: bool,
    /// The peer acts only between the calls.
    in_turn: bool,
    /// The peer can have truncated the memory, so that the kernel's copies fail.
    pub may_lack_memory: bool,
    /// How often a call returned `Corrupt`.
    corrupt: usize,
    pub tally: Tally,
}

pub const READING: [&str; 8] = [
    "read",
    "recv",
    "read-vectored",
    "copy-to-fd",
    "data-ready",
    "borrow-consume",
    "poll-to-read",
    "set-timeout",
];
pub const WRITING: [&str; 10] = [
    "write",
    "send",
    "write-vectored",
    "copy-from-fd",
    "buffer-space",
    "reserve-commit",
    "poll-to-write",
    "pending",
    "wait-drained",
    "nudge",
];
pub const BOTH: [&str; 4] = ["wait", "wait-for-peer", "check-peer", "state"];
/// Rare, since little can follow them.
pub const ENDING: [&str; 5] = ["leave", "close", "set-persistent", "shutdown", "abort"];

fn memfd() -> File {
    // SAFETY: a new descriptor without another owner.
    unsafe {
        let fd = libc::memfd_create(c"hostile".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "memfd_create");
        File::from_raw_fd(fd)
    }
}

impl Victim {
    pub fn new(mut vchan: Vchan, in_turn: bool) -> Victim {
        vchan.set_timeout(Some(Duration::from_micros(TIMEOUT_MICROS)));
        let (channel, closer) = (vchan.channel().clone(), vchan.closer());
        let (reader, writer) = vchan.split();
        let zeroes = File::open("/dev/zero").expect("/dev/zero");
        Victim {
            reader: Some(reader),
            writer: Some(writer),
            channel,
            closer,
            nonblocking: false,
            scratch: memfd(),
            zeroes,
            moved: [0; 2],
            is_followed: true,
            in_turn,
            may_lack_memory: false,
            corrupt: 0,
            tally: Tally::default(),
        }
    }

    /// The writing half, for another thread.
    pub fn split(&mut self) -> Victim {
        Victim {
            reader: None,
            writer: self.writer.take(),
            channel: self.channel.clone(),
            closer: self.closer.clone(),
            nonblocking: self.nonblocking,
            scratch: memfd(),
            zeroes: self.zeroes.try_clone().expect("another descriptor"),
            moved: [0; 2],
            is_followed: true,
            in_turn: self.in_turn,
            may_lack_memory: self.may_lack_memory,
            corrupt: 0,
            tally: Tally::default(),
        }
    }

    /// Whether more calls would find nothing new.
    pub fn is_over(&self) -> bool {
        self.closer.is_closed() || self.corrupt > 5
    }

    /// Makes the script's next call, and checks its result.
    pub fn call(&mut self, script: &mut Script) {
        let name = self.name(script.byte());
        count(&mut self.tally.calls, name);
        let limit = Duration::from_micros(u64::from(script.byte()) * TIMEOUT_MICROS / 255);
        let (begun, busy) = (Instant::now(), cpu_time());
        let result = self.do_call(name, limit, script);
        let (lasted, busy) = (begun.elapsed(), cpu_time() - busy);
        // The largest call waits once for each of several parts.
        assert!(busy < CPU_LIMIT, "{name} used {busy:?} of CPU time: {result:?}");
        assert!(lasted < TIME_LIMIT, "{name} lasted {lasted:?}: {result:?}");
        self.corrupt += usize::from(matches!(result, Err(Error::Corrupt(_))));
        self.is_followed &= self.corrupt == 0;
        let kind = self.judge(name, result);
        count(&mut self.tally.results, kind);
    }

    /// The call that the script's first byte selects.
    fn name(&self, choice: u8) -> &'static str {
        match choice {
            248 => ENDING[3],
            249 => ENDING[4],
            250..=251 => ENDING[0],
            252 => ENDING[1],
            253.. => ENDING[2],
            _ => match usize::from(choice % 22) {
                n @ 0..8 if self.reader.is_some() => READING[n],
                n @ 8..18 if self.writer.is_some() => WRITING[n - 8],
                n => BOTH[n % 4],
            },
        }
    }

    /// Whether the script's next call checks for spurious readiness.
    pub fn polls(&self, script: &Script) -> bool {
        self.name(script.clone().byte()).starts_with("poll")
    }

    fn do_call(&mut self, name: &str, limit: Duration, script: &mut Script) -> Result<(), Error> {
        match name {
            "wait" => self.channel.wait(Some(limit)),
            "wait-for-peer" => self.channel.wait_for_peer(Some(limit)),
            "check-peer" => self.channel.check_peer(Interest::Readable),
            "state" => self.channel.state_now().map(drop),
            "leave" => {
                self.channel.leave();
                Ok(())
            }
            "shutdown" => self.channel.finish(),
            "abort" => {
                self.channel.abort();
                Ok(())
            }
            "close" => {
                self.closer.close();
                Ok(())
            }
            "set-persistent" => self.channel.set_persistent(script.once_in(2)),
            _ if READING.contains(&name) => self.read_call(name, limit, script),
            _ => self.write_call(name, limit, script),
        }
    }

    fn read_call(&mut self, name: &str, limit: Duration, script: &mut Script) -> Result<(), Error> {
        let reader = self.reader.as_mut().expect("the reading half");
        let mut buffer = vec![0xEE; script.length()];
        let moved = match name {
            "read" => within(reader.read(&mut buffer), buffer.len())?,
            "recv" => reader.recv(&mut buffer).map(|()| buffer.len())?,
            "read-vectored" => {
                let len = buffer.len();
                let (first, second) = buffer.split_at_mut(len / 3);
                let mut parts = [IoSliceMut::new(first), IoSliceMut::new(&mut []), IoSliceMut::new(second)];
                within(reader.read_vectored(&mut parts), len)?
            }
            "copy-to-fd" => {
                self.scratch.set_len(0).expect("empty the file");
                self.scratch.rewind().expect("rewind");
                let count = reader.copy_to_fd(self.scratch.as_fd(), buffer.len())?;
                assert_eq!(self.scratch.metadata().expect("its length").len(), count as u64);
                count
            }
            "data-ready" => {
                let ready = reader.data_ready()?;
                assert!(ready <= reader.ring_size(), "{ready} bytes in a ring of {}", reader.ring_size());
                0
            }
            "borrow-consume" => self.borrow(script)?,
            "poll-to-read" => return self.poll(Interest::Readable),
            _ => {
                self.nonblocking = script.once_in(3);
                reader.set_nonblocking(self.nonblocking);
                reader.set_timeout(Some(limit));
                if let Some(writer) = &mut self.writer {
                    writer.set_nonblocking(self.nonblocking);
                    writer.set_timeout(Some(limit));
                }
                0
            }
        };
        self.moved[1] = self.moved[1].wrapping_add(moved as u32);
        Ok(())
    }

    fn write_call(&mut self, name: &str, limit: Duration, script: &mut Script) -> Result<(), Error> {
        let writer = self.writer.as_mut().expect("the writing half");
        let buffer = vec![0xDD; script.length()];
        let moved = match name {
            "write" => within(writer.write(&buffer), buffer.len())?,
            "send" => writer.send(&buffer).map(|()| buffer.len())?,
            "write-vectored" => {
                let parts: Vec<IoSlice<'_>> = buffer.chunks(1 + script.length()).map(IoSlice::new).collect();
                within(writer.write_vectored(&parts), buffer.len())?
            }
            "copy-from-fd" => writer.copy_from_fd(self.zeroes.as_fd(), buffer.len())?,
            "buffer-space" => {
                let space = writer.buffer_space()?;
                assert!(space <= writer.ring_size(), "{space} bytes in a ring of {}", writer.ring_size());
                0
            }
            "reserve-commit" => self.reserve(script)?,
            "poll-to-write" => return self.poll(Interest::Writable),
            "pending" => {
                let pending = writer.pending()?;
                assert!(pending <= writer.ring_size());
                0
            }
            "wait-drained" => writer.wait_drained(Some(limit)).map(|()| 0)?,
            _ => writer.nudge().map(|()| 0)?,
        };
        self.moved[0] = self.moved[0].wrapping_add(moved as u32);
        Ok(())
    }

    /// Reads all ready bytes in place, and consumes some of them.
    fn borrow(&self, script: &mut Script) -> Result<usize, Error> {
        let consumer = &self.channel.ring().consumer;
        let ready = consumer.ready()?;
        let mut sum = 0u8;
        for part in consumer.ready_slices(ready) {
            for at in 0..part.len {
                // SAFETY: the test checks that it lies in the ring.
                sum ^= unsafe { part.start.add(at).as_ptr().read_volatile() };
            }
        }
        std::hint::black_box(sum);
        let taken = script.length() as u32 % (ready + 1);
        if consumer.consume(taken) {
            self.channel.notify()?;
        }
        Ok(taken as usize)
    }

    /// Fills all space in place, and publishes some of it.
    fn reserve(&self, script: &mut Script) -> Result<usize, Error> {
        self.channel.check_peer(Interest::Writable)?;
        let producer = &self.channel.ring().producer;
        let space = producer.space()?;
        for part in producer.free_slices(space) {
            for at in 0..part.len {
                // SAFETY: as above.
                unsafe { part.start.add(at).as_ptr().write_volatile(0xBB) };
            }
        }
        let published = script.length() as u32 % (space + 1);
        if producer.commit(published) {
            self.channel.notify()?;
        }
        Ok(published as usize)
    }

    /// Behaves like a program that polls: it tries, and polls if there is nothing. The descriptor must not
    /// stay ready while nothing comes.
    fn poll(&mut self, interest: Interest) -> Result<(), Error> {
        let mut woken = 0;
        while woken < SPURIOUS_MAX {
            let tried = match interest {
                Interest::Readable => self.try_to_read(),
                Interest::Writable => self.try_to_write(),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(Error::WouldBlock) => {}
                Err(error) => return Err(error),
            }
            let fd = match interest {
                Interest::Readable => self.reader.as_ref().map(AsFd::as_fd),
                Interest::Writable => self.writer.as_ref().map(AsFd::as_fd),
            };
            let mut fds = [PollFd::new(fd.expect("the half"), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO).expect("poll") == 0 {
                return Err(Error::WouldBlock);
            }
            woken += 1;
        }
        assert!(!self.in_turn, "the descriptor was ready {SPURIOUS_MAX} times without being {interest:?}");
        Ok(())
    }

    fn try_to_read(&mut self) -> Result<(), Error> {
        let reader = self.reader.as_mut().expect("the reading half");
        reader.set_nonblocking(true);
        let result = within(reader.read(&mut [0; 8]), 8);
        reader.set_nonblocking(self.nonblocking);
        self.moved[1] = self.moved[1].wrapping_add(result? as u32);
        Ok(())
    }

    fn try_to_write(&mut self) -> Result<(), Error> {
        let writer = self.writer.as_mut().expect("the writing half");
        writer.set_nonblocking(true);
        let result = within(writer.write(&[0; 8]), 8);
        writer.set_nonblocking(self.nonblocking);
        self.moved[0] = self.moved[0].wrapping_add(result? as u32);
        Ok(())
    }

    /// The name of a result. Panics if it is not documented for the call.
    fn judge(&self, name: &str, result: Result<(), Error>) -> &'static str {
        let Err(error) = result else { return "success" };
        let waits = !self.nonblocking;
        let may_wait = waits || ["wait", "wait-for-peer", "wait-drained"].contains(&name);
        let (kind, documented) = match &error {
            Error::Corrupt(_) => ("corrupt", true),
            Error::PeerClosed => ("peer-closed", true),
            Error::PeerFinished => ("peer-finished", true),
            Error::PeerAborted => ("peer-aborted", true),
            Error::PeerDied => ("peer-died", true),
            Error::Closed => ("closed", true),
            Error::TimedOut(_) => ("timed-out", may_wait),
            // A fuzzer's alarm.
            Error::Interrupted => ("interrupted", may_wait),
            Error::WouldBlock => ("would-block", !waits || name.starts_with("poll")),
            Error::PacketTooLarge { .. } => ("packet-too-large", waits && ["recv", "send"].contains(&name)),
            Error::Invalid(_) => ("invalid", name.starts_with("copy")),
            Error::Os { .. } if error.errno() == libc::EFAULT => {
                ("memory-gone", self.may_lack_memory && name.starts_with("copy"))
            }
            _ => ("other", false),
        };
        assert!(documented, "{name} (waits: {waits}) failed with {error:?}");
        kind
    }
}

/// The result of the library's [`Read`] and [`Write`], with the crate's own error.
fn within(result: std::io::Result<usize>, len: usize) -> Result<usize, Error> {
    match result {
        Ok(count) => {
            assert!(count <= len, "{count} of {len} bytes");
            Ok(count)
        }
        Err(error) => {
            Err(*error.into_inner().expect("an inner error").downcast().expect("an error of the crate"))
        }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the thread's clock").into()
}
