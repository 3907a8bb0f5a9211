//! `xencat`: see `vchan_cats`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vchan_cats::run(&vchan_cats::XENCAT)
}
