//! This library on the shim that runs Xen's own library without Xen (`tests-c/shim`), so that the two can be
//! compared.
//!
//! The shim is preloaded into this process, too, and replaces libxengnttab, libxenevtchn and libxenstore.
//! Limits: one thread per channel, and a killed peer is not detected.

use std::ffi::{c_char, c_int, c_uint, c_void, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libloading::os::unix::Library;
use nix::errno::Errno;
use vchan::transport::{
    CrashNotice, EventChannel, EventSet, Events, Mapping, Memory, Parts, Publication, Readiness, Received,
    Registry, Rendezvous, Role, Tokens, Transport, Watch,
};
use vchan::{DomId, Error, Result};

type Handle = *mut c_void;

/// The shim's functions, by the names of Xen's libraries.
#[derive(Clone, Copy)]
struct Shim {
    gntshr_open: unsafe extern "C" fn(Handle, c_uint) -> Handle,
    gntshr_close: unsafe extern "C" fn(Handle) -> c_int,
    gntshr_share_pages: unsafe extern "C" fn(Handle, u32, c_int, *mut u32, c_int) -> *mut c_void,
    gnttab_open: unsafe extern "C" fn(Handle, c_uint) -> Handle,
    gnttab_close: unsafe extern "C" fn(Handle) -> c_int,
    gnttab_map: unsafe extern "C" fn(Handle, u32, u32, *mut u32, c_int) -> *mut c_void,
    evtchn_open: unsafe extern "C" fn(Handle, c_uint) -> Handle,
    evtchn_close: unsafe extern "C" fn(Handle) -> c_int,
    evtchn_fd: unsafe extern "C" fn(Handle) -> c_int,
    evtchn_bind_unbound_port: unsafe extern "C" fn(Handle, u32) -> c_int,
    evtchn_bind_interdomain: unsafe extern "C" fn(Handle, u32, u32) -> c_int,
    evtchn_notify: unsafe extern "C" fn(Handle, u32) -> c_int,
    evtchn_unmask: unsafe extern "C" fn(Handle, u32) -> c_int,
    xs_open: unsafe extern "C" fn(libc::c_ulong) -> Handle,
    xs_close: unsafe extern "C" fn(Handle),
    xs_write: unsafe extern "C" fn(Handle, u32, *const c_char, *const c_void, c_uint) -> bool,
    xs_read: unsafe extern "C" fn(Handle, u32, *const c_char, *mut c_uint) -> *mut c_void,
    xs_rm: unsafe extern "C" fn(Handle, u32, *const c_char) -> bool,
}

impl Shim {
    fn load() -> std::result::Result<Shim, libloading::Error> {
        let all = Library::this();
        // SAFETY: the types are those of Xen's headers, whose functions the shim implements; it stays loaded.
        unsafe {
            Ok(Shim {
                gntshr_open: *all.get(b"xengntshr_open\0")?,
                gntshr_close: *all.get(b"xengntshr_close\0")?,
                gntshr_share_pages: *all.get(b"xengntshr_share_pages\0")?,
                gnttab_open: *all.get(b"xengnttab_open\0")?,
                gnttab_close: *all.get(b"xengnttab_close\0")?,
                gnttab_map: *all.get(b"xengnttab_map_domain_grant_refs\0")?,
                evtchn_open: *all.get(b"xenevtchn_open\0")?,
                evtchn_close: *all.get(b"xenevtchn_close\0")?,
                evtchn_fd: *all.get(b"xenevtchn_fd\0")?,
                evtchn_bind_unbound_port: *all.get(b"xenevtchn_bind_unbound_port\0")?,
                evtchn_bind_interdomain: *all.get(b"xenevtchn_bind_interdomain\0")?,
                evtchn_notify: *all.get(b"xenevtchn_notify\0")?,
                evtchn_unmask: *all.get(b"xenevtchn_unmask\0")?,
                xs_open: *all.get(b"xs_open\0")?,
                xs_close: *all.get(b"xs_close\0")?,
                xs_write: *all.get(b"xs_write\0")?,
                xs_read: *all.get(b"xs_read\0")?,
                xs_rm: *all.get(b"xs_rm\0")?,
            })
        }
    }
}

fn failed(doing: &'static str) -> Error {
    Error::os(doing, io::Error::last_os_error())
}

/// A handle of the shim, closed when dropped.
struct Open {
    shim: Shim,
    handle: Handle,
    close: unsafe extern "C" fn(Handle) -> c_int,
}

// SAFETY: the shim's handles are used by one thread at a time here, see the head of this file.
unsafe impl Send for Open {}
// SAFETY: as above.
unsafe impl Sync for Open {}

impl Open {
    fn new(
        shim: Shim,
        open: unsafe extern "C" fn(Handle, c_uint) -> Handle,
        close: unsafe extern "C" fn(Handle) -> c_int,
    ) -> Result<Open> {
        // SAFETY: no logger, no flags.
        let handle = unsafe { open(ptr::null_mut(), 0) };
        if handle.is_null() {
            return Err(failed("open a handle of the shim"));
        }
        Ok(Open { shim, handle, close })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: opened in `new`. A failure has no effect.
        unsafe { (self.close)(self.handle) };
    }
}

/// The transport.
pub struct ShimTransport {
    shim: Shim,
}

impl ShimTransport {
    /// Fails if the shim is not preloaded.
    pub fn new() -> crate::Result<ShimTransport> {
        Ok(ShimTransport { shim: Shim::load()? })
    }
}

impl Transport for ShimTransport {
    fn name(&self) -> &'static str {
        "shim"
    }

    fn own_domid(&self) -> Result<DomId> {
        Ok(std::env::var("XENSHIM_DOMID").ok().and_then(|id| id.parse().ok()).unwrap_or(0))
    }

    fn open(&self, _role: Role, peer: DomId, path: &str) -> Result<Parts> {
        let (shim, peer) = (self.shim, peer.into());
        Ok(Parts {
            memory: Box::new(ShimMemory { shim, peer }),
            events: Box::new(ShimEvents { shim, peer }),
            registry: Box::new(ShimRegistry { shim, path: path.into() }),
        })
    }
}

struct ShimMemory {
    shim: Shim,
    peer: u32,
}

/// The handle of the mapping; the pages are unmapped at the end of the process.
struct ShimMapping {
    _handle: Open,
    base: NonNull<u8>,
    grants: Vec<u32>,
}

// SAFETY: shared memory, used by raw pointers only.
unsafe impl Send for ShimMapping {}
// SAFETY: as above.
unsafe impl Sync for ShimMapping {}

// SAFETY: the shim maps this many pages, readable and writable, and closing the handle does not unmap them.
unsafe impl Mapping for ShimMapping {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn pages(&self) -> usize {
        self.grants.len()
    }

    fn grants(&self) -> &[u32] {
        &self.grants
    }
}

impl Memory for ShimMemory {
    fn share(&self, pages: usize, _crash: Option<CrashNotice>) -> Result<Box<dyn Mapping>> {
        let handle = Open::new(self.shim, self.shim.gntshr_open, self.shim.gntshr_close)?;
        let mut grants = vec![0; pages];
        // SAFETY: room for as many references as pages.
        let base = unsafe {
            (self.shim.gntshr_share_pages)(handle.handle, self.peer, pages as c_int, grants.as_mut_ptr(), 1)
        };
        let base = NonNull::new(base.cast()).ok_or_else(|| failed("share pages"))?;
        Ok(Box::new(ShimMapping { _handle: handle, base, grants }))
    }

    fn map(&self, grants: &[u32]) -> Result<Box<dyn Mapping>> {
        let handle = Open::new(self.shim, self.shim.gnttab_open, self.shim.gnttab_close)?;
        let mut grants = grants.to_vec();
        let (count, prot) = (grants.len() as u32, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the array has the given number of references.
        let base =
            unsafe { (self.shim.gnttab_map)(handle.handle, count, self.peer, grants.as_mut_ptr(), prot) };
        let base = NonNull::new(base.cast()).ok_or_else(|| failed("map pages"))?;
        Ok(Box::new(ShimMapping { _handle: handle, base, grants }))
    }
}

struct ShimEvents {
    shim: Shim,
    peer: u32,
}

struct ShimChannel {
    handle: Open,
    port: u32,
}

impl ShimEvents {
    fn bind(&self, bind: impl FnOnce(Handle) -> c_int) -> Result<Box<dyn EventChannel>> {
        let handle = Open::new(self.shim, self.shim.evtchn_open, self.shim.evtchn_close)?;
        let port = u32::try_from(bind(handle.handle)).map_err(|_| failed("bind an event channel"))?;
        Ok(Box::new(ShimChannel { handle, port }))
    }
}

impl Events for ShimEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        // SAFETY: an open handle.
        self.bind(|handle| unsafe { (self.shim.evtchn_bind_unbound_port)(handle, self.peer) })
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        let remote = remote.parse().map_err(|_| Error::Invalid(format!("{remote:?} is no port")))?;
        // SAFETY: an open handle.
        self.bind(|handle| unsafe { (self.shim.evtchn_bind_interdomain)(handle, self.peer, remote) })
    }
}

impl ShimChannel {
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: an open handle.
        let fd: RawFd = unsafe { (self.handle.shim.evtchn_fd)(self.handle.handle) };
        // SAFETY: it belongs to the handle, which lives as long as `self`.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl EventChannel for ShimChannel {
    fn name(&self) -> String {
        self.port.to_string()
    }

    fn local_port(&self) -> u32 {
        self.port
    }

    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        (self.fd(), Readiness::WRITABLE)
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        set.add(self.fd(), Readiness::READABLE, tokens.readable)
            .map_err(|error| Error::os("watch the event channel", error))
    }

    fn notify(&self) -> Result<()> {
        // SAFETY: an open handle.
        match unsafe { (self.handle.shim.evtchn_notify)(self.handle.handle, self.port) } {
            0 => Ok(()),
            _ => Err(failed("send an event")),
        }
    }

    fn receive(&self) -> Result<Received> {
        let mut count = 0u64;
        let into = [libc::iovec { iov_base: (&raw mut count).cast(), iov_len: size_of::<u64>() }];
        // The shim's eventfd is blocking; on Xen this is a non-blocking read.
        // SAFETY: an open descriptor, and a buffer of that size.
        let ready =
            unsafe { libc::preadv2(self.fd().as_raw_fd(), into.as_ptr(), 1, -1, libc::RWF_NOWAIT) } > 0;
        if !ready && Errno::last() != Errno::EAGAIN {
            return Err(failed("receive an event"));
        }
        // SAFETY: an open handle.
        if ready && unsafe { (self.handle.shim.evtchn_unmask)(self.handle.handle, self.port) } != 0 {
            return Err(failed("unmask an event channel"));
        }
        Ok(Received { event: ready, ended: false })
    }

    fn ended(&self) -> bool {
        false
    }

    fn rearm(&self) -> Result<bool> {
        Ok(true)
    }
}

struct ShimRegistry {
    shim: Shim,
    path: String,
}

/// A connection to the store, for one operation.
fn with_store<T>(shim: Shim, body: impl FnOnce(Handle) -> T) -> T {
    // SAFETY: no flags.
    let store = unsafe { (shim.xs_open)(0) };
    let result = body(store);
    // SAFETY: opened above, or NULL, which does nothing.
    unsafe { (shim.xs_close)(store) };
    result
}

fn node(path: &str, name: &str) -> Result<CString> {
    CString::new(format!("{path}/{name}")).map_err(|_| Error::Invalid("a NUL in a path".into()))
}

impl ShimRegistry {
    fn read(&self, name: &str) -> Result<String> {
        let path = node(&self.path, name)?;
        let mut len = 0;
        // SAFETY: an open store, a C string; the result is ours to free and has `len` bytes.
        let value = with_store(self.shim, |store| unsafe {
            let value = (self.shim.xs_read)(store, 0, path.as_ptr(), &mut len);
            let text = (!value.is_null())
                .then(|| std::slice::from_raw_parts(value.cast::<u8>(), len as usize).to_vec());
            libc::free(value);
            text
        });
        let missing = || Error::NoServer { path: self.path.clone(), why: format!("{name} is missing") };
        value.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(missing)
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let path = node(&self.path, name)?;
        // SAFETY: an open store, a C string, as many bytes.
        let done = with_store(self.shim, |store| unsafe {
            (self.shim.xs_write)(store, 0, path.as_ptr(), value.as_ptr().cast(), value.len() as c_uint)
        });
        if done {
            Ok(())
        } else {
            Err(failed("write to the store"))
        }
    }
}

impl Registry for ShimRegistry {
    fn path(&self) -> &str {
        &self.path
    }

    fn publish(&self, rendezvous: &Rendezvous) -> Result<Box<dyn Publication>> {
        // Clients look up ring-ref first.
        self.write("event-channel", &rendezvous.event_channel)?;
        self.write("ring-ref", &rendezvous.ring_ref.to_string())?;
        Ok(Box::new(Published { shim: self.shim, path: self.path.clone() }))
    }

    fn look_up(&self) -> Result<Rendezvous> {
        let ring_ref = self.read("ring-ref")?;
        let ring_ref = ring_ref.parse().map_err(|_| Error::Invalid(format!("{ring_ref:?} is no grant")))?;
        Ok(Rendezvous { ring_ref, event_channel: self.read("event-channel")? })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Err(Error::Invalid("clients cannot wait on the shim's machine".into()))
    }
}

struct Published {
    shim: Shim,
    path: String,
}

impl Publication for Published {}

impl Drop for Published {
    fn drop(&mut self) {
        if let Ok(path) = CString::new(self.path.as_str()) {
            // SAFETY: an open store, a C string. The shim's machine is discarded anyway.
            with_store(self.shim, |store| unsafe { (self.shim.xs_rm)(store, 0, path.as_ptr()) });
        }
    }
}
