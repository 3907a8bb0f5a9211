//! The choice of the transport.

use std::path::Path;

use super::unix::UnixTransport;
use super::xen::XenTransport;
use super::Transport;
use crate::{Error, Result};

/// The transport that the environment variable `VCHAN_TRANSPORT` names: `xen`, `unix`, or `auto` (the
/// default): Xen if `/dev/xen/evtchn` exists, otherwise Unix.
///
/// # Errors
///
/// [`Error::Invalid`] for any other name, and for other variables of the Unix transport that make no sense.
pub fn from_env() -> Result<Box<dyn Transport>> {
    match std::env::var_os("VCHAN_TRANSPORT") {
        None => by_name("auto"),
        Some(name) => by_name(&name.to_string_lossy()),
    }
}

/// The transport called `name`, see [`from_env`].
///
/// # Errors
///
/// As there.
pub fn by_name(name: &str) -> Result<Box<dyn Transport>> {
    match name {
        "xen" => Ok(Box::new(XenTransport::new())),
        "unix" => Ok(Box::new(UnixTransport::from_env()?)),
        "" | "auto" if Path::new("/dev/xen/evtchn").exists() => by_name("xen"),
        "" | "auto" => by_name("unix"),
        other => {
            Err(Error::Invalid(format!("invalid VCHAN_TRANSPORT {other:?}, expected xen, unix or auto")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(by_name("xen").unwrap().name(), "xen");
        assert_eq!(by_name("unix").unwrap().name(), "unix");
        assert!(["xen", "unix"].contains(&by_name("auto").unwrap().name()));
        assert!(by_name("tcp").is_err_and(|error| error.to_string().contains("tcp")));
    }
}
