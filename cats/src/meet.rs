//! How the two sides of a conversation meet; the only thing in which the tools differ.

use std::ffi::OsString;

use vchan::ring::OrderTable;
use vchan::transport::unix::UnixTransport;
use vchan::transport::xen::XenTransport;
use vchan::transport::Transport;
use vchan::{ClientBuilder, DomId, Result, ServerBuilder, Vchan};

/// What makes a tool the one that it is.
pub trait Tool {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// What it is for, in one sentence.
    fn about(&self) -> &'static str;
    /// Examples, for the help.
    fn examples(&self) -> &'static str;
    /// The variable that leads clients to their server, if it is set.
    fn led_by(&self) -> Option<&'static str> {
        None
    }
    /// What carries the channel of a server, if `listen`, or a client.
    fn transport(&self, listen: bool) -> Result<Box<dyn Transport>>;
}

/// The table by which servers choose their rings: that of the programs which the tools are modelled on.
pub const ORDERS: OrderTable = OrderTable::Ocaml;

/// The name under which the sides find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// At the conventional path of this port.
    Port(String),
    /// At this configuration path.
    Path(String),
}

impl Point {
    /// Asks for the server's end there.
    pub fn server<'a>(&self, peer: DomId) -> ServerBuilder<'a> {
        match self {
            Point::Port(port) => Vchan::server(peer, port),
            Point::Path(path) => Vchan::server_at(peer, path),
        }
    }

    /// Asks for the client's end there.
    pub fn client<'a>(&self, peer: DomId) -> ClientBuilder<'a> {
        match self {
            Point::Port(port) => Vchan::client(peer, port),
            Point::Path(path) => Vchan::client_at(peer, path),
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Point::Port(name) | Point::Path(name)) = self;
        f.write_str(name)
    }
}

/// The tool for processes of one machine.
pub const UNIXCAT: Unixcat = Unixcat;

/// See [`UNIXCAT`].
pub struct Unixcat;

impl Tool for Unixcat {
    fn name(&self) -> &'static str {
        "unixcat"
    }

    fn about(&self) -> &'static str {
        "Carries standard input and output to another process of this machine, over a vchan in shared memory"
    }

    fn examples(&self) -> &'static str {
        "\
Examples:
  unixcat -l 0 talk                      wait for a client; both sides type
  unixcat 0 talk                         be that client, in another terminal
  unixcat -l 0 copy --recv-only > new    receive a file ...
  unixcat --wait 0 copy < old            ... and send it, whoever is started first
  unixcat -lk 0 log --recv-only >> log   collect what many clients send, one after the other

The two sides find each other by DOMID and PORT, under $XEN_ROOT, else $XDG_RUNTIME_DIR/vchan, else
/tmp/vchan-<uid>; $VCHAN_DOMID is one's own domain, else 0. A server also prints two lines for the shell, XEN_ROOT
and XEN_CONFIGURATION. A client which has XEN_CONFIGURATION in its environment goes there, whatever its DOMID and
PORT; it warns if another PORT is served there.
"
    }

    fn led_by(&self) -> Option<&'static str> {
        configuration().map(|_| CONFIGURATION)
    }

    fn transport(&self, listen: bool) -> Result<Box<dyn Transport>> {
        let mut transport = UnixTransport::from_env()?;
        if let Some(configuration) = configuration().filter(|_| !listen) {
            transport = transport.exported(&configuration.to_string_lossy())?;
        }
        Ok(Box::new(transport))
    }
}

const CONFIGURATION: &str = "XEN_CONFIGURATION";

fn configuration() -> Option<OsString> {
    std::env::var_os(CONFIGURATION).filter(|value| !value.is_empty())
}

/// The tool for domains on Xen.
pub const XENCAT: Xencat = Xencat;

/// See [`XENCAT`].
pub struct Xencat;

impl Tool for Xencat {
    fn name(&self) -> &'static str {
        "xencat"
    }

    fn about(&self) -> &'static str {
        "Carries standard input and output to a process in another Xen domain, over a vchan in shared memory"
    }

    fn examples(&self) -> &'static str {
        "\
Examples:
  xencat -l 3 talk                       wait for a client in domain 3; both sides type
  xencat 0 talk                          be that client, there
  xencat -l 3 copy --recv-only > new     receive a file ...
  xencat --wait 0 copy < old             ... and send it, whoever is started first
  xencat -l 3 --path data/proxy          serve at a path in xenstore of one's own choice

A server publishes at /local/domain/<its own domain>/data/vchan/DOMID/PORT in xenstore. It needs the kernel's
modules xen-evtchn and xen-gntalloc, a client xen-evtchn and xen-gntdev, and both need root's permissions or those of
the devices in /dev/xen. `xl list` in domain 0 shows the domains' numbers.
"
    }

    fn transport(&self, _listen: bool) -> Result<Box<dyn Transport>> {
        Ok(Box::new(XenTransport::new()))
    }
}
