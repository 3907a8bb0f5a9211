//! Protection against memory files that the peer truncates.
//!
//! A peer that can write a file can truncate it, and an access beyond the end raises SIGBUS, which ends the
//! process. So from the first mapping on, a handler replaces the block by zeroes, as a peer could have
//! written them, and the access continues. To the ring that is a peer that has left, or impossible values.
//! Every other SIGBUS is forwarded to the previous action.
//!
//! The handler is installed once and stays. A handler that the program, or another copy of this library,
//! installs later may call this one for faults it does not handle: if this one were then installed again on
//! top, the two would call each other for ever. So it is installed again only if the signal has been reset to
//! its default action, or is ignored. The library stays loaded from then on, because others can have stored
//! the handler's address.
//!
//! A thread with SIGBUS blocked is not protected: the kernel ends the process without calling any handler.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

/// A mapped block. The handler walks the list of regions, so none is ever freed; unused ones are reused.
struct Region {
    /// Odd while the block is valid. It changes with every change of the other two, so a reader that finds it
    /// the same before and after has read a consistent pair.
    version: AtomicUsize,
    start: AtomicUsize,
    len: AtomicUsize,
    next: AtomicPtr<Region>,
}

static REGIONS: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());

/// Whether the handler was installed. Held while regions are taken and released.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Whether the library was pinned.
static PINNED: AtomicBool = AtomicBool::new(false);

/// The previous action of SIGBUS. Replaced as a whole and never freed.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Protects a block until this is dropped, which must be before the block is unmapped.
pub(super) struct Guard(&'static Region);

impl Guard {
    /// Protects `len` bytes from `start`, which are a mapping of their own.
    pub(super) fn new(start: usize, len: usize) -> io::Result<Guard> {
        // Without our lock: a thread that loads a library holds the loader's lock, which this takes, and can
        // wait for ours.
        if !PINNED.swap(true, Ordering::Relaxed) {
            pin_library();
        }
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        install(&mut installed)?;
        let region = regions().find(|region| !region.is_used()).unwrap_or_else(add);
        region.describe(start, len);
        Ok(Guard(region))
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

    /// Called with the lock held, for an unused region.
    fn describe(&self, start: usize, len: usize) {
        self.start.store(start, Ordering::SeqCst);
        self.len.store(len, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The start and length of the block, if there is one.
    fn block(&self) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::SeqCst);
        let block = (self.start.load(Ordering::SeqCst), self.len.load(Ordering::SeqCst));
        (version % 2 == 1 && self.version.load(Ordering::SeqCst) == version).then_some(block)
    }
}

fn regions() -> impl Iterator<Item = &'static Region> {
    // SAFETY: null, or a region that was leaked.
    let at = |region: &AtomicPtr<Region>| unsafe { region.load(Ordering::Acquire).as_ref() };
    std::iter::successors(at(&REGIONS), move |region| at(&region.next))
}

/// Called with the lock held.
fn add() -> &'static Region {
    let [version, start, len] = [0; 3].map(AtomicUsize::new);
    let next = AtomicPtr::new(REGIONS.load(Ordering::Relaxed));
    let region = Box::leak(Box::new(Region { version, start, len, next }));
    REGIONS.store(region, Ordering::Release);
    region
}

/// Prevents the library that contains the handler from being unloaded. The program itself is not found, and
/// does not need it.
fn pin_library() {
    // SAFETY: zeroes are a valid `Dl_info`, which the first call fills in; the name is the loader's own.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(handler as *const libc::c_void, &mut found) != 0 && !found.dli_fname.is_null() {
            libc::dlopen(found.dli_fname, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

/// Returns the action of SIGBUS, and replaces it if there is a `new` one.
fn exchange(new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: zeroes are a valid `sigaction`; the call gets a valid one or null, and a place for the old one.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        Errno::result(libc::sigaction(libc::SIGBUS, new.map_or(ptr::null(), ptr::from_ref), &mut old))?;
        Ok(old)
    }
}

/// Installs the handler if it was not installed, or was removed without another handler that could call it.
fn install(installed: &mut bool) -> io::Result<()> {
    let has_no_handler =
        |action: &libc::sigaction| [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
    let current = exchange(None)?;
    if *installed && !has_no_handler(&current) {
        return Ok(());
    }
    let keep = |previous| PREVIOUS.store(Box::into_raw(Box::new(previous)), Ordering::SeqCst);
    keep(current);
    // SAFETY: zeroes are a valid `sigaction`.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = handler as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    let replaced = exchange(Some(&ours))?;
    *installed = true;
    if replaced.sa_sigaction != current.sa_sigaction {
        // Another thread has installed a handler in between.
        keep(replaced);
    }
    Ok(())
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the signal's information.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    // Positive codes come from an access, the others from a process that sent the signal.
    if code > 0 && regions().any(|region| replace(region, address)) {
        return;
    }
    forward(signal, info, context);
}

/// Replaces a block by zeroes, if the address is in it. Then this thread is accessing the block, and it stays
/// mapped meanwhile.
fn replace(region: &Region, address: usize) -> bool {
    let Some((start, len)) = region.block() else { return false };
    if !(start..start + len).contains(&address) {
        return false;
    }
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
    // SAFETY: replaces our own mapping, whose bytes can change at any time. Only a system call. errno is
    // restored for the interrupted code.
    unsafe {
        let errno = *libc::__errno_location();
        let result = libc::mmap(start as *mut libc::c_void, len, access, flags, -1, 0);
        *libc::__errno_location() = errno;
        result != libc::MAP_FAILED
    }
}

/// Does what would have happened without this handler.
fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: null, or leaked.
    let previous = unsafe { PREVIOUS.load(Ordering::SeqCst).as_ref() };
    let (action, flags) =
        previous.map_or((libc::SIG_DFL, 0), |previous| (previous.sa_sigaction, previous.sa_flags));
    match action {
        libc::SIG_IGN if info_is_sent(info) => {}
        // The access is repeated when the handler returns, and then ends the process. A signal that was sent
        // is sent again.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: zeroes are the default action; `raise` is async-signal-safe.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &default, ptr::null_mut());
                if info_is_sent(info) {
                    libc::raise(signal);
                }
            }
        }
        previous if flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: installed with this signature.
            let previous: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(previous) };
            previous(signal, info, context);
        }
        previous => {
            // SAFETY: as above.
            let previous: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(previous) };
            previous(signal);
        }
    }
}

fn info_is_sent(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the kernel's.
    unsafe { (*info).si_code <= 0 }
}
