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
            Some(libc::EPERM) => {
                " (Xen can forbid channels between guests: XSM in SILO mode, the default of some \
                 distributions on ARM; boot Xen with xsm=dummy to allow them)"
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

    /// The size in a request's number. It depends on the alignment of u64: DEALLOC_GREF has 12 bytes on i386.
    const fn sized<T>(group: u8, nr: u8) -> libc::c_ulong {
        number(group, nr, size_of::<T>())
    }

    /// As [`sized`], with one element of the array at the end: a u32, or a domain and a reference.
    const fn with_element<T, Element>(group: u8, nr: u8) -> libc::c_ulong {
        let size = size_of::<T>() + size_of::<Element>();
        number(group, nr, size.next_multiple_of(align_of::<T>()))
    }

    const BIND_INTERDOMAIN: libc::c_ulong = sized::<BindInterdomain>(b'E', 1);
    const BIND_UNBOUND_PORT: libc::c_ulong = sized::<BindUnboundPort>(b'E', 2);
    const NOTIFY: libc::c_ulong = sized::<Port>(b'E', 4);
    const ALLOC_GREF: libc::c_ulong = with_element::<AllocGref, u32>(b'G', 5);
    const DEALLOC_GREF: libc::c_ulong = sized::<DeallocGref>(b'G', 6);
    const GNTALLOC_UNMAP_NOTIFY: libc::c_ulong = sized::<UnmapNotify>(b'G', 7);
    const MAP_GRANT_REF: libc::c_ulong = with_element::<MapGrantRef, [u32; 2]>(b'G', 0);
    const GNTDEV_UNMAP_NOTIFY: libc::c_ulong = sized::<UnmapNotify>(b'G', 7);

    nix::ioctl_readwrite_bad!(evtchn_bind_interdomain, BIND_INTERDOMAIN, BindInterdomain);
    nix::ioctl_readwrite_bad!(evtchn_bind_unbound_port, BIND_UNBOUND_PORT, BindUnboundPort);
    nix::ioctl_readwrite_bad!(evtchn_notify, NOTIFY, Port);
    nix::ioctl_readwrite_bad!(gntalloc_alloc_gref, ALLOC_GREF, AllocGref);
    nix::ioctl_readwrite_bad!(gntalloc_dealloc_gref, DEALLOC_GREF, DeallocGref);
    nix::ioctl_readwrite_bad!(gntalloc_set_unmap_notify, GNTALLOC_UNMAP_NOTIFY, UnmapNotify);
    nix::ioctl_readwrite_bad!(gntdev_map_grant_ref, MAP_GRANT_REF, MapGrantRef);
    nix::ioctl_readwrite_bad!(gntdev_set_unmap_notify, GNTDEV_UNMAP_NOTIFY, UnmapNotify);

    #[cfg(test)]
    mod tests {
        use super::*;

        /// The numbers of 64-bit machines were taken from a running system.
        #[test]
        fn numbers_match_the_kernel() {
            // On i386 a u64 is aligned to 4 bytes, as in the kernel's structures.
            let (dealloc, unmap) =
                if align_of::<u64>() == 8 { (0x104706, 0x104707) } else { (0xc4706, 0x104707) };
            assert_eq!(BIND_INTERDOMAIN, 0x84501);
            assert_eq!(BIND_UNBOUND_PORT, 0x44502);
            assert_eq!(NOTIFY, 0x44504);
            assert_eq!(ALLOC_GREF, if align_of::<u64>() == 8 { 0x184705 } else { 0x144705 });
            assert_eq!(DEALLOC_GREF, dealloc);
            assert_eq!([GNTALLOC_UNMAP_NOTIFY, GNTDEV_UNMAP_NOTIFY], [unmap; 2]);
            assert_eq!(MAP_GRANT_REF, 0x184700);
        }
    }
}
