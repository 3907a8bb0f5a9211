//! A peer that behaves like the historical program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::{Cat, Place, Setup};

/// The historical peer, built on demand.
fn historical() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os("UNIXCAT_HISTORICAL").map_or_else(build, PathBuf::from)).clone()
}

fn build() -> PathBuf {
    let binaries = PathBuf::from(env!("CARGO_BIN_EXE_unixcat")).parent().unwrap().to_owned();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "old-unixcat", "--manifest-path", manifest]);
    cargo.arg("--target-dir").arg(binaries.parent().unwrap());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success());
    binaries.join("old-unixcat")
}

/// The value for a client's environment.
fn configuration(line: &str) -> String {
    let value = line.strip_prefix("XEN_CONFIGURATION=\"").expect(line);
    value.strip_suffix("\"; export XEN_CONFIGURATION").expect(line).to_owned()
}

/// Starts our tool and the historical peer, both with piped input, and connects them.
pub fn connect(place: &Place, old_serves: bool, size: &str, old_flags: &[&str]) -> (Cat, Cat) {
    connect_with(place, old_serves, size, old_flags, Setup::piped)
}

/// The same with other streams for our tool.
pub fn connect_with(
    place: &Place,
    old_serves: bool,
    size: &str,
    old_flags: &[&str],
    streams: impl FnOnce(Setup) -> Setup,
) -> (Cat, Cat) {
    let old = |listen: &[&str]| {
        let args = [listen, old_flags, &["--buffer-size", size, "0", "port"]].concat();
        place.run(historical(), &args).piped()
    };
    let ours = ["--buffer-size", size, "0", "port"];
    let (mut old, mut ours) = if old_serves {
        let mut old = old(&["-l"]).start();
        let line = old.serving();
        (old, streams(place.client(&ours).env("XEN_CONFIGURATION", configuration(&line))).start())
    } else {
        let mut ours = streams(place.server(&ours)).start();
        let line = ours.serving();
        (old(&[]).env("XEN_CONFIGURATION", configuration(&line)).start(), ours)
    };
    old.connected();
    ours.connected();
    (old, ours)
}
