//! The build script of `capi`: names the shared library, and writes the C headers when asked to.
//!
//! The headers are committed, so a normal build leaves them alone. With the feature `headers`, and `VCHAN_RS_HEADERS`
//! naming a directory, they are written there; `make headers` and `make check-headers` do that.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=../build.rs");
    let major = env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo tells the version");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libvchan-rs.so.{major}");
    #[cfg(feature = "headers")]
    headers::write();
}

#[cfg(feature = "headers")]
mod headers {
    use std::env;
    use std::path::{Path, PathBuf};

    /// A header, and the sources whose functions it declares.
    struct Header {
        name: &'static str,
        sources: &'static [&'static str],
    }

    const ALL: [Header; 2] = [
        Header { name: "libxenvchan", sources: &["init", "io", "state", "close"] },
        Header {
            name: "vchan-rs",
            sources: &["kinds", "ext_info", "ext_init", "ext_end", "ext_io", "ext_ring"],
        },
    ];

    pub fn write() {
        println!("cargo:rerun-if-env-changed=VCHAN_RS_HEADERS");
        println!("cargo:rerun-if-changed=src");
        println!("cargo:rerun-if-changed=cbindgen");
        let Some(to) = env::var_os("VCHAN_RS_HEADERS").filter(|to| !to.is_empty()) else { return };
        for header in &ALL {
            header.write(Path::new(&to));
        }
    }

    impl Header {
        fn write(&self, to: &Path) {
            let package =
                PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells the directory"));
            let config = package.join(format!("cbindgen/{}.toml", self.name));
            let config = cbindgen::Config::from_file(&config)
                .unwrap_or_else(|error| panic!("read {config:?}: {error}"));
            let mut builder = cbindgen::Builder::new().with_config(config);
            for source in self.sources {
                builder = builder.with_src(package.join(format!("src/{source}.rs")));
            }
            let file = to.join(format!("{}.h", self.name));
            let generated = builder.generate().unwrap_or_else(|error| panic!("generate {file:?}: {error}"));
            let mut text = Vec::new();
            generated.write(&mut text);
            let text = String::from_utf8(text).expect("the sources are UTF-8");
            std::fs::write(&file, without_safety(&text))
                .unwrap_or_else(|error| panic!("write {file:?}: {error}"));
        }
    }

    /// Leaves out the sections that only Rust's readers need: C's expect nothing else.
    fn without_safety(text: &str) -> String {
        let mut kept = String::new();
        let mut rest = text;
        while let Some((before, section)) = rest.split_once(" *\n * # Safety\n") {
            kept.push_str(before);
            let end = section.find(" */").expect("a comment ends");
            rest = &section[end..];
        }
        kept + rest
    }
}
