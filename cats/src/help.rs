//! The texts of `-h` and `--help`. The C build uses the same files.

use crate::{size, Tool};

const OPTIONS: &str = include_str!("../help/options.txt");
const MORE: &str = include_str!("../help/more.txt");

/// The help of `tool`, complete or brief.
pub fn help(tool: &dyn Tool, brief: bool) -> String {
    let (about, name) = (tool.about(), tool.name());
    let text = if brief {
        format!("{about}\n{OPTIONS}\nExamples, exit codes and the rest: @ --help\n")
    } else {
        format!("{about}\n{OPTIONS}{}{MORE}", tool.examples())
    };
    text.replace('@', name).replace('%', &size::brief(tool.buffer_size()))
}
