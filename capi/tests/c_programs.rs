//! Runs the C programs against the shared library of this build, for `make mutants`: cargo-mutants changes
//! the sources and runs cargo tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the library, which cargo does not do for a test; returns its directory.
fn libraries() -> PathBuf {
    succeeds(Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "vchan-rs-capi"]));
    let program = env::current_exe().expect("this program has a path");
    program.ancestors().nth(2).expect("it is in deps").to_path_buf()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("capi is in the repository")
}

fn succeeds(command: &mut Command) {
    let status = command.current_dir(top()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn of_check_capi() {
    let library = libraries().join("libvchan_rs.so");
    succeeds(Command::new("scripts/check-capi.sh").arg(library).env("VALGRIND", "none"));
}

/// The behaviour suite. Its results must equal those of Xen's library in the file `VCHAN_ORIGINAL`, except
/// the listed differences.
#[test]
fn of_the_behaviour_suite() {
    let original = env::var_os("VCHAN_ORIGINAL").expect("VCHAN_ORIGINAL names the results of Xen's library");
    let built = libraries();
    let by_name = built.join("by-name");
    std::fs::create_dir_all(&by_name).expect("a directory for the library's names");
    for name in ["libvchan-rs.so", "libvchan-rs.so.0"] {
        std::fs::copy(built.join("libvchan_rs.so"), by_name.join(name)).expect("copy the library");
    }
    succeeds(Command::new("make").args(["-s", "-C", "tests-c", "ours", "LIB=ours"]).args([
        format!("VCHAN_INCLUDE={}/include", top().display()),
        format!("VCHAN_LIBDIR={}", by_name.display()),
    ]));
    succeeds(
        Command::new("tests-c/compare.py")
            .arg(original)
            .args(["tests-c/build/ours.txt", "tests-c/differences.txt"]),
    );
}
