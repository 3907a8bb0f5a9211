//! Creating channels: `libxenvchan_server_init` and `libxenvchan_client_init`.

use std::ffi::{c_char, c_int, CStr};
use std::ptr;
use std::sync::Arc;

use vchan::ring::OrderTable;
use vchan::transport::{self, Transport};
use vchan::unstable::Internals;
use vchan::{DomId, Error, Listener, Result, Vchan};

use crate::errors::{answer, null};
use crate::handle;
use crate::layout::libxenvchan;
use crate::logger::{xentoollog_logger, Logger};

/// The first of the domain IDs that Xen reserves.
const FIRST_RESERVED: c_int = 0x7FF0;

/// Identifies a channel: the arguments common to all init functions.
pub(crate) struct Which<'a> {
    pub(crate) peer: DomId,
    pub(crate) path: &'a CStr,
    pub(crate) transport: Arc<dyn Transport>,
}

impl<'a> Which<'a> {
    /// # Safety
    ///
    /// `path` and `transport` must be NULL or NUL-terminated strings that live as long as `'a`.
    pub(crate) unsafe fn new(
        domain: c_int,
        path: *const c_char,
        transport: *const c_char,
    ) -> Result<Which<'a>> {
        let peer = DomId::try_from(domain).ok().filter(|_| domain < FIRST_RESERVED);
        let peer = peer.ok_or_else(|| {
            Error::Invalid(format!("invalid domain ID {domain}, expected 0 to {}", FIRST_RESERVED - 1))
        })?;
        if path.is_null() {
            return Err(null("the path"));
        }
        // SAFETY: the caller's.
        let (path, transport) =
            unsafe { (CStr::from_ptr(path), (!transport.is_null()).then(|| CStr::from_ptr(transport))) };
        let transport = match transport {
            None => transport::from_env()?,
            Some(name) => transport::by_name(text("the transport's name", name)?)?,
        };
        Ok(Which { peer, path, transport: Arc::from(transport) })
    }

    pub(crate) fn path_text(&self) -> Result<&'a str> {
        text("the path", self.path)
    }
}

pub(crate) fn text<'a>(what: &str, from: &'a CStr) -> Result<&'a str> {
    from.to_str().map_err(|_| Error::Invalid(format!("{what} is not valid UTF-8")))
}

/// Creates a server's end of a channel: allocates the rings and publishes them under a path.
///
/// Does not wait for the client. Until it connects, the channel can be written to, and libxenvchan_is_open()
/// returns 2.
///
/// @param logger    a libxentoollog logger that receives errors, or NULL. Must outlive the channel
/// @param domain    the client's domain, 0 to 32751
/// @param xs_path   the configuration path, of any length; if it does not begin with /, it is relative to
///                  /local/domain/<own id>/
/// @param read_min  minimum size in bytes of the client-to-server ring, at most 1048576
/// @param write_min minimum size in bytes of the server-to-client ring, at most 1048576
/// @return the channel, to be closed with libxenvchan_close(), or NULL with errno: EINVAL (invalid argument),
///         EADDRINUSE (another living server waits for its client under this path), EFBIG (RLIMIT_FSIZE),
///         EACCES, ENOSPC (no more grants), EMFILE and others from the system. Everything is cleaned up then
///
/// # Safety
///
/// `logger` must be NULL or valid until the channel is closed, `xs_path` NULL or a NUL-terminated string.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_server_init(
    logger: *mut xentoollog_logger,
    domain: c_int,
    xs_path: *const c_char,
    read_min: usize,
    write_min: usize,
) -> *mut libxenvchan {
    // SAFETY: the caller's.
    let logger = unsafe { Logger::new(logger) };
    answer("libxenvchan_server_init", logger, ptr::null_mut(), || {
        // SAFETY: the caller's.
        let which = unsafe { Which::new(domain, xs_path, ptr::null()) }?;
        let server = Listener::builder_at(which.peer, which.path_text()?)
            .transport(which.transport.clone())
            .read_size(read_min)
            .write_size(write_min)
            .order_table(OrderTable::Xen)
            .without_half_close()
            .open()?;
        Ok(handle::new(server.channel().clone(), which.transport, which.path, logger))
    })
}

/// Connects to the channel that a server has published under a path.
///
/// Fails at once if no server has published yet; vchan_rs_client_init() can wait for it.
///
/// @param logger  as for libxenvchan_server_init()
/// @param domain  the server's domain, 0 to 32751
/// @param xs_path the configuration path, of any length
/// @return the channel, to be closed with libxenvchan_close(), or NULL with errno: ENOENT (no server), EBUSY
///         (the server has a client already), EPROTO (its shared page is invalid), EINVAL, EACCES and others
///         from the system
///
/// # Safety
///
/// As for `libxenvchan_server_init`.
#[no_mangle]
pub unsafe extern "C-unwind" fn libxenvchan_client_init(
    logger: *mut xentoollog_logger,
    domain: c_int,
    xs_path: *const c_char,
) -> *mut libxenvchan {
    // SAFETY: the caller's.
    let logger = unsafe { Logger::new(logger) };
    answer("libxenvchan_client_init", logger, ptr::null_mut(), || {
        // SAFETY: the caller's.
        let which = unsafe { Which::new(domain, xs_path, ptr::null()) }?;
        let client = Vchan::builder_at(which.peer, which.path_text()?)
            .transport(which.transport.clone())
            .without_half_close()
            .connect()?;
        Ok(handle::new(client.channel().clone(), which.transport, which.path, logger))
    })
}
