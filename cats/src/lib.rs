//! The implementation of the tools: connects standard input and output to those of a peer over a vchan.
//!
//! The tools differ only in their name and in how server and client meet ([`meet`]). The rest is shared:
//! command line → meeting → two pumps ([`pump`]) → end of the conversation ([`ending`]).

pub mod cli;
pub mod ending;
pub mod failure;
pub mod help;
pub mod line;
pub mod meet;
pub mod meter;
mod notice;
pub mod progress;
pub mod pump;
pub mod report;
pub mod signals;
mod similar;
pub mod size;
pub mod standard;
mod talk;
pub mod told;

use std::ffi::OsString;
use std::process::ExitCode;

use nix::errno::Errno;

pub use meet::{Tool, UNIXCAT, XENCAT};

/// Runs a tool with the arguments of this process and returns the exit code.
pub fn run(tool: &dyn Tool) -> ExitCode {
    run_with(tool, std::env::args_os())
}

fn run_with(tool: &dyn Tool, args: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match cli::parse(tool, args) {
        Ok(options) => options,
        // Help or the version with standard output closed.
        Err(failure::Exit::Done) if standard::output().is_err() => {
            let failure = failure::Failure::stream("standard output", Errno::EBADF);
            report::Report::new(tool.name(), false, false).failure(&failure);
            return failure.exit.into();
        }
        Err(exit) => return exit.into(),
    };
    let report = report::Report::new(tool.name(), options.quiet, options.verbose);
    match talk::talk(tool, &options, &report) {
        Ok(()) => failure::Exit::Done.into(),
        Err(failure) => {
            report.failure(&failure);
            failure.exit.into()
        }
    }
}
