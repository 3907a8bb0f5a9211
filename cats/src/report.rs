//! What goes to standard error. That it can't be written is no reason to fail, so such errors are passed over.

use std::fmt::Display;
use std::io::{stderr, Write};

use crate::failure::{one_line, Failure};

/// Standard error, with as many words as the user asked for.
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

    /// A line which scripts wait for or evaluate: as it is.
    pub fn line(&self, line: impl Display) {
        if !self.quiet {
            say(format!("{line}\n"));
        }
    }

    /// A line for people who want to know more.
    pub fn detail(&self, detail: impl Display) {
        if self.verbose {
            say(format!("{}: {detail}\n", self.name));
        }
    }

    /// A line for people who may have meant something else.
    pub fn warning(&self, warning: impl Display) {
        self.note(format_args!("warning: {warning}"));
    }

    /// A line that `--quiet` leaves out.
    pub fn note(&self, note: impl Display) {
        if !self.quiet {
            say(format!("{}: {}\n", self.name, one_line(&note.to_string())));
        }
    }

    /// Why it failed.
    pub fn failure(&self, failure: &Failure) {
        say(format!("{}: {failure}\n", self.name));
    }
}

/// Writes the whole line at once, so that lines of several processes don't mix.
fn say(line: String) {
    let _ = stderr().write_all(line.as_bytes());
}
