//! `vchan-rs.h`: creating channels with options.

use std::ffi::{c_char, c_int, c_uint, CStr, CString};
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use vchan::ring::OrderTable;
use vchan::transport::{unix::UnixTransport, Transport};
use vchan::unstable::{cancellation, Internals};
use vchan::{Closer, Error, Listener, Result, Vchan};

use crate::cancelled;
use crate::errors::{guarded, report};
use crate::ext_end::vchan_rs_closer;
use crate::ext_io::{timeout, Timeout};
use crate::handle;
use crate::init::{text, Which};
use crate::layout::libxenvchan;
use crate::logger::{xentoollog_logger, Logger};

/// Options of a channel. Set all fields to zero, then size, then the fields that should differ:
///
///     struct vchan_rs_options options = { .size = sizeof(options), .timeout_ms = 5000 };
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct vchan_rs_options {
    /// sizeof(struct vchan_rs_options): later versions can add fields at the end, which are zero for a
    /// program that does not know them.
    pub size: usize,
    /// A libxentoollog logger that receives errors, or NULL.
    pub logger: *mut xentoollog_logger,
    /// "unix", "xen" or "auto"; NULL to use the environment variable VCHAN_TRANSPORT.
    pub transport: *const c_char,
    /// How long to wait for the peer, in milliseconds: 0 to return at once, negative without limit. A client
    /// waits for its server to publish, a server for its client to connect.
    pub timeout_ms: c_int,
    /// How long a waiting call polls the ring before it sleeps, at most, in microseconds: 0 for the default,
    /// negative for no polling. Non-blocking calls poll for less than a microsecond, unless it is negative.
    pub spin_us: c_int,
    /// 0, or a combination of VCHAN_RS_BLOCKING, VCHAN_RS_PERSIST, VCHAN_RS_PORT and VCHAN_RS_OCAML_ORDERS.
    pub flags: c_uint,
    /// Must be 0.
    pub reserved: c_uint,
    /// NULL, or a closer without a channel: it ends the wait for the peer, and all calls on the channel.
    pub closer: *const vchan_rs_closer,
    /// NULL, or the value of XEN_CONFIGURATION from a server's lines: a client on the Unix transport connects
    /// to that server, whatever its path; vchan_rs_path() returns that server's path. EINVAL if another
    /// server waits at the client's path.
    pub configuration: *const c_char,
}

/// For vchan_rs_options.flags: sets blocking.
pub const VCHAN_RS_BLOCKING: c_uint = 1;
/// For vchan_rs_options.flags: sets server_persist.
pub const VCHAN_RS_PERSIST: c_uint = 2;
/// For vchan_rs_options.flags: xs_path is not a path but a port name (letters, digits, '_' and '-'), and both
/// sides use the path /local/domain/<server>/data/vchan/<client>/<port>. The channel's xs_path contains that
/// path.
pub const VCHAN_RS_PORT: c_uint = 4;
/// For vchan_rs_options.flags: a server chooses the ring sizes of ocaml-vchan, not of libxenvchan. They
/// differ up to 2048 bytes.
pub const VCHAN_RS_OCAML_ORDERS: c_uint = 8;

const KNOWN_FLAGS: c_uint = VCHAN_RS_BLOCKING | VCHAN_RS_PERSIST | VCHAN_RS_PORT | VCHAN_RS_OCAML_ORDERS;

const DEFAULTS: vchan_rs_options = vchan_rs_options {
    size: 0,
    logger: ptr::null_mut(),
    transport: ptr::null(),
    timeout_ms: 0,
    spin_us: 0,
    flags: 0,
    reserved: 0,
    closer: ptr::null(),
    configuration: ptr::null(),
};

impl vchan_rs_options {
    /// Copies a program's options, which can be of an older version and then lack the last fields.
    ///
    /// # Safety
    ///
    /// `options` must be NULL or point to as many bytes as its first field says.
    unsafe fn read(options: *const vchan_rs_options) -> Result<vchan_rs_options> {
        let mut copy = DEFAULTS;
        if options.is_null() {
            return Ok(copy);
        }
        // SAFETY: every version has this field.
        let size = unsafe { (*options).size };
        let known = mem::size_of::<vchan_rs_options>();
        if size < mem::offset_of!(vchan_rs_options, timeout_ms) || size > known {
            return Err(Error::Invalid(format!(
                "invalid size {size} in the options, expected sizeof(struct vchan_rs_options), {known} in this version"
            )));
        }
        // SAFETY: `size` bytes are readable by the contract, and the copy has at least as many; all values of
        // all fields are valid.
        unsafe { ptr::copy_nonoverlapping(options.cast::<u8>(), (&raw mut copy).cast::<u8>(), size) };
        if copy.flags & !KNOWN_FLAGS != 0 || copy.reserved != 0 {
            return Err(Error::Invalid("unknown flags in the options".into()));
        }
        Ok(copy)
    }

    fn has(&self, flag: c_uint) -> bool {
        self.flags & flag != 0
    }

    fn spin(&self) -> Option<Duration> {
        match self.spin_us {
            0 => None,
            micros => Some(Duration::from_micros(micros.max(0) as u64)),
        }
    }
}

/// Creates a server's end of a channel, like libxenvchan_server_init(), with options. Blocks for at most
/// timeout_ms.
///
/// @param domain    the client's domain
/// @param xs_path   the configuration path
/// @param read_min  minimum size in bytes of the client-to-server ring
/// @param write_min minimum size in bytes of the server-to-client ring
/// @param options   the options; NULL for the defaults
/// @return the channel, or NULL with errno as from libxenvchan_server_init(), also ETIMEDOUT, EPIPE (a client
///         connected and left at once)
///
/// # Safety
///
/// As for `libxenvchan_server_init`; `options` must be NULL or valid.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_server_init(
    domain: c_int,
    xs_path: *const c_char,
    read_min: usize,
    write_min: usize,
    options: *const vchan_rs_options,
) -> *mut libxenvchan {
    let make = |which: &Which<'_>, options: &vchan_rs_options, closer: &Closer| {
        let name = which.path_text()?;
        let builder = match options.has(VCHAN_RS_PORT) {
            true => Listener::builder(which.peer, name),
            false => Listener::builder_at(which.peer, name),
        };
        let table = if options.has(VCHAN_RS_OCAML_ORDERS) { OrderTable::Ocaml } else { OrderTable::Xen };
        let builder = builder.transport(which.transport.clone()).closer(closer);
        let builder = builder.read_size(read_min).write_size(write_min).order_table(table);
        let server = options.spin().into_iter().fold(builder, |builder, spin| builder.spin(spin)).open()?;
        match timeout(options.timeout_ms) {
            Timeout::Not => Ok(server),
            Timeout::AtMost(limit) => server.channel().wait_for_peer(limit).map(|()| server),
        }
    };
    // SAFETY: the caller's.
    unsafe { init("vchan_rs_server_init", domain, xs_path, options, make) }
}

/// Connects to a server, like libxenvchan_client_init(), with options. Waits for the server for at most
/// timeout_ms.
///
/// @param domain  the server's domain
/// @param xs_path the configuration path
/// @param options the options; NULL for the defaults
/// @return the channel, or NULL with errno as from libxenvchan_client_init(), also ETIMEDOUT
///
/// # Safety
///
/// As for `libxenvchan_client_init`; `options` must be NULL or valid.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_client_init(
    domain: c_int,
    xs_path: *const c_char,
    options: *const vchan_rs_options,
) -> *mut libxenvchan {
    let make = |which: &Which<'_>, options: &vchan_rs_options, closer: &Closer| {
        let name = which.path_text()?;
        let builder = match options.has(VCHAN_RS_PORT) {
            true => Vchan::builder(which.peer, name),
            false => Vchan::builder_at(which.peer, name),
        };
        let builder = builder.transport(which.transport.clone()).closer(closer).looks_for_cancellation();
        let builder = options.spin().into_iter().fold(builder, |builder, spin| builder.spin(spin));
        match timeout(options.timeout_ms) {
            Timeout::Not => builder.connect(),
            Timeout::AtMost(None) => builder.wait_forever().connect(),
            Timeout::AtMost(Some(limit)) => builder.wait(limit).connect(),
        }
    };
    // SAFETY: the caller's.
    unsafe { init("vchan_rs_client_init", domain, xs_path, options, make) }
}

/// # Safety
///
/// As for the two functions above.
unsafe fn init(
    what: &str,
    domain: c_int,
    xs_path: *const c_char,
    options: *const vchan_rs_options,
    make: impl Fn(&Which<'_>, &vchan_rs_options, &Closer) -> Result<Vchan>,
) -> *mut libxenvchan {
    // SAFETY: the caller's.
    let options = unsafe { vchan_rs_options::read(options) };
    let logger = match &options {
        // SAFETY: the caller's.
        Ok(options) => unsafe { Logger::new(options.logger) },
        Err(_) => Logger::NONE,
    };
    let attempt = |options: &vchan_rs_options| {
        let _held = cancellation::hold();
        // SAFETY: the caller's.
        let mut which = unsafe { Which::new(domain, xs_path, options.transport) }?;
        if !options.configuration.is_null() {
            // SAFETY: the caller's.
            let configuration = unsafe { CStr::from_ptr(options.configuration) };
            which.transport = transport_for(&*which.transport, text("the configuration", configuration)?)?;
        }
        // SAFETY: the caller's.
        let closer = unsafe { vchan_rs_closer::get(options.closer) }.unwrap_or_default();
        let vchan = make(&which, options, &closer)?;
        let whole = options.has(VCHAN_RS_PORT).then(|| CString::new(vchan.path()).unwrap_or_default());
        let path = whole.as_deref().unwrap_or(which.path);
        let ctrl = handle::new(vchan.channel().clone(), which.transport, path, logger);
        // SAFETY: just created, and not shared yet.
        unsafe { (*ctrl).set_flags(options.has(VCHAN_RS_BLOCKING), options.has(VCHAN_RS_PERSIST)) };
        Ok(ctrl)
    };
    let result = options.and_then(|options| cancelled::attempts(|| guarded(|| attempt(&options))));
    result.unwrap_or_else(|error| {
        report(what, logger, &error);
        ptr::null_mut()
    })
}

/// The transport for clients of the server that exported the configuration.
fn transport_for(transport: &dyn Transport, configuration: &str) -> Result<Arc<dyn Transport>> {
    if transport.name() != "unix" {
        return Err(Error::Invalid("a configuration requires the Unix transport".into()));
    }
    Ok(Arc::new(UnixTransport::from_env()?.exported(configuration)?))
}

/// Waits until a client has connected, while libxenvchan_is_open() returns 2 (server).
///
/// @param ctrl       the channel
/// @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
/// @return 0, or -1 with errno: ETIMEDOUT, EPIPE (a client connected and left at once), EINTR (the channel
///         remains usable), EIDRM (over Unix sockets: the files by which clients find the server were
///         removed), EPROTO, ESHUTDOWN, EINVAL
///
/// # Safety
///
/// `ctrl` must be NULL or an open channel.
#[no_mangle]
pub unsafe extern "C-unwind" fn vchan_rs_accept(ctrl: *mut libxenvchan, timeout_ms: c_int) -> c_int {
    let limit = match timeout(timeout_ms) {
        Timeout::Not => Some(Duration::ZERO),
        Timeout::AtMost(limit) => limit,
    };
    // SAFETY: the caller's.
    unsafe {
        handle::call(ctrl, handle::Kind::Asking, "vchan_rs_accept", -1, |call| {
            call.channel().wait_for_peer(limit).map(|()| 0)
        })
    }
}
