//! Output on standard error. Write errors are ignored.

use std::fmt::Display;
use std::io::{stderr, Write};

use crate::failure::{one_line, Failure};

/// Standard error with its verbosity.
pub struct Report {
    name: &'static str,
    quiet: bool,
    verbose: bool,
}

impl Report {
    /// For the tool called `name`.
    pub fn new(name: &'static str, quiet: bool, verbose: bool) -> Report {
        Report { name, quiet, verbose }
    }

    /// A line for scripts, printed unmodified.
    pub fn line(&self, line: impl Display) {
        if !self.quiet {
            say(format!("{line}\n"));
        }
    }

    /// A line for `--verbose`.
    pub fn detail(&self, detail: impl Display) {
        if self.verbose {
            say(format!("{}: {detail}\n", self.name));
        }
    }

    /// A warning.
    pub fn warning(&self, warning: impl Display) {
        self.note(format_args!("warning: {warning}"));
    }

    /// A line omitted by `--quiet`.
    pub fn note(&self, note: impl Display) {
        if !self.quiet {
            say(format!("{}: {}\n", self.name, one_line(&note.to_string())));
        }
    }

    /// The failure that ends the tool.
    pub fn failure(&self, failure: &Failure) {
        say(format!("{}: {failure}\n", self.name));
    }
}

/// One write per line, so that lines of several processes don't mix.
fn say(line: String) {
    let _ = stderr().write_all(line.as_bytes());
}
