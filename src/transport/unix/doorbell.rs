//! Doorbells: eventfds by which two ends of this implementation wake each other, cheaper than by bytes on the
//! socket.
//!
//! Each end sends its doorbell as a descriptor along with an ordinary byte. A client sends it with its first
//! byte; a server answers at once with a byte and its own. From then on an event is a read of the peer's
//! doorbell, and the socket only reports the end. A peer that does not know doorbells reads the byte and
//! drops the descriptor, and both sides continue with bytes.
//!
//! A doorbell starts full, is counted down by each event (it practically never reaches zero), and is polled
//! for writability, edge-triggered: so the wait itself takes the event, and the doorbell is never refilled.
//! An event is a read because a single read can be made non-blocking (`RWF_NOWAIT`). A write cannot: whether
//! it blocks depends on a flag of the shared open file description, and a hostile peer could fill its
//! doorbell, clear that flag, and block us. Each end keeps the same doorbell while it lives; a client that
//! kept it from an earlier connection can only cause spurious wake-ups.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{send, sendmsg, ControlMessage, MsgFlags};

use super::descriptor::by_descriptor;
use crate::{Error, Result};

/// An event as a byte.
const EVENT: u8 = 0;

/// The maximum value of an eventfd.
const FULL: u64 = u64::MAX - 1;

const SENDING: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// The state of the offer of our own doorbell: not due, to be sent with the next byte, sent.
const NOT_DUE: u8 = 0;
const DUE: u8 = 1;
const SENT: u8 = 2;

/// Both doorbells of one end.
pub(super) struct Doorbells {
    own: Arc<EventFd>,
    offer: AtomicU8,
    /// The peer's. Like the channel's own descriptor, it keeps its number when it is replaced by another
    /// client's doorbell, so it can be used without a lock.
    peers: OnceLock<OwnedFd>,
    /// Whether that is the doorbell of the current peer.
    rings: AtomicBool,
}

impl Doorbells {
    pub(super) fn new() -> Result<Doorbells> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_SEMAPHORE;
        let own = EventFd::from_flags(flags)
            .and_then(|own| own.write(FULL).map(|_| own))
            .map_err(|errno| Error::os("create an eventfd", errno))?;
        Ok(Doorbells {
            own: Arc::new(own),
            offer: AtomicU8::new(NOT_DUE),
            peers: OnceLock::new(),
            rings: AtomicBool::new(false),
        })
    }

    /// Our own doorbell, to be polled for writability.
    pub(super) fn own(&self) -> &Arc<EventFd> {
        &self.own
    }

    /// Lets the next byte carry our own doorbell, unless the peer already got it. Returns whether it will.
    pub(super) fn offer(&self) -> bool {
        self.offer.compare_exchange(NOT_DUE, DUE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Sends an event: by the peer's doorbell if it is known, otherwise by a byte on `socket`. Returns
    /// whether the doorbell was used.
    pub(super) fn send_event(&self, socket: BorrowedFd<'_>) -> nix::Result<bool> {
        // If the offer fails, the event still goes out as a byte, which also reports the socket's state.
        if self.offer.load(Ordering::SeqCst) == DUE && self.send_offer(socket).is_ok() {
            return Ok(false);
        }
        if self.rings.load(Ordering::SeqCst) {
            if let Some(doorbell) = self.peers.get() {
                match ring(doorbell) {
                    Ok(()) => return Ok(true),
                    Err(Errno::EINTR) => return Err(Errno::EINTR),
                    // A kernel without RWF_NOWAIT for eventfds (before 5.12), or a seccomp filter.
                    Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
                        self.rings.store(false, Ordering::SeqCst)
                    }
                    // Any other reason, such as a doorbell that the peer has drained: send a byte.
                    Err(_) => {}
                }
            }
        }
        send(socket.as_raw_fd(), &[EVENT], SENDING).map(|_| false)
    }

    /// Whether the peer has a doorbell.
    pub(super) fn is_known(&self) -> bool {
        self.rings.load(Ordering::Relaxed)
    }

    /// Answers with our own doorbell, unless the peer already got it. If that fails now, the next event
    /// carries it.
    pub(super) fn answer(&self, socket: BorrowedFd<'_>) {
        if self.offer() {
            let _ = self.send_offer(socket);
        }
    }

    fn send_offer(&self, socket: BorrowedFd<'_>) -> nix::Result<()> {
        let fds = [self.own.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&[EVENT])], &rights, SENDING, None)?;
        let _ = self.offer.compare_exchange(DUE, SENT, Ordering::SeqCst, Ordering::SeqCst);
        Ok(())
    }

    /// Accepts a descriptor as the peer's doorbell if it is an eventfd and the first one. Returns whether it
    /// was accepted.
    ///
    /// Callers serialize this and [`reset`](Self::reset).
    pub(super) fn accept(&self, doorbell: OwnedFd) -> bool {
        let taken = !self.rings.load(Ordering::SeqCst) && is_eventfd(&doorbell) && self.put(doorbell);
        if taken {
            self.rings.store(true, Ordering::SeqCst);
        }
        taken
    }

    fn put(&self, doorbell: OwnedFd) -> bool {
        match self.peers.get() {
            None => self.peers.set(doorbell).is_ok(),
            // SAFETY: both descriptors are open and ours, and the number of the first stays open and owned by it.
            Some(old) => unsafe { libc::dup3(doorbell.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) >= 0 },
        }
    }

    /// Resets after the peer has gone: the next one has another doorbell, or none. Returns whether this one
    /// had one. A thread that is about to signal the old doorbell still does, without effect.
    pub(super) fn reset(&self) -> bool {
        self.offer.store(NOT_DUE, Ordering::SeqCst);
        self.rings.swap(false, Ordering::SeqCst)
    }
}

fn is_eventfd(fd: &OwnedFd) -> bool {
    readlink(by_descriptor(fd).as_str()).is_ok_and(|target| target == "anon_inode:[eventfd]")
}

/// Reads from a doorbell without blocking, whatever its owner has done to it.
fn ring(doorbell: &OwnedFd) -> nix::Result<()> {
    let mut taken = 0u64;
    let into = libc::iovec { iov_base: (&raw mut taken).cast(), iov_len: size_of::<u64>() };
    // SAFETY: the vector describes 8 writable bytes. An offset of -1 means none.
    let result = unsafe { libc::preadv2(doorbell.as_raw_fd(), &into, 1, -1, libc::RWF_NOWAIT) };
    Errno::result(result).map(drop)
}

/// Receives bytes from the socket without blocking, and at most one descriptor. Further ones are closed.
pub(super) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // u64 for the alignment of `cmsghdr`.
    let mut control = [0u64; 4];
    // SAFETY: a pure calculation.
    let len = unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as u32) } as usize;
    debug_assert!(len <= size_of_val(&control));
    // SAFETY: all zeros are a valid, empty `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // Not CMSG_SPACE, which rounds up: that would be room for two descriptors, and the kernel would install
    // both.
    message.msg_controllen = len as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message points to both buffers, with their lengths.
    let count = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) })?;
    // SAFETY: the kernel has filled in the message; the header, if there is one, is in `control`.
    let doorbell = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message).as_ref();
        header
            .filter(|header| {
                (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
                    && header.cmsg_len == len as _
            })
            .map(|header| {
                OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned())
            })
    };
    Ok((count as usize, doorbell))
}
