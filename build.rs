//! The build script of `capi`: names the shared library, and writes the C headers when asked to.
//!
//! The headers are committed, so a normal build leaves them alone. With `VCHAN_RS_HEADERS=DIR` they are written to
//! that directory; `make headers` and `make check-headers` do that.

use std::env;
use std::path::{Path, PathBuf};

/// A header, and the sources whose functions it declares.
struct Header {
    name: &'static str,
    sources: &'static [&'static str],
}

const HEADERS: [Header; 2] = [
    Header { name: "libxenvchan", sources: &["init", "io", "state", "close"] },
    Header { name: "vchan-rs", sources: &["ext_info", "ext_init", "ext_io", "ext_ring"] },
];

fn main() {
    println!("cargo:rerun-if-changed=../build.rs");
    println!("cargo:rerun-if-env-changed=VCHAN_RS_HEADERS");
    let major = env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo tells the version");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libvchan-rs.so.{major}");
    if let Some(to) = env::var_os("VCHAN_RS_HEADERS").filter(|to| !to.is_empty()) {
        println!("cargo:rerun-if-changed=src");
        println!("cargo:rerun-if-changed=cbindgen");
        for header in &HEADERS {
            write_header(header, Path::new(&to));
        }
    }
}

fn write_header(header: &Header, to: &Path) {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells the directory"));
    let config = package.join(format!("cbindgen/{}.toml", header.name));
    let config = cbindgen::Config::from_file(&config).unwrap_or_else(|error| panic!("read {config:?}: {error}"));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in header.sources {
        builder = builder.with_src(package.join(format!("src/{source}.rs")));
    }
    let file = to.join(format!("{}.h", header.name));
    builder.generate().unwrap_or_else(|error| panic!("generate {file:?}: {error}")).write_to_file(&file);
}
