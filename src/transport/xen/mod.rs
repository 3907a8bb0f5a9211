//! The transport of real Xen: event channels, grants, Xenstore (by the crate `vchan-xenstore`).
//!
//! It needs no Xen libraries, only the kernel's devices `/dev/xen/evtchn`, `/dev/xen/gntalloc` (server) and
//! `/dev/xen/gntdev` (client), and access to xenstored. It is compatible with libxenvchan and ocaml-vchan as
//! peers.

mod device;
mod registry;
// For tests that simulate several domains.
#[doc(hidden)]
pub mod domain_watch;
mod events;
mod uncertain;
// For tests that compare the implementations.
#[doc(hidden)]
pub mod lookup;
mod memory;

use std::fs;

use nix::sys::utsname::uname;
use once_cell::sync::OnceCell;
use vchan_xenstore::{XsClient, XsError};

use super::{Parts, Role, Transport};
use crate::{DomId, Error, Result};

/// The `part` of an [`Error::Transport`] whose source is an error of Xenstore.
pub const XENSTORE: &str = "xenstore";

fn xenstore_error(error: XsError) -> Error {
    Error::transport(XENSTORE, error.errno(), error)
}

/// Channels to other domains of the same machine.
///
/// ```no_run
/// use vchan::{transport::xen::XenTransport, Listener};
/// # fn main() -> vchan::Result<()> {
/// let xen = XenTransport::new();
/// let listener = Listener::builder(3, "files").transport(xen).bind()?;
/// let channel = listener.accept()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct XenTransport {
    own: OnceCell<DomId>,
}

impl XenTransport {
    /// The transport of this domain. Nothing is opened yet.
    pub fn new() -> XenTransport {
        XenTransport::default()
    }
}

impl Transport for XenTransport {
    fn name(&self) -> &'static str {
        "xen"
    }

    fn own_domid(&self) -> Result<DomId> {
        let ask = || {
            // Without Xen, the device's error is shorter.
            let unreachable = |error| device::EVTCHN.open().err().unwrap_or_else(|| xenstore_error(error));
            XsClient::open().map_err(unreachable)?.own_domid().map_err(xenstore_error)
        };
        self.own.get_or_try_init(ask).copied()
    }

    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts> {
        let own = self.own_domid()?;
        if peer == own {
            let release = uname().map_err(|errno| Error::os("uname", errno))?;
            refuse_loop_back(release.release().to_str(), fs::read_to_string(FEATURES).ok().as_deref())?;
        }
        let path =
            if path.starts_with('/') { path.to_owned() } else { format!("/local/domain/{own}/{path}") };
        Ok(Parts {
            memory: Box::new(memory::XenMemory::new(peer)),
            events: Box::new(events::XenEvents { own, peer, role, path: path.clone() }),
            registry: Box::new(registry::XenRegistry { own, peer, path }),
        })
    }
}

/// The features of Xen's interface for this domain: a hexadecimal number.
const FEATURES: &str = "/sys/hypervisor/properties/features";
/// The bit of domains whose physical memory Xen translates: PVH and HVM.
const AUTO_TRANSLATED: u64 = 1 << 2;

/// Kernels before 4.0 kept a table of foreign pages that broke if a domain mapped its own pages: the kernel
/// crashed.
///
/// If Xen translates a domain's memory on x86, a page has only one guest-physical address: when the client maps it,
/// the server loses it and reads all ones from then on; so does the next user of that memory. On ARM, where Xen
/// translates every domain's memory, a grant is mapped at an address of its own.
fn refuse_loop_back(release: Option<&str>, features: Option<&str>) -> Result<()> {
    let major = release.and_then(|release| release.split('.').next()?.parse::<u32>().ok());
    if let Some(..4) = major {
        return Err(Error::Refused(format!(
            "a channel of a domain with itself crashes Linux {}; use Linux 4.0 or newer, or VCHAN_TRANSPORT=unix",
            release.unwrap_or_default()
        )));
    }
    let features = features.and_then(|features| u64::from_str_radix(features.trim(), 16).ok());
    let is_x86 = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
    if is_x86 && features.is_some_and(|features| features & AUTO_TRANSLATED != 0) {
        return Err(Error::Refused(
            "a channel of a PVH or HVM domain with itself would corrupt the server's memory; use \
             VCHAN_TRANSPORT=unix"
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xenstore_errors_keep_text_errno_and_source() {
        use std::error::Error as _;

        let error = vchan_xenstore::XsClient::connect("/nonexistent").unwrap_err();
        let (text, errno) = (error.to_string(), error.errno());
        let error = xenstore_error(error);
        assert_eq!((error.to_string(), error.errno()), (format!("xenstore: {text}"), errno));
        assert!(error.source().unwrap().is::<XsError>());
    }

    #[test]
    fn harmful_loop_back_is_refused() {
        assert_eq!(refuse_loop_back(Some("3.18.1-qubes"), None).unwrap_err().errno(), libc::EACCES);
        for fine in [Some("6.1.0-40-amd64"), Some("4.0"), Some("odd"), None] {
            refuse_loop_back(fine, Some("00002701\n")).unwrap();
            refuse_loop_back(fine, None).unwrap();
            let translated = refuse_loop_back(fine, Some("00002705\n"));
            if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
                assert_eq!(translated.unwrap_err().errno(), libc::EACCES);
            } else {
                translated.unwrap();
            }
        }
    }
}
