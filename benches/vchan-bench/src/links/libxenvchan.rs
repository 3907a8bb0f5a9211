//! The C interface, of this library or of Xen's: loaded at run time, functions found by name.

use std::ffi::{c_char, c_int, c_void, CString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::ptr::{self, NonNull};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use vchan::transport::Role;

use super::{gone, Link};
use crate::Result;

/// Messages between one reserve and its commit, or one borrow and its consume.
const BATCH: usize = 64;

/// The head of `struct libxenvchan`, common to both libraries.
#[repr(C)]
struct Head {
    handle: *mut c_void,
    ring: *mut c_void,
    event: *mut c_void,
    event_port: u32,
    flags: u32,
}

/// The bit of `blocking` in `flags`.
const BLOCKING: u32 = 1 << 2;

type ServerInit = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, usize, usize) -> *mut Head;
type ClientInit = unsafe extern "C" fn(*mut c_void, c_int, *const c_char) -> *mut Head;
type Transfer<T> = unsafe extern "C" fn(*mut Head, T, usize) -> c_int;
type Simple = unsafe extern "C" fn(*mut Head) -> c_int;
type Lend = unsafe extern "C" fn(*mut Head, *mut libc::iovec, usize, c_int) -> isize;
type Settle = unsafe extern "C" fn(*mut Head, usize) -> c_int;

/// The functions that lend parts of a ring and take them back.
#[derive(Clone, Copy)]
struct InPlace {
    lend: Lend,
    settle: Settle,
}

/// The functions.
struct Api {
    server_init: ServerInit,
    client_init: ClientInit,
    write: Transfer<*const c_void>,
    read: Transfer<*mut c_void>,
    wait: Simple,
    fd_for_select: Simple,
    is_open: Simple,
    close: unsafe extern "C" fn(*mut Head),
    /// Functions of this library only.
    reserve: Option<InPlace>,
    borrow: Option<InPlace>,
    /// Keeps the code loaded; the last field, so that it is dropped last.
    _library: Library,
}

impl Api {
    fn load(path: &Path) -> Result<Api> {
        // SAFETY: loading either library only runs its initialisers, which have no unusual effects.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?;
        // SAFETY: the types are those of libxenvchan.h and vchan-rs.h.
        unsafe {
            Ok(Api {
                server_init: *library.get(b"libxenvchan_server_init\0")?,
                client_init: *library.get(b"libxenvchan_client_init\0")?,
                write: *library.get(b"libxenvchan_write\0")?,
                read: *library.get(b"libxenvchan_read\0")?,
                wait: *library.get(b"libxenvchan_wait\0")?,
                fd_for_select: *library.get(b"libxenvchan_fd_for_select\0")?,
                is_open: *library.get(b"libxenvchan_is_open\0")?,
                close: *library.get(b"libxenvchan_close\0")?,
                reserve: in_place(&library, b"vchan_rs_reserve\0", b"vchan_rs_commit\0"),
                borrow: in_place(&library, b"vchan_rs_borrow\0", b"vchan_rs_consume\0"),
                _library: library,
            })
        }
    }
}

fn in_place(library: &Library, lend: &[u8], settle: &[u8]) -> Option<InPlace> {
    // SAFETY: the types are those of vchan-rs.h.
    unsafe { Some(InPlace { lend: *library.get(lend).ok()?, settle: *library.get(settle).ok()? }) }
}

/// An end.
pub struct CLink {
    api: Api,
    ctrl: NonNull<Head>,
    batches: bool,
}

fn os_error(what: &str) -> crate::Error {
    format!("{what}: {}", io::Error::last_os_error()).into()
}

impl CLink {
    /// Creates a blocking end with the library at `path`.
    pub fn open(path: &Path, role: Role, name: &str, ring: usize, batches: bool) -> Result<CLink> {
        let api = Api::load(path)?;
        let text = CString::new(name)?;
        // SAFETY: no logger, a C string.
        let ctrl = unsafe {
            match role {
                Role::Server => (api.server_init)(ptr::null_mut(), 1, text.as_ptr(), ring, ring),
                Role::Client => (api.client_init)(ptr::null_mut(), 0, text.as_ptr()),
            }
        };
        let ctrl = NonNull::new(ctrl).ok_or_else(|| os_error("libxenvchan_..._init"))?;
        let mut link = CLink { api, ctrl, batches };
        link.set_blocking(true);
        Ok(link)
    }

    /// Waits for the client, on a server. The parent process limits the time.
    pub fn accept(self) -> Result<CLink> {
        let ctrl = self.ctrl.as_ptr();
        // SAFETY: an open channel.
        while unsafe { (self.api.is_open)(ctrl) } == 2 {
            // SAFETY: as above.
            if unsafe { (self.api.wait)(ctrl) } < 0 {
                return Err(os_error("libxenvchan_wait"));
            }
        }
        Ok(self)
    }

    fn set_blocking(&mut self, blocking: bool) {
        // SAFETY: an open channel; programs may write this field.
        let head = unsafe { self.ctrl.as_mut() };
        head.flags = if blocking { head.flags | BLOCKING } else { head.flags & !BLOCKING };
    }

    #[inline]
    fn write_some(&mut self, data: &[u8]) -> Result<usize> {
        // SAFETY: an open channel and as many bytes.
        let count = unsafe { (self.api.write)(self.ctrl.as_ptr(), data.as_ptr().cast(), data.len()) };
        usize::try_from(count).map_err(|_| os_error("libxenvchan_write"))
    }

    #[inline]
    fn read_some(&mut self, into: &mut [u8]) -> Result<usize> {
        // SAFETY: an open channel and as many bytes.
        let count = unsafe { (self.api.read)(self.ctrl.as_ptr(), into.as_mut_ptr().cast(), into.len()) };
        usize::try_from(count).map_err(|_| os_error("libxenvchan_read"))
    }

    /// Lets `each` transfer messages of this size in the ring itself, up to `BATCH` and `most` of them before
    /// they are published; returns how many.
    fn in_place(
        &mut self,
        calls: Option<InPlace>,
        size: usize,
        most: usize,
        each: impl Fn(*mut u8),
    ) -> Result<usize> {
        let InPlace { lend, settle } = calls.ok_or("the library lends out no parts of its rings")?;
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; 2];
        // SAFETY: an open channel, two parts.
        if unsafe { lend(self.ctrl.as_ptr(), parts.as_mut_ptr(), size, -1) } < 0 {
            return Err(os_error("vchan_rs_reserve or vchan_rs_borrow"));
        }
        // All messages have the same size, which divides the ring's, so none wraps around its end.
        let count = (parts[0].iov_len / size).min(most).min(BATCH);
        for n in 0..count {
            // SAFETY: within the part.
            each(unsafe { parts[0].iov_base.cast::<u8>().add(n * size) });
        }
        // SAFETY: an open channel.
        if count == 0 || unsafe { settle(self.ctrl.as_ptr(), count * size) } < 0 {
            return Err(os_error("vchan_rs_commit or vchan_rs_consume"));
        }
        Ok(count)
    }
}

impl Link for CLink {
    #[inline]
    fn write_all(&mut self, data: &[u8]) -> Result<()> {
        match self.write_some(data)? {
            count if count == data.len() => Ok(()),
            _ => Err(gone()),
        }
    }

    fn write_times(&mut self, data: &[u8], count: usize) -> Result<()> {
        let mut left = count;
        while left > 0 {
            left -= if self.batches {
                // SAFETY: a message's space in the ring, owned by this side until the commit.
                let put = |to| unsafe { ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
                self.in_place(self.api.reserve, data.len(), left, put)?
            } else {
                self.write_all(data)?;
                1
            };
        }
        Ok(())
    }

    fn read_times(&mut self, into: &mut [u8], count: usize) -> Result<usize> {
        if !self.batches {
            return self.read_some(into);
        }
        let (to, size) = (into.as_mut_ptr(), into.len());
        // SAFETY: a message in the ring, and a buffer of its size.
        let take = |from: *mut u8| unsafe { ptr::copy_nonoverlapping(from, to, size) };
        Ok(size * self.in_place(self.api.borrow, size, count, take)?)
    }

    #[inline]
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.read_some(into)
    }

    fn set_nonblocking(&mut self) -> Result<()> {
        self.set_blocking(false);
        Ok(())
    }

    fn try_write(&mut self, data: &[u8]) -> Result<usize> {
        self.write_some(data)
    }

    fn try_read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.read_some(into)
    }

    fn wait(&mut self, _to_read: bool, _to_write: bool) -> Result<()> {
        self.acknowledge()
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        // SAFETY: an open channel.
        let fd = unsafe { (self.api.fd_for_select)(self.ctrl.as_ptr()) };
        if fd < 0 {
            return Err(os_error("libxenvchan_fd_for_select"));
        }
        // SAFETY: it belongs to the channel, which lives as long as `self`.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn acknowledge(&mut self) -> Result<()> {
        // SAFETY: an open channel.
        if unsafe { (self.api.wait)(self.ctrl.as_ptr()) } < 0 {
            return Err(os_error("libxenvchan_wait"));
        }
        Ok(())
    }
}

impl Drop for CLink {
    fn drop(&mut self) {
        // SAFETY: an open channel, which is not used any more.
        unsafe { (self.api.close)(self.ctrl.as_ptr()) };
    }
}
