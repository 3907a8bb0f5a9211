//! Resources used by a process: CPU time, sleeps, notifications.
//!
//! Notifications are counted from outside, for all libraries alike. Xen's library on the shim sends one by
//! writing to an eventfd, and the kernel counts write calls (`/proc/self/io`). This library's Unix transport
//! sends one by `preadv2` or by `send`; this program defines both calls, which all libraries in the process
//! use, and counts them.

use std::sync::atomic::{AtomicU64, Ordering};

use libc::{c_int, c_void, iovec, off_t, size_t, ssize_t};
use nix::sys::resource::{getrusage, UsageWho};
use nix::time::{clock_gettime, ClockId};

static SENT: AtomicU64 = AtomicU64::new(0);

/// `send(2)`, counted.
///
/// # Safety
///
/// As for the C library's function.
#[no_mangle]
pub unsafe extern "C" fn send(fd: c_int, data: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    SENT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller's; `send` is `sendto` without an address.
    unsafe { libc::sendto(fd, data, len, flags, std::ptr::null(), 0) }
}

/// `preadv2(2)`, counted.
///
/// # Safety
///
/// As for the C library's function.
#[no_mangle]
pub unsafe extern "C" fn preadv2(
    fd: c_int,
    to: *const iovec,
    count: c_int,
    at: off_t,
    flags: c_int,
) -> ssize_t {
    SENT.fetch_add(1, Ordering::Relaxed);
    // The kernel takes the offset in two halves.
    let (low, high) = (at as libc::c_long, (at >> 32) as libc::c_long);
    // SAFETY: the caller's.
    unsafe { libc::syscall(libc::SYS_preadv2, fd, to, count, low, high, flags) as ssize_t }
}

/// How often the process has called `write`; 0 if the kernel does not report it.
fn writes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("syscw: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A reading of all counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    cpu_ns: u64,
    sleeps: u64,
    notifications: u64,
}

impl Usage {
    /// The current values.
    pub fn now() -> crate::Result<Usage> {
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        let switches = getrusage(UsageWho::RUSAGE_SELF)?.voluntary_context_switches();
        Ok(Usage {
            cpu_ns: cpu.tv_sec() as u64 * 1_000_000_000 + cpu.tv_nsec() as u64,
            sleeps: switches as u64,
            notifications: SENT.load(Ordering::Relaxed) + writes(),
        })
    }

    /// The difference from `earlier`.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            sleeps: self.sleeps - earlier.sleeps,
            notifications: self.notifications - earlier.notifications,
        }
    }

    /// CPU time in seconds.
    pub fn cpu(self) -> f64 {
        self.cpu_ns as f64 / 1e9
    }

    /// Voluntary context switches.
    pub fn sleeps(self) -> f64 {
        self.sleeps as f64
    }

    /// Notifications (for peers that write no data by `write` and `send`).
    pub fn notifications(self) -> f64 {
        self.notifications as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn writes_and_sends_count() {
        let (mut one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut null = std::fs::File::options().write(true).open("/dev/null").unwrap();
        let before = Usage::now().unwrap();
        null.write_all(b"x").unwrap();
        one.write_all(b"y").unwrap();
        let used = Usage::now().unwrap().since(before);
        assert!(used.notifications() >= 2.0, "{used:?}");
        assert!(used.cpu() > 0.0);
    }
}
