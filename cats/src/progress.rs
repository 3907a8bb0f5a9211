//! The progress line on a terminal.

use std::io::{stderr, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::meter::Meter;
use crate::size::human;

/// A progress line on standard error, or nothing.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Enabled only if requested and standard error is a terminal.
    pub fn new(wanted: bool) -> Progress {
        if !wanted || !stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg}, {binary_bytes_per_sec} [{elapsed_precise}]");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Progress(Some(bar))
    }

    /// Whether the line needs regular updates.
    pub fn shows(&self) -> bool {
        self.0.is_some()
    }

    /// Updates the line.
    pub fn show(&self, meter: &Meter) {
        if let Some(bar) = &self.0 {
            let (sent, received) = meter.counts();
            bar.set_message(format!("sent {}, received {}", human(sent), human(received)));
            bar.set_position(sent + received);
        }
    }

    /// Leaves the final state on the terminal.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.abandon();
        }
    }
}
