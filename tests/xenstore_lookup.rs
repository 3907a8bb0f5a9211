//! Look-ups through the common trait: the same code over every implementation the build has.
//!
//! One test alone in its program, because it sets an environment variable.

mod support {
    pub mod xenstored;
}

use std::env;

use nix::errno::Errno;
use support::xenstored::Xenstored;
use vchan::transport::xen::xenstore::{Lookup, Nodes, Operation, XsClient, XsError, PATH_VARIABLE};

/// What every implementation must do alike.
fn exercise(lookup: &Lookup<'_>, xs: &impl Nodes) {
    let backend = lookup.backend();
    xs.write("/dir/a", "text").unwrap();
    xs.write("/dir/b/c", "text\0").unwrap();
    xs.mkdir("/dir/empty").unwrap();

    assert_eq!(lookup.read("/dir/a").unwrap(), "text", "{backend}");
    assert_eq!(lookup.read("/dir/b/c").unwrap(), "text", "{backend}: a terminator is hidden");
    assert_eq!(lookup.read("/dir/empty").unwrap(), "", "{backend}");
    let mut names = lookup.directory("/dir").unwrap();
    names.sort();
    assert_eq!(names, ["a", "b", "empty"], "{backend}");
    assert!(lookup.directory("/dir/empty").unwrap().is_empty(), "{backend}");

    lookup.remove("/dir").unwrap();
    let gone = lookup.read("/dir/a").unwrap_err();
    assert!(gone.refused_with(Errno::ENOENT) && gone.is_not_yet(), "{backend}: {gone:?}");
    assert_eq!((gone.path(), gone.operation()), (Some("/dir/a"), Some(Operation::Read)), "{backend}");
    assert!(lookup.directory("/dir").unwrap_err().refused_with(Errno::ENOENT), "{backend}");
    assert!(lookup.remove("/dir/a/b").unwrap_err().refused_with(Errno::ENOENT), "{backend}");
    assert!(matches!(lookup.read("/not.valid"), Err(XsError::Invalid { .. })), "{backend}");
}

#[test]
fn every_implementation_does_the_same() {
    let Some(mut daemon) = Xenstored::start() else { return };
    env::set_var(PATH_VARIABLE, daemon.socket());
    let xs = daemon.client();

    let lookup = Lookup::open().unwrap();
    let expected = if cfg!(feature = "xenstore-rs") { "xenstore-rs" } else { "own client" };
    assert_eq!(lookup.backend(), expected);
    exercise(&lookup, &xs);

    exercise(&Lookup::over(daemon.client(), "own client"), &xs);

    let transaction = xs.begin().unwrap();
    exercise(&Lookup::over(&transaction, "transaction"), &transaction);
    transaction.commit().unwrap();

    assert_eq!(XsClient::open().unwrap().endpoint(), daemon.socket());

    // A dead daemon is reported at once, and not looked for elsewhere.
    daemon.kill();
    assert!(matches!(lookup.read("/"), Err(XsError::Connection { .. } | XsError::Closed { .. })));
    assert!(matches!(Lookup::open(), Err(XsError::Unreachable { .. })));
}
