//! Look-ups: the same checks over every implementation in the build.
//!
//! The only test of its program, because it sets an environment variable.

mod support {
    #[path = "../../xenstore/tests/support/xenstored.rs"]
    pub mod xenstored;
}

use std::env;

use support::xenstored::Xenstored;
use vchan::transport::xen::lookup;
use vchan_xenstore::{Lookup, Nodes, Operation, XsClient, XsError, PATH_VARIABLE};

/// The checks for each implementation.
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
    assert!(gone.refused_with(libc::ENOENT) && gone.is_not_yet(), "{backend}: {gone:?}");
    assert_eq!((gone.path(), gone.operation()), (Some("/dir/a"), Some(Operation::Read)), "{backend}");
    assert!(lookup.directory("/dir").unwrap_err().refused_with(libc::ENOENT), "{backend}");
    assert!(lookup.remove("/dir/a/b").unwrap_err().refused_with(libc::ENOENT), "{backend}");
    assert!(matches!(lookup.read("/not.valid"), Err(XsError::Invalid { .. })), "{backend}");
}

#[test]
fn all_implementations_behave_alike() {
    let Some(mut daemon) = Xenstored::start() else { return };
    env::set_var(PATH_VARIABLE, daemon.socket());
    let xs = daemon.client();

    let lookup = lookup::open().unwrap();
    let expected = if cfg!(feature = "xenstore-rs") { "xenstore-rs" } else { "own client" };
    assert_eq!(lookup.backend(), expected);
    exercise(&lookup, &xs);

    exercise(&Lookup::over(daemon.client(), "own client"), &xs);

    let transaction = xs.begin().unwrap();
    exercise(&Lookup::over(&transaction, "transaction"), &transaction);
    transaction.commit().unwrap();

    assert_eq!(XsClient::open().unwrap().endpoint(), daemon.socket());

    // A dead daemon causes an error at once. No other path is tried.
    daemon.kill();
    assert!(matches!(lookup.read("/"), Err(XsError::Connection { .. } | XsError::Closed { .. })));
    assert!(matches!(lookup::open(), Err(XsError::Unreachable { .. })));
}
