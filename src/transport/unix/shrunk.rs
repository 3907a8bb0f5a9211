//! Memory files that the peer makes shorter.
//!
//! Whoever may write a file may cut it off, and an access to what is cut off raises SIGBUS, which ends the process. So
//! while memory files are mapped, this handles the signal: it puts zeroes in the place of the block, as a peer could have
//! written them, and the access goes on. For the ring that is a peer that has left, or impossible values. Every other
//! SIGBUS goes where it went before. A handler that the program installs later takes the place of this one, and with
//! it the protection.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

/// A block that is mapped. The handler walks their list, so none is ever freed; those that are unused (of length 0) are
/// used again.
struct Place {
    start: AtomicUsize,
    len: AtomicUsize,
    next: AtomicPtr<Place>,
}

static PLACES: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());

/// How many blocks are guarded, and what SIGBUS did before the first was.
static GUARDED: Mutex<(usize, Option<libc::sigaction>)> = Mutex::new((0, None));

/// What SIGBUS did before, for the handler: a function with three arguments, one with one, or neither.
static EARLIER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static EARLIER_FLAGS: AtomicUsize = AtomicUsize::new(0);

/// Guards a block until it is dropped, which must be before the block is unmapped.
pub(super) struct Guard(&'static Place);

impl Guard {
    /// Guards `len` bytes from `start`, which are a mapping of their own.
    pub(super) fn new(start: usize, len: usize) -> io::Result<Guard> {
        let mut guarded = GUARDED.lock().unwrap_or_else(PoisonError::into_inner);
        if guarded.0 == 0 {
            guarded.1 = Some(install()?);
        }
        guarded.0 += 1;
        let place = unused().unwrap_or_else(add);
        place.start.store(start, Ordering::Relaxed);
        place.len.store(len, Ordering::Release);
        Ok(Guard(place))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut guarded = GUARDED.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.len.store(0, Ordering::Release);
        guarded.0 -= 1;
        if guarded.0 == 0 {
            if let Some(earlier) = guarded.1.take() {
                restore(&earlier);
            }
        }
    }
}

fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: null, or a place that was leaked.
    let at = |place: &AtomicPtr<Place>| unsafe { place.load(Ordering::Acquire).as_ref() };
    std::iter::successors(at(&PLACES), move |place| at(&place.next))
}

fn unused() -> Option<&'static Place> {
    places().find(|place| place.len.load(Ordering::Relaxed) == 0)
}

/// Called with the lock held.
fn add() -> &'static Place {
    let next = AtomicPtr::new(PLACES.load(Ordering::Relaxed));
    let place = Box::leak(Box::new(Place { start: AtomicUsize::new(0), len: AtomicUsize::new(0), next }));
    PLACES.store(place, Ordering::Release);
    place
}

fn install() -> io::Result<libc::sigaction> {
    // SAFETY: zeroes are a valid `sigaction`, both calls get valid ones, and the handler does only what handlers may.
    unsafe {
        let mut earlier: libc::sigaction = std::mem::zeroed();
        Errno::result(libc::sigaction(libc::SIGBUS, ptr::null(), &mut earlier))?;
        EARLIER.store(earlier.sa_sigaction, Ordering::Relaxed);
        EARLIER_FLAGS.store(earlier.sa_flags as usize, Ordering::Release);
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = handler as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        Errno::result(libc::sigaction(libc::SIGBUS, &ours, ptr::null_mut()))?;
        Ok(earlier)
    }
}

/// Puts back what was there before, unless the program has a handler of its own by now.
fn restore(earlier: &libc::sigaction) {
    // SAFETY: as above. Neither call can fail for a signal that there is.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, ptr::null(), &mut current);
        if current.sa_sigaction == handler as *const () as usize {
            libc::sigaction(libc::SIGBUS, earlier, ptr::null_mut());
        }
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives the signal's information.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    // Positive ones come from an access, the others from whoever sent the signal.
    if code > 0 && places().any(|place| replace(place, address)) {
        return;
    }
    pass_on(signal, info, context);
}

/// Puts zeroes in the place of a block, if the address lies in it.
fn replace(place: &Place, address: usize) -> bool {
    let (len, start) = (place.len.load(Ordering::Acquire), place.start.load(Ordering::Relaxed));
    if !(start..start + len).contains(&address) {
        return false;
    }
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
    // SAFETY: takes the place of our own mapping, whose bytes may be anything at any time. A mere system call. errno is
    // put back for the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        let result = libc::mmap(start as *mut libc::c_void, len, access, flags, -1, 0);
        *libc::__errno_location() = errno;
        result != libc::MAP_FAILED
    }
}

/// Does what would have been done without this handler.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let flags = EARLIER_FLAGS.load(Ordering::Acquire) as libc::c_int;
    match EARLIER.load(Ordering::Relaxed) {
        libc::SIG_IGN if info_is_sent(info) => {}
        // The access is repeated when the handler returns, and ends the process then. A signal that was sent is sent
        // again.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: zeroes are the default action; `raise` is allowed in handlers.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &default, ptr::null_mut());
                if info_is_sent(info) {
                    libc::raise(signal);
                }
            }
        }
        earlier if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: installed with this signature.
            let earlier: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(earlier) };
            earlier(signal, info, context);
        }
        earlier => {
            // SAFETY: as above.
            let earlier: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(earlier) };
            earlier(signal);
        }
    }
}

fn info_is_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the kernel's.
    unsafe { (*info).si_code <= 0 }
}
