//! Without /proc, as in some chroots.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;

use super::child::Other;
use super::*;
use vchan::{Error, Listener, Vchan};

/// Hides /proc from the calling process, which must be root.
fn hide_proc() -> std::io::Result<()> {
    let done = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    let none = std::ptr::null();
    // SAFETY: NUL-terminated strings, and null for omitted arguments.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS))?;
        done(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
        done(libc::mount(c"none".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()))
    }
}

/// Runs `part` without /proc; `false` if that is not permitted.
fn ran_without_proc(part: &str, root: &Path) -> bool {
    let mut command = Other::command(part, root, "");
    // SAFETY: system calls only, without allocation.
    unsafe { command.pre_exec(hide_proc) };
    match command.output() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            std::io::stderr().write_all(b"SKIPPED: only root can hide /proc\n").unwrap();
            false
        }
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            true
        }
    }
}

/// A waiting client, its server, and a short transfer.
pub fn connect_without_proc(root: &Path) {
    assert!(!Path::new("/proc/self").exists());
    let transport = transport(root);
    let parts = transport.open(Role::Client, 0, "/local/domain/0/data/vchan/0/x").unwrap();
    let mut watch = parts.registry.watch().unwrap();
    watch.renew().unwrap();
    let mut server = Listener::builder(0, "x").transport(transport.clone()).open().unwrap();
    assert!(readable(watch.fd(), LONG), "the client is not woken by its server");
    drop(watch);
    let mut client = Vchan::builder(0, "x").transport(transport.clone()).connect().unwrap();
    client.write_all(b"word").unwrap();
    let mut word = [0; 4];
    server.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"word");
}

#[test]
fn short_root_needs_no_proc() {
    let temp = private_dir();
    let root = temp.path().join("root");
    if ran_without_proc("meet without proc", &root) {
        assert_eq!(tree(temp.path()), ["root"]);
    }
}

pub fn refuse_without_proc(root: &Path) {
    let error = Listener::builder(0, "x").transport(transport(root)).open().unwrap_err();
    assert!(matches!(error, Error::Os { .. }) && error.errno() == libc::ENAMETOOLONG, "{error}");
    assert!(error.to_string().contains("/proc"), "{error}");
}

#[test]
fn error_without_proc_names_the_long_root() {
    let temp = private_dir();
    let root = temp.path().join("r".repeat(120));
    if ran_without_proc("refuse without proc", &root) {
        assert_eq!(tree(&root), [""; 0]);
    }
}
