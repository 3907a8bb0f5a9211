//! Exports the program's own `send` to the libraries that it loads, see `src/count.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=send");
}
