//! How the two sides of a conversation meet; the only thing in which the tools differ.

use vchan::ring::OrderTable;
use vchan::transport::unix::{export_lines, UnixTransport};
use vchan::transport::{Meeting, Transport};
use vchan::Result;

/// What makes a tool the one that it is.
pub trait Tool {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// What it is for, in one sentence.
    fn about(&self) -> &'static str;
    /// Examples, for the help.
    fn examples(&self) -> &'static str;
    /// Where a server, if `listen`, or a client is to meet its peer.
    fn place(&self, listen: bool) -> Result<Box<dyn Place>>;
}

/// Where server and client meet.
pub trait Place {
    /// What carries the channel.
    fn transport(&self) -> &dyn Transport;
    /// The table by which a server chooses its rings.
    fn order_table(&self) -> OrderTable;
    /// What a server prints, once a client can come.
    fn announcement(&self, meeting: &Meeting) -> Result<Vec<String>>;
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
PORT.
"
    }

    fn place(&self, listen: bool) -> Result<Box<dyn Place>> {
        let given = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let mut transport = UnixTransport::from_env()?;
        if !listen {
            if let Some(configuration) = given("XEN_CONFIGURATION") {
                transport = transport.exported(&configuration.to_string_lossy())?;
            }
        }
        Ok(Box::new(UnixPlace { transport }))
    }
}

struct UnixPlace {
    transport: UnixTransport,
}

impl Place for UnixPlace {
    fn transport(&self) -> &dyn Transport {
        &self.transport
    }

    fn order_table(&self) -> OrderTable {
        OrderTable::Ocaml
    }

    fn announcement(&self, meeting: &Meeting) -> Result<Vec<String>> {
        // Whoever gave the root by XEN_ROOT knows it.
        let root = self.transport.has_default_root().then(|| self.transport.root_path());
        let (root, configuration) = export_lines(root, meeting)?;
        Ok(root.into_iter().chain([configuration]).collect())
    }
}
