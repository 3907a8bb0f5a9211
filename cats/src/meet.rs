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
    /// Examples, for the help; `@` stands for the name.
    fn examples(&self) -> &'static str;
    /// The name of the transport that it uses.
    fn transport_name(&self) -> &'static str;
    /// The variable that leads clients to their server, if it is set.
    fn led_by(&self) -> Option<&'static str> {
        None
    }
    /// The size in bytes of the rings unless the command line has another.
    fn buffer_size(&self) -> usize;
    /// What a client may do that waits at the wrong place.
    fn elsewhere(&self) -> &'static str;
    /// What carries the channel of a server, if `listen`, or a client.
    fn transport(&self, listen: bool) -> Result<Box<dyn Transport>>;
}

/// What to say of a `VCHAN_TRANSPORT` that names another transport than the tool's.
pub fn contradiction(tool: &dyn Tool) -> Option<String> {
    let asked = std::env::var_os("VCHAN_TRANSPORT")?;
    let asked = asked.to_string_lossy();
    let (name, own) = (tool.name(), tool.transport_name());
    let agrees = ["", "auto", own].contains(&&*asked);
    (!agrees).then(|| format!("VCHAN_TRANSPORT={asked} is ignored: {name} always uses the transport {own}"))
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
        include_str!("../help/unixcat.txt")
    }

    fn transport_name(&self) -> &'static str {
        "unix"
    }

    fn elsewhere(&self) -> &'static str {
        "if it serves in another directory, set XEN_ROOT as it says"
    }

    fn led_by(&self) -> Option<&'static str> {
        configuration().map(|_| CONFIGURATION)
    }

    /// The largest: the memory costs nothing while it isn't used, and processes that share a processor change less often.
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
        include_str!("../help/xencat.txt")
    }

    fn transport_name(&self) -> &'static str {
        "xen"
    }

    fn elsewhere(&self) -> &'static str {
        "check DOMID and PORT on both sides"
    }

    /// All channels of a domain share gntalloc's 1024 pages; this takes 33 of them.
    fn buffer_size(&self) -> usize {
        64 << 10
    }

    fn transport(&self, _listen: bool) -> Result<Box<dyn Transport>> {
        Ok(Box::new(XenTransport::new()))
    }
}
