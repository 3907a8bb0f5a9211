//! What the suite needs from a transport.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use vchan::transport::in_process::{Domain, InProcess};
use vchan::transport::unix::UnixTransport;
use vchan::transport::Transport;
use vchan::DomId;

/// The domain of the tests' servers.
pub const SERVER: DomId = 0;
/// The domain of the tests' clients.
pub const CLIENT: DomId = 7;

/// An isolated environment in which servers and clients connect over one transport.
pub trait World: Sync {
    /// A fresh one, not shared with other tests.
    fn new() -> Self
    where
        Self: Sized;

    /// The transport as seen from domain [`SERVER`].
    fn server(&self) -> Arc<dyn Transport>;

    /// The transport as seen from domain [`CLIENT`].
    fn client(&self) -> Arc<dyn Transport>;

    /// What earlier channels have left behind; must be empty.
    fn leftovers(&self) -> Vec<String>;
}

/// [`vchan::transport::in_process`].
pub struct InProcessWorld {
    machine: InProcess,
    server: Domain,
    client: Domain,
}

impl World for InProcessWorld {
    fn new() -> InProcessWorld {
        let machine = InProcess::new();
        let (server, client) = (machine.domain(SERVER), machine.domain(CLIENT));
        InProcessWorld { machine, server, client }
    }

    fn server(&self) -> Arc<dyn Transport> {
        Arc::new(self.server.clone())
    }

    fn client(&self) -> Arc<dyn Transport> {
        Arc::new(self.client.clone())
    }

    fn leftovers(&self) -> Vec<String> {
        if self.machine.is_clean() {
            Vec::new()
        } else {
            vec!["pages, ports or names of the in-process machine".into()]
        }
    }
}

/// [`vchan::transport::unix`], in a directory of its own.
pub struct UnixWorld {
    root: PathBuf,
    _directory: TempDir,
    server: UnixTransport,
    client: UnixTransport,
}

impl World for UnixWorld {
    fn new() -> UnixWorld {
        let mut named = tempfile::Builder::new();
        let named = named.prefix("vchan-conformance-");
        // In memory if possible: thousands of channels on a busy disk take minutes.
        let directory = named.tempdir_in("/dev/shm").or_else(|_| named.tempdir());
        let directory = directory.expect("a directory");
        let root = directory.path().join("root");
        let at = UnixTransport::with_root(&root).expect("a root");
        let (server, client) = (at.clone().domid(SERVER), at.domid(CLIENT));
        UnixWorld { root, _directory: directory, server, client }
    }

    fn server(&self) -> Arc<dyn Transport> {
        Arc::new(self.server.clone())
    }

    fn client(&self) -> Arc<dyn Transport> {
        Arc::new(self.client.clone())
    }

    fn leftovers(&self) -> Vec<String> {
        fn list(directory: &Path, into: &mut Vec<String>) {
            for entry in directory.read_dir().expect("read a directory") {
                let path = entry.expect("read a directory").path();
                if path.is_dir() {
                    list(&path, into);
                }
                into.push(path.display().to_string());
            }
        }
        let mut leftovers = Vec::new();
        if self.root.exists() {
            list(&self.root, &mut leftovers);
        }
        leftovers
    }
}
