//! Memory files that the peer makes shorter.
//!
//! Whoever may write a file may cut it off, and an access to what is cut off raises SIGBUS, which ends the process. So
//! from the first mapping on, this handles the signal: it puts zeroes in the place of the block, as a peer could have
//! written them, and the access goes on. For the ring that is a peer that has left, or impossible values. Every other
//! SIGBUS goes where it went before.
//!
//! The handler is installed once and stays. One that the program, or another copy of this library, installs later may call this
//! one for what it doesn't know: if this one were then put over it, the two would call each other for ever. So it is
//! installed again only where the signal was set to its default action, or to be ignored, since. The library that it is in
//! stays loaded from then on, as others may have kept its address.
//!
//! A thread that has SIGBUS blocked can't be helped: the kernel ends the process then, without calling any handler.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

/// A block that is mapped. The handler walks their list, so none is ever freed; those that are unused are used again.
struct Region {
    /// Odd while the block is described. It changes with every change of the other two, so that a reader who finds it the same
    /// before and after has read what belongs together.
    version: AtomicUsize,
    start: AtomicUsize,
    len: AtomicUsize,
    next: AtomicPtr<Region>,
}

static PLACES: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

/// Whether the handler has been installed. Held while places are taken and given back.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Whether the library has been kept from being unloaded.
static STAYS: AtomicBool = AtomicBool::new(false);

/// What SIGBUS did before, for the handler. Replaced as a whole and never freed.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Guards a block until it is dropped, which must be before the block is unmapped.
pub(super) struct Guard(&'static Region);

impl Guard {
    /// Guards `len` bytes from `start`, which are a mapping of their own.
    pub(super) fn new(start: usize, len: usize) -> io::Result<Guard> {
        // Without a lock: a thread that loads a library, whose lock this takes, may wait for ours.
        if !STAYS.swap(true, Ordering::Relaxed) {
            stay_loaded();
        }
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        install(&mut installed)?;
        let place = places().find(|place| !place.is_used()).unwrap_or_else(add);
        place.describe(start, len);
        Ok(Guard(place))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }
}

impl Region {
    fn is_used(&self) -> bool {
        self.version.load(Ordering::SeqCst) % 2 == 1
    }

    /// Called with the lock held, for one that is unused.
    fn describe(&self, start: usize, len: usize) {
        self.start.store(start, Ordering::SeqCst);
        self.len.store(len, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The block, if there is one here: its start and length.
    fn block(&self) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::SeqCst);
        let block = (self.start.load(Ordering::SeqCst), self.len.load(Ordering::SeqCst));
        (version % 2 == 1 && self.version.load(Ordering::SeqCst) == version).then_some(block)
    }
}

fn places() -> impl Iterator<Item = &'static Region> {
    // SAFETY: null, or a place that was leaked.
    let at = |place: &AtomicPtr<Region>| unsafe { place.load(Ordering::Acquire).as_ref() };
    std::iter::successors(at(&PLACES), move |place| at(&place.next))
}

/// Called with the lock held.
fn add() -> &'static Region {
    let [version, start, len] = [0; 3].map(AtomicUsize::new);
    let next = AtomicPtr::new(PLACES.load(Ordering::Relaxed));
    let place = Box::leak(Box::new(Region { version, start, len, next }));
    PLACES.store(place, Ordering::Release);
    place
}

/// Keeps the library that the handler is in from being unloaded. A program itself isn't found, and doesn't need it.
fn stay_loaded() {
    // SAFETY: zeroes are a valid `Dl_info`, which the first call fills in; the name is one that the loader has.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(handler as *const libc::c_void, &mut found) != 0 && !found.dli_fname.is_null() {
            libc::dlopen(found.dli_fname, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

/// Asks what SIGBUS does, and changes it where there is something `new`.
fn exchange(new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: zeroes are a valid `sigaction`; the call gets a valid one or null, and a place for another.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        Errno::result(libc::sigaction(libc::SIGBUS, new.map_or(ptr::null(), ptr::from_ref), &mut old))?;
        Ok(old)
    }
}

/// Installs the handler where that has not been done, or was undone without another one that may call it.
fn install(installed: &mut bool) -> io::Result<()> {
    let calls_nobody =
        |action: &libc::sigaction| [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
    let current = exchange(None)?;
    if *installed && !calls_nobody(&current) {
        return Ok(());
    }
    let keep = |earlier| PREVIOUS.store(Box::into_raw(Box::new(earlier)), Ordering::SeqCst);
    keep(current);
    // SAFETY: zeroes are a valid `sigaction`.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = handler as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    let replaced = exchange(Some(&ours))?;
    *installed = true;
    if replaced.sa_sigaction != current.sa_sigaction {
        // Another thread's, which was quicker.
        keep(replaced);
    }
    Ok(())
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

/// Puts zeroes in the place of a block, if the address lies in it. Then it is the block that this thread reads or writes, and
/// stays mapped meanwhile.
fn replace(place: &Region, address: usize) -> bool {
    let Some((start, len)) = place.block() else { return false };
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
    // SAFETY: null, or leaked.
    let earlier = unsafe { PREVIOUS.load(Ordering::SeqCst).as_ref() };
    let (action, flags) =
        earlier.map_or((libc::SIG_DFL, 0), |earlier| (earlier.sa_sigaction, earlier.sa_flags));
    match action {
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
