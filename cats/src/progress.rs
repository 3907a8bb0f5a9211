//! The progress line, for people at a terminal.

use std::io::{stderr, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::meter::Meter;
use crate::size::human;

/// A line on standard error that changes, or nothing.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows something only if it was asked for and standard error is a terminal.
    pub fn new(wanted: bool) -> Progress {
        if !wanted || !stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg}, {binary_bytes_per_sec} [{elapsed_precise}]");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Progress(Some(bar))
    }

    /// Whether it wants to be told regularly.
    pub fn shows(&self) -> bool {
        self.0.is_some()
    }

    /// Shows what has moved.
    pub fn show(&self, meter: &Meter) {
        if let Some(bar) = &self.0 {
            let (sent, received) = meter.counts();
            bar.set_message(format!("sent {}, received {}", human(sent), human(received)));
            bar.set_position(sent + received);
        }
    }

    /// Leaves the last state of the line on the terminal.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.abandon();
        }
    }
}
