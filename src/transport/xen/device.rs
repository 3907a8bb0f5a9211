//! The three Xen devices of Linux, and their ioctl requests.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use crate::{Error, Result};

/// A device, and the kernel module that provides it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    pub path: &'static str,
    pub module: &'static str,
}

pub(super) const EVTCHN: Device = Device { path: "/dev/xen/evtchn", module: "xen-evtchn" };
pub(super) const GNTALLOC: Device = Device { path: "/dev/xen/gntalloc", module: "xen-gntalloc" };
pub(super) const GNTDEV: Device = Device { path: "/dev/xen/gntdev", module: "xen-gntdev" };

impl Device {
    /// Opens the device, non-blocking for reads. The error includes advice.
    pub(super) fn open(self) -> Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(self.path)
            .map_err(|error| self.explain("open", error))
    }

    /// An error of this device, with advice.
    pub(super) fn explain(self, doing: &str, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        let (path, module) = (self.path, self.module);
        let advice = match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
                format!(" (on Xen, load the module: modprobe {module})")
            }
            Some(libc::EACCES | libc::EPERM) if doing == "open" => {
                " (run as root, or give yourself access to the device)".into()
            }
            Some(libc::ENOSPC) if module == GNTALLOC.module => {
                " (the limit of shared pages is reached: close channels, or raise \
                 /sys/module/xen_gntalloc/parameters/limit)"
                    .into()
            }
            _ => String::new(),
        };
        Error::os(format!("{doing} {path}{advice}"), error)
    }
}

/// The requests' structures and numbers, as in Linux' `include/uapi/xen`. A request number contains the
/// structure's size; if that ends in an array, the size with one element.
pub(super) mod request {
    #[repr(C)]
    #[derive(Debug)]
    pub struct BindInterdomain {
        pub remote_domain: u32,
        pub remote_port: u32,
    }

    #[repr(C)]
    #[derive(Debug)]
    pub struct BindUnboundPort {
        pub remote_domain: u32,
    }

    #[repr(C)]
    #[derive(Debug)]
    pub struct Port {
        pub port: u32,
    }

    /// The head of gntalloc's ALLOC_GREF; the grant references follow it.
    #[repr(C)]
    #[derive(Debug)]
    pub struct AllocGref {
        pub domid: u16,
        pub flags: u16,
        pub count: u32,
        pub index: u64,
    }

    #[repr(C)]
    #[derive(Debug)]
    pub struct DeallocGref {
        pub index: u64,
        pub count: u32,
    }

    /// For both gntalloc and gntdev.
    #[repr(C)]
    #[derive(Debug)]
    pub struct UnmapNotify {
        pub index: u64,
        pub action: u32,
        pub event_channel_port: u32,
    }

    /// The head of gntdev's MAP_GRANT_REF; pairs of domain and reference follow it.
    #[repr(C)]
    #[derive(Debug)]
    pub struct MapGrantRef {
        pub count: u32,
        pub pad: u32,
        pub index: u64,
    }

    /// ALLOC_GREF's flag for pages that the peer can write.
    pub const WRITABLE: u16 = 1;
    /// SET_UNMAP_NOTIFY's actions.
    pub const CLEAR_BYTE: u32 = 1;
    pub const SEND_EVENT: u32 = 2;

    const fn number(group: u8, nr: u8, size: usize) -> libc::c_ulong {
        (size as libc::c_ulong) << 16 | (group as libc::c_ulong) << 8 | nr as libc::c_ulong
    }

    nix::ioctl_readwrite_bad!(evtchn_bind_interdomain, number(b'E', 1, 8), BindInterdomain);
    nix::ioctl_readwrite_bad!(evtchn_bind_unbound_port, number(b'E', 2, 4), BindUnboundPort);
    nix::ioctl_readwrite_bad!(evtchn_notify, number(b'E', 4, 4), Port);
    nix::ioctl_readwrite_bad!(gntalloc_alloc_gref, number(b'G', 5, 24), AllocGref);
    nix::ioctl_readwrite_bad!(gntalloc_dealloc_gref, number(b'G', 6, 16), DeallocGref);
    nix::ioctl_readwrite_bad!(gntalloc_set_unmap_notify, number(b'G', 7, 16), UnmapNotify);
    nix::ioctl_readwrite_bad!(gntdev_map_grant_ref, number(b'G', 0, 24), MapGrantRef);
    nix::ioctl_readwrite_bad!(gntdev_set_unmap_notify, number(b'G', 7, 16), UnmapNotify);

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::mem::size_of;

        /// The numbers were taken from a running system.
        #[test]
        fn numbers_and_sizes_match_the_kernel() {
            assert_eq!(number(b'E', 1, size_of::<BindInterdomain>()), 0x84501);
            assert_eq!(number(b'E', 2, size_of::<BindUnboundPort>()), 0x44502);
            assert_eq!(number(b'E', 4, size_of::<Port>()), 0x44504);
            assert_eq!(number(b'G', 5, size_of::<AllocGref>() + 8), 0x184705);
            assert_eq!(number(b'G', 6, size_of::<DeallocGref>()), 0x104706);
            assert_eq!(number(b'G', 7, size_of::<UnmapNotify>()), 0x104707);
            assert_eq!(number(b'G', 0, size_of::<MapGrantRef>() + 8), 0x184700);
        }
    }
}
