//! Reading, listing and removing nodes through a trait.

use crate::{
    client::XsClient,
    error::{Request, XsError},
    nodes::Nodes,
    path::check_node,
    transaction::Transaction,
    wire::Operation,
};

/// A client of Xenstore that a [`Lookup`] can use. Paths are valid; the [`Lookup`] has checked them.
pub trait Backend {
    /// The value of a node, as text without a terminating NUL.
    ///
    /// # Errors
    ///
    /// As [`Nodes::read_text`].
    fn get(&self, path: &str) -> Result<String, XsError>;

    /// The names of the children of a node.
    ///
    /// # Errors
    ///
    /// As [`Nodes::directory`].
    fn list(&self, path: &str) -> Result<Vec<String>, XsError>;

    /// Removes a node and all nodes below.
    ///
    /// # Errors
    ///
    /// As [`Nodes::rm`].
    fn remove(&self, path: &str) -> Result<(), XsError>;
}

macro_rules! backend_through_nodes {
    ($($type:ty),*) => {$(
        impl Backend for $type {
            fn get(&self, path: &str) -> Result<String, XsError> {
                let mut text = Nodes::read_text(self, path)?;
                // Some programs store a terminator.
                if text.ends_with('\0') {
                    text.pop();
                }
                Ok(text)
            }

            fn list(&self, path: &str) -> Result<Vec<String>, XsError> {
                Nodes::directory(self, path)
            }

            fn remove(&self, path: &str) -> Result<(), XsError> {
                Nodes::rm(self, path)
            }
        }
    )*};
}

backend_through_nodes!(XsClient, &XsClient, Transaction<'_>, &Transaction<'_>);

/// Reads, lists and removes nodes through a [`Backend`].
///
/// ```no_run
/// use vchan_xenstore::{Lookup, XsClient};
///
/// let lookup = Lookup::over(XsClient::open()?, "client");
/// for name in lookup.directory("/local/domain")? {
///     println!("domain {name}");
/// }
/// # Ok::<(), vchan_xenstore::XsError>(())
/// ```
pub struct Lookup<'a> {
    backend: Box<dyn Backend + Send + 'a>,
    name: &'static str,
}

impl<'a> Lookup<'a> {
    /// Uses this backend. The name is for diagnostics.
    pub fn over(backend: impl Backend + Send + 'a, name: &'static str) -> Self {
        Self { backend: Box::new(backend), name }
    }

    /// The name of the backend.
    pub fn backend(&self) -> &'static str {
        self.name
    }

    /// The value of a node, as text without a terminating NUL.
    ///
    /// # Errors
    ///
    /// As [`Nodes::read_text`].
    pub fn read(&self, path: &str) -> Result<String, XsError> {
        check(Operation::Read, path)?;
        self.backend.get(path)
    }

    /// The names of the children of a node.
    ///
    /// # Errors
    ///
    /// As [`Nodes::directory`].
    pub fn directory(&self, path: &str) -> Result<Vec<String>, XsError> {
        check(Operation::Directory, path)?;
        self.backend.list(path)
    }

    /// Removes a node and all nodes below. A missing node is no error if its parent exists.
    ///
    /// # Errors
    ///
    /// As [`Nodes::rm`].
    pub fn remove(&self, path: &str) -> Result<(), XsError> {
        check(Operation::Rm, path)?;
        self.backend.remove(path)
    }
}

impl std::fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("backend", &self.name).finish_non_exhaustive()
    }
}

fn check(operation: Operation, path: &str) -> Result<(), XsError> {
    check_node(path).map_err(|reason| XsError::Invalid { request: Request::new(operation, path), reason })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Refuses everything.
    struct Refusing;

    fn refusal() -> XsError {
        let request = Request::new(Operation::Rm, "/b");
        XsError::Refused { request, name: "EPERM".into(), source: io::Error::from_raw_os_error(libc::EPERM) }
    }

    impl Backend for Refusing {
        fn get(&self, _: &str) -> Result<String, XsError> {
            Err(refusal())
        }

        fn list(&self, _: &str) -> Result<Vec<String>, XsError> {
            Err(refusal())
        }

        fn remove(&self, _: &str) -> Result<(), XsError> {
            Err(refusal())
        }
    }

    #[test]
    fn error_of_the_backend_is_unchanged() {
        let lookup = Lookup::over(Refusing, "refusing");
        let errors = [
            lookup.read("/a").unwrap_err(),
            lookup.directory("/a").unwrap_err(),
            lookup.remove("/a").unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.errno(), error.path()), (libc::EPERM, Some("/b")));
        }
    }

    #[test]
    fn invalid_path_does_not_reach_the_backend() {
        let error = Lookup::over(Refusing, "refusing").read("/not.valid").unwrap_err();
        assert!(matches!(error, XsError::Invalid { .. }), "{error:?}");
        assert_eq!((error.path(), error.operation()), (Some("/not.valid"), Some(Operation::Read)));
    }
}
