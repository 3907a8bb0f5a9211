//! Processes with forked children, under resource limits, and under seccomp filters.

use std::io::{Read, Write};

use super::child::Other;
use super::*;
use vchan::{Listener, Vchan};

/// Forks a child that inherits all descriptors and does nothing until its input ends.
pub fn fork_and_stay() {
    // SAFETY: the child only makes system calls, and exits without running destructors.
    unsafe {
        if libc::fork() == 0 {
            let mut byte = 0u8;
            while libc::read(0, (&raw mut byte).cast(), 1) > 0 {}
            libc::_exit(0);
        }
    }
}

/// `bytes` is the maximum file size.
pub fn serve_under_a_limit(root: &Path, bytes: &str) {
    let bytes = bytes.parse().unwrap();
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the limit is valid for the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
    let error = Server::start(root, "data/x").err().unwrap();
    assert_eq!(error.errno(), libc::EFBIG, "{error}");
}

#[test]
fn file_size_limit_is_an_error_without_leftovers() {
    for bytes in ["0", "4", "4096", "65535"] {
        let root = private_dir();
        let output = Other::run_as("serve under a limit", root.path(), bytes);
        assert!(output.status.success(), "{bytes}: {output:?}");
        assert_eq!(tree(root.path()), [""; 0], "{bytes}");
    }
}

/// `errno` is the filter's error for optional system calls.
pub fn connect_under_a_filter(root: &Path, errno: &str) {
    refuse(
        &[libc::SYS_preadv2, libc::SYS_linkat, libc::SYS_inotify_init1, libc::SYS_membarrier],
        errno.parse().unwrap(),
    );
    let transport = transport(root);
    let parts = transport.open(Role::Client, 0, "/local/domain/0/data/vchan/0/x").unwrap();
    let mut watch = parts.registry.watch().unwrap();
    watch.renew().unwrap();
    assert!(readable(watch.fd(), LONG), "the client is not woken to look again");
    drop(watch);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Vchan::builder(0, "x").transport(transport.clone()).wait(LONG).connect());
        let mut server = Listener::builder(0, "x").transport(transport.clone()).open().unwrap();
        let mut client = client.join().unwrap().unwrap();
        let echo = scope.spawn(move || {
            let mut got = [0; 3];
            for _ in 0..20 {
                server.read_exact(&mut got).unwrap();
                server.write_all(&got).unwrap();
            }
        });
        for round in 0..20 {
            let (sent, mut got) = ([round; 3], [0; 3]);
            client.write_all(&sent).unwrap();
            client.read_exact(&mut got).unwrap();
            assert_eq!(got, sent);
        }
        echo.join().unwrap();
    });
}

/// Makes these calls fail with `errno` in this thread and its children.
fn refuse(calls: &[libc::c_long], errno: u32) {
    let statement = |code: u32, jt: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, &call) in calls.iter().enumerate() {
        let to_refusal = (calls.len() - index) as u8;
        program.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_refusal, call as u32));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program and its length are valid for the call.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter),
        ]
    };
    assert_eq!(results, [0; 2]);
}

#[test]
fn filtered_calls_have_fallbacks() {
    for errno in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
        let root = private_dir();
        let output = Other::run_as("meet under a filter", root.path(), &errno.to_string());
        assert!(output.status.success(), "{errno}: {output:?}");
        assert_eq!(tree(root.path()), [""; 0]);
    }
}
