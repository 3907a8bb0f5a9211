//! Created files have their mode, whatever the umask.

use std::os::unix::process::CommandExt;

use super::child::Other;
use super::*;

/// Umasks that remove permissions of the owner, and an ordinary one.
const UMASKS: [&str; 7] = ["022", "0177", "0277", "0377", "0477", "0600", "0777"];

/// The capabilities by which root ignores modes.
const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;

/// Removes root's exemption from modes from the calling process and its children.
fn drop_dac_override() -> std::io::Result<()> {
    for capability in [CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH] {
        // SAFETY: a system call without pointers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result != 0 && nix::unistd::geteuid().is_root() {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The same for the calling thread only, until it ends.
pub fn drop_dac_override_in_thread() {
    // By changing the file system user ID, which drops the exemption. The raw system call changes only this
    // thread.
    // SAFETY: a system call without pointers.
    unsafe { libc::syscall(libc::SYS_setfsuid, 65534) };
}

/// Runs `part` in a process to which modes apply, with this umask.
fn run_under(umask: &str, part: &str, root: &Path) -> std::process::Output {
    let mask = libc::mode_t::from_str_radix(umask, 8).unwrap();
    let mut command = Other::command(part, root, umask);
    let prepare = move || {
        // SAFETY: only sets the process's umask.
        unsafe { libc::umask(mask) };
        drop_dac_override()
    };
    // SAFETY: system calls only, without allocation.
    unsafe { command.pre_exec(prepare) };
    command.output().unwrap()
}

/// Connects there, and checks the created files.
pub fn connect_under_a_umask(root: &Path) {
    let server = Server::start(root, "data/x").unwrap();
    let waiter = Waiter::on(&*server.events);
    let client = Client::start(root, "data/x").unwrap();
    client.events.notify().unwrap();
    waiter.until(&*server.events, |received| received.event);
    let second = Server::start(root, "data/y").unwrap();
    for path in [root.to_owned()].into_iter().chain(tree(root).iter().map(|name| root.join(name))) {
        let found = fs::symlink_metadata(&path).unwrap();
        let wanted = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(found.permissions().mode() & 0o777, wanted, "{}", path.display());
    }
    drop((second, client, server));
    assert_eq!(tree(root), [""; 0]);
}

#[test]
fn any_umask_works() {
    for umask in UMASKS {
        let temp = private_dir();
        let root = temp.path().join("root");
        for round in ["first", "second"] {
            let output = run_under(umask, "meet under a umask", &root);
            assert!(output.status.success(), "{umask}, {round}: {output:?}");
        }
    }
}
