//! Channels between processes of one user, on any Linux: memory is files, events are bytes on a Unix socket,
//! and the registry is a tree of files laid out like xenstore.
//!
//! Everything lives under one *root directory*, which belongs to the user and is closed to all others:
//!
//! | where | what |
//! |---|---|
//! | `memory/<grants>` | the shared pages, one file per block, named by its grant numbers |
//! | `<n>` | the socket at which the server in slot *n* waits for its client |
//! | `locks/<n>` | locked by the server in slot *n* while it lives |
//! | `local/domain/…/ring-ref`, `…/event-channel` | what the servers have published |
//!
//! The first server on a root uses the same names as the historical `unixcat` of ocaml-vchan, and the two can
//! talk to each other. (A block whose list of grants is too long for a file name is called `<first>-<last>`;
//! that program cannot share blocks of that size.) Files of a killed server are removed by the next client
//! that looks for it and, a few at a time, by servers that start later.

mod default_root;
mod descriptor;
mod dir;
mod doorbell;
mod events;
mod exported;
mod grants;
mod inotify;
mod listing;
mod lock;
mod memory;
mod mode;
mod name_watch;
mod nodes;
mod page_file;
mod record;
mod registry;
mod root;
mod sexp;
mod side;
mod sigbus;
mod size_limit;
mod slot;
mod socket;
mod sweep;
mod watch;

use std::ffi::OsString;
use std::path::{absolute, Path};
use std::sync::Arc;

use super::{Parts, Rendezvous, Role, Transport};
use crate::{DomId, Error, Result};
use default_root::default_root;
use events::{ClientEvents, ServerEvents};
pub use exported::export_lines;
use memory::{ClientMemory, ServerMemory};
use nodes::NodePath;
use registry::{ClientRegistry, ServerRegistry};
use root::Root;
use side::{ClientSide, Exported, RendezvousSource, ServerSide};

/// Xen reserves the IDs from 0x7FF0 on; they name no domain.
const LAST_DOMID: DomId = 0x7FEF;

/// The transport between processes of one user. Cheap to clone.
///
/// ```
/// use vchan::transport::unix::UnixTransport;
/// use vchan::transport::{Rendezvous, Role, Transport};
///
/// # let temp = tempfile::tempdir().unwrap();
/// let transport = UnixTransport::with_root(temp.path().join("root"))?.domid(1);
/// let server = transport.open(Role::Server, 2, "data/greeting")?;
/// let channel = server.events.listen()?;
/// let page = server.memory.share(1, None)?;
/// let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: channel.name() };
/// let publication = server.registry.publish(&rendezvous)?;
///
/// let client = transport.clone().domid(2).open(Role::Client, 1, "/local/domain/1/data/greeting")?;
/// assert_eq!(client.registry.look_up()?, rendezvous);
/// # drop((publication, page, channel));
/// # Ok::<(), vchan::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct UnixTransport {
    root: Root,
    domid: DomId,
    exported: Option<Rendezvous>,
}

impl UnixTransport {
    /// The transport that the environment selects.
    ///
    /// The root is `$XEN_ROOT` (created if it does not exist, never removed), otherwise `vchan` in
    /// `$XDG_RUNTIME_DIR` or in `/run/user/<user id>`, whichever is a directory of this user (the latter not
    /// writable by others), otherwise `/tmp/vchan-<user id>` (all created when needed and removed when
    /// empty). The domain ID is `$VCHAN_DOMID`, from 0 to 32751, otherwise 0.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a malformed domain ID or root.
    pub fn from_env() -> Result<UnixTransport> {
        UnixTransport::from_vars(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<UnixTransport> {
        let mut transport = match var("XEN_ROOT") {
            Some(root) => UnixTransport::with_root(Path::new(&root))?,
            None => UnixTransport::new(&default_root(var("XDG_RUNTIME_DIR")), true)?,
        };
        if let Some(domid) = var("VCHAN_DOMID") {
            let number = domid.to_str().and_then(grants::number).and_then(|number| number.try_into().ok());
            transport.domid = number.filter(|&number| number <= LAST_DOMID).ok_or_else(|| {
                Error::Invalid(format!("invalid VCHAN_DOMID {domid:?}, expected 0 to {LAST_DOMID}"))
            })?;
        }
        Ok(transport)
    }

    /// The transport under the directory `root`, for domain 0. The directory is created if it does not exist,
    /// and never removed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path that is not UTF-8 or contains a NUL byte.
    pub fn with_root(root: impl AsRef<Path>) -> Result<UnixTransport> {
        UnixTransport::new(root.as_ref(), false)
    }

    fn new(root: &Path, removable: bool) -> Result<UnixTransport> {
        let root = absolute(root)
            .map_err(|error| Error::os(format!("resolve the root directory {root:?}"), error))?;
        let path = root.to_str().ok_or_else(|| exported::not_utf8(&root))?;
        if path.contains('\0') {
            return Err(Error::Invalid(format!("the root directory {path:?} contains a NUL byte")));
        }
        Ok(UnixTransport { root: Root::new(path, removable), domid: 0, exported: None })
    }

    /// Sets the domain ID that this process claims.
    #[must_use]
    pub fn domid(mut self, domid: DomId) -> UnixTransport {
        self.domid = domid;
        self
    }

    /// Makes clients connect to the server that printed `configuration`, the value of `XEN_CONFIGURATION`,
    /// whatever path they ask for. Servers are not affected.
    ///
    /// That server may have ended since, and another one may be in its place. So a client's
    /// [`path`](crate::Vchan::path) is that of the server it has connected to (or that server's socket, if it
    /// is a historical program). If a server waits at the path that the client asked for, connecting to
    /// another one is refused with [`Error::Invalid`].
    ///
    /// ```
    /// # use vchan::transport::unix::UnixTransport;
    /// # use vchan::transport::{Role, Transport};
    /// # let temp = tempfile::tempdir().unwrap();
    /// let transport = UnixTransport::with_root(temp.path().join("root"))?
    ///     .exported("((ring_ref 0) (event_channel /tmp/unixcat.9.0/0))")?;
    /// assert_eq!(transport.open(Role::Client, 0, "any")?.registry.look_up()?.ring_ref, 0);
    /// assert!(transport.exported("nonsense").is_err());
    /// # Ok::<(), vchan::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for any other text.
    pub fn exported(mut self, configuration: &str) -> Result<UnixTransport> {
        self.exported = Some(sexp::parse(configuration)?);
        Ok(self)
    }

    /// The root directory, which need not exist yet.
    pub fn root_path(&self) -> &Path {
        Path::new(self.root.path())
    }

    /// Whether the root is a default one, rather than one that was set explicitly.
    pub fn has_default_root(&self) -> bool {
        self.root.is_removable()
    }
}

impl Transport for UnixTransport {
    fn name(&self) -> &'static str {
        "unix"
    }

    fn own_domid(&self) -> Result<DomId> {
        Ok(self.domid)
    }

    /// The peer's ID is not checked: the file system's permissions decide which processes can connect.
    fn open(&self, role: Role, _peer: DomId, path: &str) -> Result<Parts> {
        let root = self.root.clone();
        match role {
            Role::Server => {
                let path = NodePath::new(path, self.domid)?;
                let side = Arc::new(ServerSide::new(root));
                Ok(Parts {
                    memory: Box::new(ServerMemory(Arc::clone(&side))),
                    events: Box::new(ServerEvents(Arc::clone(&side))),
                    registry: Box::new(ServerRegistry { side, path }),
                })
            }
            Role::Client => {
                let source = match &self.exported {
                    Some(rendezvous) => RendezvousSource::Exported(Exported::new(
                        rendezvous.clone(),
                        NodePath::new(path, self.domid).ok(),
                    )),
                    None => RendezvousSource::Name(NodePath::new(path, self.domid)?),
                };
                let side = Arc::new(ClientSide::new(root, source));
                Ok(Parts {
                    memory: Box::new(ClientMemory(Arc::clone(&side))),
                    events: Box::new(ClientEvents(Arc::clone(&side))),
                    registry: Box::new(ClientRegistry(side)),
                })
            }
        }
    }

    fn export_lines(&self, rendezvous: &Rendezvous) -> Result<Vec<String>> {
        // A root that was set by XEN_ROOT need not be exported.
        let root = self.has_default_root().then(|| self.root_path());
        let (root, configuration) = export_lines(root, rendezvous)?;
        Ok(root.into_iter().chain([configuration]).collect())
    }
}

#[cfg(test)]
fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<UnixTransport> {
        UnixTransport::from_vars(|name| vars.iter().find(|var| var.0 == name).map(|var| var.1.into()))
    }

    #[test]
    fn environment_selects_the_root() {
        let runtime = private_dir();
        let runtime = runtime.path().to_str().unwrap();
        let given = from(&[("XEN_ROOT", "/some/root/"), ("XDG_RUNTIME_DIR", runtime)]).unwrap();
        assert_eq!((given.root_path(), given.has_default_root()), (Path::new("/some/root"), false));
        let found = from(&[("XDG_RUNTIME_DIR", runtime)]).unwrap();
        assert_eq!((found.root_path(), found.has_default_root()), (&*Path::new(runtime).join("vchan"), true));
        let here = std::env::current_dir().unwrap();
        assert_eq!(from(&[("XEN_ROOT", "there")]).unwrap().root_path(), here.join("there"));
    }

    #[test]
    fn environment_selects_the_domain() {
        assert_eq!(from(&[]).unwrap().own_domid().unwrap(), 0);
        assert_eq!(from(&[("VCHAN_DOMID", "32751")]).unwrap().own_domid().unwrap(), 32751);
        for bad in ["32752", "65535", "65536", "-1", "x", " 1"] {
            let text = from(&[("VCHAN_DOMID", bad)]).unwrap_err().to_string();
            assert!(text.contains("VCHAN_DOMID") && text.contains(bad), "{text}");
        }
    }

    #[test]
    fn non_utf8_root_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let root = OsString::from_vec(b"/\xff".to_vec());
        assert!(matches!(UnixTransport::with_root(&root), Err(Error::Invalid(_))));
    }
}
