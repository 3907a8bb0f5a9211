//! Doorbells: the eventfds by which two ends of this implementation wake each other, at a lower price than by bytes.
//!
//! The doorbell of an end comes to the other one as a descriptor along with an ordinary byte. A client sends its own
//! with its first byte, a server answers at once with a byte and its own; from then on an event is an addition to the other's doorbell, and
//! the socket only tells of the end. A peer that doesn't know doorbells reads the byte, and the descriptor is gone: with
//! it everything remains as it was.
//!
//! A doorbell begins full, counts down for longer than anybody rings, and is watched for space, edge-triggered: so the wait
//! itself takes the event, and nobody fills it up. It is rung by reading because a read can say, for itself alone, that it
//! does not wait. A write could not: whether it waits is a mark on what both sides share, and a peer that means harm fills
//! its doorbell, takes the mark away, and has stopped us. Each end has the same doorbell for as long as it lives; who kept it
//! from an earlier connection can do no more than wake it for nothing.

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

/// The most that an eventfd holds.
const FULL: u64 = u64::MAX - 1;

const SENDING: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// What has become of the offer of our own doorbell: not made, to be made with the next byte, made.
const LATER: u8 = 0;
const DUE: u8 = 1;
const MADE: u8 = 2;

/// Both doorbells of one end.
pub(super) struct Doorbells {
    own: Arc<EventFd>,
    offer: AtomicU8,
    /// The peer's. As the channel's own descriptor, it keeps its number when another client's doorbell takes its place,
    /// so it can be rung without a lock.
    peers: OnceLock<OwnedFd>,
    /// Whether that is the doorbell of the peer that is there now.
    rings: AtomicBool,
}

impl Doorbells {
    pub(super) fn new() -> Result<Doorbells> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_SEMAPHORE;
        let own = EventFd::from_flags(flags)
            .and_then(|own| own.write(FULL).map(|_| own))
            .map_err(|errno| Error::os("make an eventfd", errno))?;
        Ok(Doorbells {
            own: Arc::new(own),
            offer: AtomicU8::new(LATER),
            peers: OnceLock::new(),
            rings: AtomicBool::new(false),
        })
    }

    /// What to watch, for space.
    pub(super) fn own(&self) -> &Arc<EventFd> {
        &self.own
    }

    /// The next byte is to carry our own doorbell, if the peer has not been offered it yet; says whether it is.
    pub(super) fn offer(&self) -> bool {
        self.offer.compare_exchange(LATER, DUE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Sends an event: by the peer's doorbell, if it is known, else by a byte on `socket`. Says whether by the doorbell.
    pub(super) fn send_event(&self, socket: BorrowedFd<'_>) -> nix::Result<bool> {
        // Where it can't be offered, for whatever reason, the event still goes out, and tells of the socket's state.
        if self.offer.load(Ordering::SeqCst) == DUE && self.send_offer(socket).is_ok() {
            return Ok(false);
        }
        if self.rings.load(Ordering::SeqCst) {
            if let Some(doorbell) = self.peers.get() {
                match ring(doorbell) {
                    Ok(()) => return Ok(true),
                    Err(Errno::EINTR) => return Err(Errno::EINTR),
                    // A kernel that can't ring without waiting (before 5.12), or a filter of system calls that forbids it.
                    Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
                        self.rings.store(false, Ordering::SeqCst)
                    }
                    // For whatever reason, also one that its owner has emptied: this event goes as a byte.
                    Err(_) => {}
                }
            }
        }
        send(socket.as_raw_fd(), &[EVENT], SENDING).map(|_| false)
    }

    /// Whether the peer has one.
    pub(super) fn is_known(&self) -> bool {
        self.rings.load(Ordering::Relaxed)
    }

    /// Answers with our own doorbell, if the peer has not been offered it yet. If that can't be sent now, the next event
    /// takes it along.
    pub(super) fn answer(&self, socket: BorrowedFd<'_>) {
        if self.offer() {
            let _ = self.send_offer(socket);
        }
    }

    fn send_offer(&self, socket: BorrowedFd<'_>) -> nix::Result<()> {
        let fds = [self.own.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&[EVENT])], &rights, SENDING, None)?;
        let _ = self.offer.compare_exchange(DUE, MADE, Ordering::SeqCst, Ordering::SeqCst);
        Ok(())
    }

    /// Takes what the peer sent for its doorbell, if it is one, and the first. Says whether it was.
    ///
    /// To be called by one thread at a time, as [`forget`](Self::forget).
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

    /// The peer has gone: the next one has another doorbell, or none. Says whether this one had one. A thread that is
    /// about to ring it still does, and nobody hears it.
    pub(super) fn reset(&self) -> bool {
        self.offer.store(LATER, Ordering::SeqCst);
        self.rings.swap(false, Ordering::SeqCst)
    }
}

fn is_eventfd(fd: &OwnedFd) -> bool {
    readlink(by_descriptor(fd).as_str()).is_ok_and(|target| target == "anon_inode:[eventfd]")
}

/// Takes 1 from a doorbell, without waiting, whatever its owner has made of it.
fn ring(doorbell: &OwnedFd) -> nix::Result<()> {
    let mut taken = 0u64;
    let into = libc::iovec { iov_base: (&raw mut taken).cast(), iov_len: size_of::<u64>() };
    // SAFETY: the vector leads to 8 bytes. An offset of -1 is none.
    let result = unsafe { libc::preadv2(doorbell.as_raw_fd(), &into, 1, -1, libc::RWF_NOWAIT) };
    Errno::result(result).map(drop)
}

/// Takes bytes from the socket without blocking, and a descriptor that came along. Further ones are closed.
pub(super) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // Aligned as the header that stands in it.
    let mut control = [0u64; 4];
    // SAFETY: a calculation.
    let len = unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as u32) } as usize;
    debug_assert!(len <= size_of_val(&control));
    // SAFETY: zeros are an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // Not rounded up, as CMSG_SPACE is: that would be room for two, and the kernel would open them.
    message.msg_controllen = len as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message leads to both buffers, with their lengths.
    let count = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) })?;
    // SAFETY: the kernel has filled in the message; the header, if there is one, stands in `control`.
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
