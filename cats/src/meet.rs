//! How server and client meet: the only difference between the tools.

use std::ffi::OsString;

use vchan::ring::OrderTable;
use vchan::transport::unix::UnixTransport;
use vchan::transport::xen::XenTransport;
use vchan::transport::Transport;
use vchan::{ClientBuilder, DomId, Listener, ListenerBuilder, Result, Vchan};

/// The properties of a tool.
pub trait Tool {
    /// The program name.
    fn name(&self) -> &'static str;
    /// One sentence for the help.
    fn about(&self) -> &'static str;
    /// Examples for the help; `@` stands for the name.
    fn examples(&self) -> &'static str;
    /// The name of its transport.
    fn transport_name(&self) -> &'static str;
    /// The environment variable that names a client's server, if it is set.
    fn server_variable(&self) -> Option<&'static str> {
        None
    }
    /// The default ring size in bytes.
    fn buffer_size(&self) -> usize;
    /// A hint for a client that may be waiting in the wrong place.
    fn wait_hint(&self) -> &'static str;
    /// The transport for a server (`listen`) or a client.
    fn transport(&self, listen: bool) -> Result<Box<dyn Transport>>;
}

/// A warning about a `VCHAN_TRANSPORT` that names another transport.
pub fn transport_warning(tool: &dyn Tool) -> Option<String> {
    let requested = std::env::var_os("VCHAN_TRANSPORT")?;
    let requested = requested.to_string_lossy();
    let (name, own) = (tool.name(), tool.transport_name());
    let agrees = ["", "auto", own].contains(&&*requested);
    (!agrees).then(|| format!("VCHAN_TRANSPORT={requested} is ignored: {name} always uses transport {own}"))
}

/// How servers choose ring sizes: as the original tools do.
pub const ORDERS: OrderTable = OrderTable::Ocaml;

/// The name under which server and client meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// The conventional path of a port.
    Port(String),
    /// An explicit path.
    Path(String),
}

impl Point {
    /// Starts building the server.
    pub fn server(&self, peer: DomId) -> ListenerBuilder {
        match self {
            Point::Port(port) => Listener::builder(peer, port),
            Point::Path(path) => Listener::builder_at(peer, path),
        }
    }

    /// Starts building the client.
    pub fn client(&self, peer: DomId) -> ClientBuilder {
        match self {
            Point::Port(port) => Vchan::builder(peer, port),
            Point::Path(path) => Vchan::builder_at(peer, path),
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Point::Port(name) | Point::Path(name)) = self;
        f.write_str(name)
    }
}

/// The tool for processes on one machine.
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
        include_str!("../help/unixcat.txt")
    }

    fn transport_name(&self) -> &'static str {
        "unix"
    }

    fn wait_hint(&self) -> &'static str {
        "if the server uses another directory, set XEN_ROOT as it prints"
    }

    fn server_variable(&self) -> Option<&'static str> {
        configuration().map(|_| CONFIGURATION)
    }

    // The maximum: unused memory costs nothing, and processes that share a CPU switch less often.
    fn buffer_size(&self) -> usize {
        1 << 20
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

/// The tool for Xen domains.
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
        include_str!("../help/xencat.txt")
    }

    fn transport_name(&self) -> &'static str {
        "xen"
    }

    fn wait_hint(&self) -> &'static str {
        "check DOMID and PORT on both sides"
    }

    // All channels of a domain share gntalloc's 1024 pages; this size takes 33 of them.
    fn buffer_size(&self) -> usize {
        64 << 10
    }

    fn transport(&self, _listen: bool) -> Result<Box<dyn Transport>> {
        Ok(Box::new(XenTransport::new()))
    }
}
