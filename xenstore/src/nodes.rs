//! The operations on nodes, with and without a transaction.

use nix::errno::Errno;

use crate::{
    ask::Ask,
    error::{Request, XsError},
    path::check_node,
    perms::Perm,
    wire::{self, Malformed, Operation},
};

/// Maximum size of a listing in bytes. The quotas of xenstored keep a listing far below.
const LISTING_MAX: usize = 1 << 20;
/// Maximum number of attempts for a long listing. A change of the directory ends an attempt.
const LISTING_ATTEMPTS: u32 = 100;

/// The operations on nodes, of a client and of a transaction.
///
/// A path that does not begin with `/` is relative to the home of the domain.
///
/// # Errors
///
/// All operations fail with [`XsError::Invalid`] if the path or the value breaks a rule, with [`XsError::Refused`] if
/// xenstored refuses the request (ENOENT: the node does not exist; EACCES: the domain has no access), and with
/// [`XsError::TimedOut`], [`XsError::Connection`], [`XsError::Protocol`] or [`XsError::Closed`] if the connection failed.
///
/// ```no_run
/// use vchan_xenstore::{Nodes, XsClient};
///
/// let xs = XsClient::open()?;
/// xs.write("data/port", "7")?;
/// assert_eq!(xs.read_number::<u16>("data/port")?, 7);
/// # Ok::<(), vchan_xenstore::XsError>(())
/// ```
pub trait Nodes: Ask {
    /// The value of a node.
    ///
    /// # Errors
    ///
    /// See [`Nodes`].
    fn read(&self, path: &str) -> Result<Vec<u8>, XsError> {
        self.on_node(Operation::Read, path, &[])
    }

    /// The value of a node, as text.
    ///
    /// # Errors
    ///
    /// [`XsError::BadValue`] if the value is not UTF-8; see also [`Nodes`].
    fn read_text(&self, path: &str) -> Result<String, XsError> {
        let value = self.read(path)?;
        String::from_utf8(value).map_err(|_| bad_value(path, "is not text"))
    }

    /// The value of a node, as a decimal number.
    ///
    /// # Errors
    ///
    /// [`XsError::BadValue`] if the value is no number of this type; see also [`Nodes`].
    fn read_number<T: std::str::FromStr>(&self, path: &str) -> Result<T, XsError> {
        let text = self.read_text(path)?;
        text.parse()
            .map_err(|_| bad_value(path, &format!("{:?} is no such number", text.escape_debug().to_string())))
    }

    /// The names of the children of a node.
    ///
    /// # Errors
    ///
    /// [`XsError::BadValue`] if the names take more than a MiB, or change faster than they can be listed; see also
    /// [`Nodes`].
    fn directory(&self, path: &str) -> Result<Vec<String>, XsError> {
        match self.on_node(Operation::Directory, path, &[]) {
            Ok(listing) => {
                let request = Request::new(Operation::Directory, path);
                wire::strings(&listing).map_err(|wrong| protocol(request, wrong))
            }
            Err(error) if error.refused_with(Errno::E2BIG as i32) => directory_in_parts(self, path),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of a node. Creates the node and its parents if they do not exist.
    ///
    /// # Errors
    ///
    /// [`XsError::Invalid`] if path and value are too long for one message; see also [`Nodes`].
    fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), XsError> {
        acknowledged(self, Operation::Write, path, &[value.as_ref()])
    }

    /// Creates an empty node and its parents, unless it exists.
    ///
    /// # Errors
    ///
    /// See [`Nodes`].
    fn mkdir(&self, path: &str) -> Result<(), XsError> {
        acknowledged(self, Operation::Mkdir, path, &[])
    }

    /// Removes a node and all nodes below. A missing node is no error if its parent exists.
    ///
    /// # Errors
    ///
    /// See [`Nodes`].
    fn rm(&self, path: &str) -> Result<(), XsError> {
        acknowledged(self, Operation::Rm, path, &[])
    }

    /// The permissions of a node. The first entry names the owner.
    ///
    /// # Errors
    ///
    /// See [`Nodes`].
    fn get_perms(&self, path: &str) -> Result<Vec<Perm>, XsError> {
        let payload = self.on_node(Operation::GetPerms, path, &[])?;
        let perms = wire::strings(&payload).and_then(|entries| {
            let perms = entries.iter().map(|entry| Perm::decode(entry)).collect::<Result<Vec<_>, _>>()?;
            if perms.is_empty() {
                return Err(Malformed("a node without an owner".into()));
            }
            Ok(perms)
        });
        perms.map_err(|wrong| protocol(Request::new(Operation::GetPerms, path), wrong))
    }

    /// Sets the permissions of a node. The access in `owner` is that of all domains that are not in `others`.
    ///
    /// # Errors
    ///
    /// See [`Nodes`].
    fn set_perms(&self, path: &str, owner: Perm, others: &[Perm]) -> Result<(), XsError> {
        let entries: String = std::iter::once(&owner).chain(others).map(|perm| perm.encode()).collect();
        acknowledged(self, Operation::SetPerms, path, &[entries.as_bytes()])
    }

    /// Checks the path, and sends it followed by `rest`.
    #[doc(hidden)]
    fn on_node(&self, operation: Operation, path: &str, rest: &[&[u8]]) -> Result<Vec<u8>, XsError> {
        let request = Request::new(operation, path);
        check_node(path).map_err(|reason| XsError::Invalid { request: request.clone(), reason })?;
        let mut parts: Vec<&[u8]> = vec![path.as_bytes(), b"\0"];
        parts.extend_from_slice(rest);
        self.ask(&request, &parts)
    }
}

impl<T: Ask> Nodes for T {}

fn bad_value(path: &str, reason: &str) -> XsError {
    XsError::BadValue { request: Request::new(Operation::Read, path), reason: reason.to_owned() }
}

pub(crate) fn protocol(request: Request, Malformed(detail): Malformed) -> XsError {
    XsError::Protocol { request, detail }
}

fn acknowledged<N: Nodes + ?Sized>(
    nodes: &N,
    operation: Operation,
    path: &str,
    rest: &[&[u8]],
) -> Result<(), XsError> {
    let payload = nodes.on_node(operation, path, rest)?;
    wire::check_ok(&payload).map_err(|wrong| protocol(Request::new(operation, path), wrong))
}

/// A listing that is too long for one message.
fn directory_in_parts<N: Nodes + ?Sized>(nodes: &N, path: &str) -> Result<Vec<String>, XsError> {
    for _ in 0..LISTING_ATTEMPTS {
        if let Some(names) = unchanged_directory(nodes, path)? {
            return Ok(names);
        }
    }
    let request = Request::new(Operation::DirectoryPart, path);
    let reason = "changes faster than it can be listed".to_owned();
    Err(XsError::BadValue { request, reason })
}

/// The whole listing, or `None` if the directory changed meanwhile.
///
/// Each piece has the generation of the directory, then names. An empty name follows the last one.
fn unchanged_directory<N: Nodes + ?Sized>(nodes: &N, path: &str) -> Result<Option<Vec<String>>, XsError> {
    let request = || Request::new(Operation::DirectoryPart, path);
    let mut generation = None;
    let mut listing = Vec::new();
    while listing.len() < LISTING_MAX {
        let offset = format!("{}\0", listing.len());
        let piece = nodes.on_node(Operation::DirectoryPart, path, &[offset.as_bytes()])?;
        let (now, names) = match piece.iter().position(|&byte| byte == 0) {
            Some(end) => (&piece[..end], &piece[end + 1..]),
            None => return Err(protocol(request(), Malformed("a listing without a generation".into()))),
        };
        if generation.get_or_insert_with(|| now.to_vec()) != now {
            return Ok(None);
        }
        if names.is_empty() {
            return Err(protocol(request(), Malformed("a listing makes no progress".into())));
        }
        listing.extend_from_slice(names);
        if names == b"\0" || names.ends_with(b"\0\0") {
            listing.pop();
            return wire::strings(&listing).map(Some).map_err(|wrong| protocol(request(), wrong));
        }
    }
    Err(XsError::BadValue {
        request: request(),
        reason: format!("lists more than {LISTING_MAX} bytes of names"),
    })
}
