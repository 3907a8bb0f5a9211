//! The transport of real Xen: event channels, grants, xenstore.
//!
//! It needs no library of Xen's, only the kernel's devices `/dev/xen/evtchn`, `/dev/xen/gntalloc` (server) and
//! `/dev/xen/gntdev` (client), and a way to xenstored. It is compatible with libxenvchan and ocaml-vchan as peers.

mod config;
mod device;
mod domain_watch;
mod events;
mod memory;
pub mod xenstore;

use nix::sys::utsname::uname;
use once_cell::sync::OnceCell;

use self::xenstore::XsClient;
use super::{Parts, Role, Transport};
use crate::{DomId, Error, Result};

/// Channels to other domains of the same machine.
///
/// ```no_run
/// use vchan::{transport::xen::XenTransport, Vchan};
/// # fn main() -> vchan::Result<()> {
/// let xen = XenTransport::new();
/// let channel = Vchan::server(3, "files").transport(&xen).listen()?.accept(None)?;
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
            // Where there is no Xen at all, the device says so in fewer words.
            let unreachable = |error| device::EVTCHN.open().err().unwrap_or(Error::Xenstore(error));
            XsClient::open().map_err(unreachable)?.own_domid().map_err(Error::Xenstore)
        };
        self.own.get_or_try_init(ask).copied()
    }

    fn open(&self, role: Role, peer: DomId, path: &str) -> Result<Parts> {
        let own = self.own_domid()?;
        if peer == own {
            refuse_loop_back(uname().map_err(|errno| Error::os("uname", errno))?.release().to_str())?;
        }
        let path =
            if path.starts_with('/') { path.to_owned() } else { format!("/local/domain/{own}/{path}") };
        Ok(Parts {
            memory: Box::new(memory::XenMemory { peer }),
            events: Box::new(events::XenEvents { own, peer, role, path: path.clone() }),
            config: Box::new(config::XenConfig { own, peer, path }),
        })
    }
}

/// Kernels before 4.0 kept a table of foreign pages that a domain's own pages upset: mapping them crashed it.
fn refuse_loop_back(release: Option<&str>) -> Result<()> {
    let major = release.and_then(|release| release.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(..4) => Err(Error::Refused(format!(
            "a channel of a domain with itself crashes Linux {}; use Linux 4.0 or newer, or VCHAN_TRANSPORT=unix",
            release.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_back_is_refused_on_old_kernels_only() {
        assert_eq!(refuse_loop_back(Some("3.18.1-qubes")).unwrap_err().errno(), libc::EACCES);
        for fine in [Some("6.1.0-40-amd64"), Some("4.0"), Some("odd"), None] {
            refuse_loop_back(fine).unwrap();
        }
    }
}
