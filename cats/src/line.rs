//! Splits a command line into options, their values and words.
//!
//! The C build parses identically, with the same error texts.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::similar::similar;

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Key {
    Listen,
    Path,
    BufferSize,
    RecvOnly,
    SendOnly,
    Wait,
    Linger,
    Timeout,
    KeepListening,
    Quiet,
    Verbose,
    Progress,
    Help,
    Version,
}

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// A required value, in the same argument or the next one.
    Value(&'static str),
    /// An optional value, only after `=`.
    Perhaps(&'static str),
}

/// The definition of an option.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its key.
    pub key: Key,
    /// The short form.
    pub letter: Option<char>,
    /// The long form, without dashes.
    pub name: &'static str,
    /// Its value.
    pub takes: Takes,
}

const fn known(key: Key, letter: Option<char>, name: &'static str, takes: Takes) -> Known {
    Known { key, letter, name, takes }
}

/// All options, in the order of the help.
pub const KNOWN: [Known; 14] = [
    known(Key::Listen, Some('l'), "listen", Takes::Nothing),
    known(Key::Path, None, "path", Takes::Value("PATH")),
    known(Key::BufferSize, None, "buffer-size", Takes::Value("BYTES")),
    known(Key::RecvOnly, None, "recv-only", Takes::Nothing),
    known(Key::SendOnly, None, "send-only", Takes::Nothing),
    known(Key::Wait, None, "wait", Takes::Perhaps("SECONDS")),
    known(Key::Linger, Some('q'), "linger", Takes::Value("SECONDS")),
    known(Key::Timeout, None, "timeout", Takes::Value("SECONDS")),
    known(Key::KeepListening, Some('k'), "keep-listening", Takes::Nothing),
    known(Key::Quiet, None, "quiet", Takes::Nothing),
    known(Key::Verbose, Some('v'), "verbose", Takes::Nothing),
    known(Key::Progress, None, "progress", Takes::Nothing),
    known(Key::Help, Some('h'), "help", Takes::Nothing),
    known(Key::Version, Some('V'), "version", Takes::Nothing),
];

impl Key {
    /// The long form, without dashes.
    pub fn name(self) -> &'static str {
        KNOWN[self as usize].name
    }
}

/// A parsed command line, or its beginning up to a help or version option.
#[derive(Debug, Default)]
pub struct Line {
    /// Positional arguments.
    pub words: Vec<String>,
    /// Index of the word that follows `--wait` without a value.
    pub after_wait: Option<usize>,
    /// Whether help was requested by `-h`.
    pub brief: bool,
    given: Vec<(Key, Option<String>)>,
}

/// An error text about the command line.
pub type UsageError = String;

impl Line {
    /// Parses the arguments, without the program name.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Result<Line, UsageError> {
        let arguments = arguments.enumerate().map(|(number, argument)| {
            argument.into_string().map_err(|_| format!("argument {} is not valid UTF-8", number + 1))
        });
        let arguments = arguments.collect::<Result<Vec<String>, UsageError>>()?;
        let mut matches =
            match parser().try_get_matches_from(arguments.iter().map(|argument| marked(argument))) {
                Ok(matches) => matches,
                Err(error) => return request_or_error(&error, &arguments),
            };
        let places: Vec<usize> = matches.indices_of(WORDS).into_iter().flatten().collect();
        let wait = matches.index_of(Key::Wait.name());
        let words: Vec<String> = matches.remove_many(WORDS).into_iter().flatten().map(unmarked).collect();
        let mut line = Line { words, ..Line::default() };
        for known in &KNOWN {
            match known.takes {
                _ if [Key::Help, Key::Version].contains(&known.key) => (),
                Takes::Nothing if matches.get_flag(known.name) => line.given.push((known.key, None)),
                Takes::Value(_) | Takes::Perhaps(_) => {
                    let value = matches.remove_one::<String>(known.name);
                    line.given
                        .extend(value.map(|value| (known.key, (value != NO_VALUE).then(|| unmarked(value)))));
                }
                Takes::Nothing => (),
            }
        }
        let mut options = arguments.iter().take_while(|argument| *argument != "--");
        let bare = options.position(|argument| argument == "--wait");
        if bare.is_some_and(|at| arguments.get(at + 1).is_some_and(|next| !is_option(next))) {
            line.after_wait = places.iter().position(|word| Some(*word) > wait);
        }
        Ok(line)
    }

    /// Whether an option was given.
    pub fn has(&self, key: Key) -> bool {
        self.given.iter().any(|(other, _)| *other == key)
    }

    /// The value of an option.
    pub fn value(&self, key: Key) -> Option<&str> {
        self.given.iter().find(|(other, _)| *other == key).and_then(|(_, value)| value.as_deref())
    }

    /// Moves a word to the value of an option.
    pub fn make_value(&mut self, key: Key, word: usize) {
        let value = self.words.remove(word);
        self.given.retain(|(other, _)| *other != key);
        self.given.push((key, Some(value)));
    }
}

/// The parser's ID of the positional arguments.
const WORDS: &str = "words";

/// A character that no argument contains.
const MARK: char = '\0';

/// The parser's value for a bare `--wait`.
const NO_VALUE: &str = "\0none";

/// Marks negative numbers and the like, which are words or values; the parser would take them for short
/// options.
fn marked(argument: &str) -> String {
    match argument.starts_with('-') && argument != "-" && !is_option(argument) {
        true => format!("{MARK}{argument}"),
        false => argument.to_owned(),
    }
}

fn unmarked(text: String) -> String {
    text.strip_prefix(MARK).map(str::to_owned).unwrap_or(text)
}

fn parser() -> Command {
    let option = |known: &Known| {
        let arg = Arg::new(known.name).long(known.name);
        let arg = known.letter.map_or(arg.clone(), |letter| arg.short(letter));
        match (known.key, known.takes) {
            (Key::Help, _) => arg.action(ArgAction::Help),
            (Key::Version, _) => arg.action(ArgAction::Version),
            (_, Takes::Nothing) => arg.action(ArgAction::SetTrue),
            (_, Takes::Value(_)) => arg.num_args(1),
            (_, Takes::Perhaps(_)) => {
                arg.num_args(0..=1).require_equals(true).default_missing_value(NO_VALUE)
            }
        }
    };
    Command::new(WORDS)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .version("")
        // Distinguishes -h from --help, see `request_or_error`.
        .help_template("{before-help}")
        .before_help(BRIEF)
        .before_long_help(ALL)
        .args(KNOWN.iter().map(option))
        .arg(Arg::new(WORDS).num_args(0..))
}

const BRIEF: &str = "brief";
const ALL: &str = "all";

/// Converts the parser's error into a help or version request, or into an error text.
fn request_or_error(error: &clap::Error, arguments: &[String]) -> Result<Line, UsageError> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    // For example "--timeout <SECONDS>".
    let name = text(ContextKind::InvalidArg);
    let name = match name.starts_with("--") {
        true => name.split([' ', '=', '[']).next().unwrap_or_default(),
        false => name,
    };
    let known = KNOWN.iter().find(|known| name.strip_prefix("--") == Some(known.name));
    let takes = known.map_or(Takes::Nothing, |known| known.takes);
    // The parser reports an error of the next option before the missing value of the previous one.
    let stopped_at = arguments.iter().position(|argument| match name.starts_with("--") {
        true => argument.split('=').next() == Some(name),
        false => is_letters(argument) && name.chars().nth(1).is_some_and(|letter| argument.contains(letter)),
    });
    for pair in arguments.windows(2).take(stopped_at.unwrap_or_default()) {
        if let (Some(known), true) = (at_end_of(&pair[0]), is_option(&pair[1])) {
            if let Takes::Value(what) = known.takes {
                return Err(format!("--{} needs a value, {what}", known.name));
            }
        }
    }
    Err(match (error.kind(), takes) {
        (ErrorKind::DisplayHelp, _) => {
            let brief = error.render().to_string().starts_with(BRIEF);
            return Ok(Line { brief, given: vec![(Key::Help, None)], ..Line::default() });
        }
        (ErrorKind::DisplayVersion, _) => {
            return Ok(Line { given: vec![(Key::Version, None)], ..Line::default() });
        }
        (ErrorKind::ArgumentConflict, _) => format!("{name} is given twice"),
        (ErrorKind::TooManyValues, _) => {
            format!(
                "{name} takes no value, but '{}' was given",
                unmarked(text(ContextKind::InvalidValue).to_owned())
            )
        }
        (ErrorKind::UnknownArgument, _) => match name.strip_prefix("--") {
            Some(name) => format!("unknown option '--{name}'{}", suggestion(name)),
            None => unknown_letter(arguments, name.chars().nth(1).unwrap_or('-')),
        },
        (_, Takes::Value(what) | Takes::Perhaps(what)) => format!("{name} needs a value, {what}"),
        _ => error.to_string(),
    })
}

/// The option whose value is the next argument, if it takes one: a long one, or the last of a group of short ones.
fn at_end_of(argument: &str) -> Option<&'static Known> {
    if let Some(name) = argument.strip_prefix("--") {
        return KNOWN.iter().find(|known| known.name == name);
    }
    let group = argument.strip_prefix('-').filter(|_| is_letters(argument))?;
    let by_letter = |letter| KNOWN.iter().find(|known| known.letter == Some(letter));
    let rest =
        group.find(|letter| by_letter(letter).is_some_and(|known| matches!(known.takes, Takes::Value(_))))?;
    let mut rest = group[rest..].chars();
    rest.next().and_then(by_letter).filter(|_| rest.next().is_none())
}

/// Whether it begins like an option; negative numbers don't.
fn is_option(argument: &str) -> bool {
    let mut bytes = argument.bytes();
    bytes.next() == Some(b'-') && bytes.next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Whether it is a group of short options.
fn is_letters(argument: &str) -> bool {
    is_option(argument) && !argument.starts_with("--")
}

/// A suggestion for `--name`.
fn suggestion(name: &str) -> String {
    if KNOWN.iter().any(|known| known.letter.is_some_and(|letter| name.chars().eq([letter]))) {
        return format!("; did you mean '-{name}'?");
    }
    let meant = similar(name, KNOWN.iter().map(|known| known.name));
    meant.map(|meant| format!("; did you mean '--{meant}'?")).unwrap_or_default()
}

/// No option has this letter, so the first argument that contains it is wrong.
fn unknown_letter(arguments: &[String], letter: char) -> UsageError {
    let letters =
        |argument: &&String| is_option(argument) && !argument.starts_with("--") && argument.contains(letter);
    let letters = arguments.iter().find(letters).map_or("", |argument| &argument[1..]);
    let alone = letters.chars().count() == 1;
    let meant = if alone { None } else { similar(letters, KNOWN.iter().map(|known| known.name)) };
    if let Some(meant) = meant {
        return format!("unknown option '-{letters}'; did you mean '--{meant}'?");
    }
    let place = if alone { String::new() } else { format!(" in '-{letters}'") };
    let small = letter.to_ascii_lowercase();
    let other = KNOWN.iter().any(|known| known.letter == Some(small));
    let hint = if other { format!("; did you mean '-{small}'?") } else { String::new() };
    format!("unknown option '-{letter}'{place}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_index_known() {
        for (number, known) in KNOWN.iter().enumerate() {
            assert_eq!(known.key as usize, number, "{}", known.name);
        }
    }

    #[test]
    fn options_and_words_are_distinguished() {
        let read = |line: &str| Line::read(line.split(' ').map(OsString::from)).unwrap();
        let line = read("-lv 0 --path -5 - -1 --wait 7 -- --listen");
        assert_eq!(line.words, ["0", "-", "-1", "7", "--listen"]);
        assert!(line.has(Key::Listen) && line.has(Key::Verbose) && !line.has(Key::Quiet));
        assert_eq!((line.value(Key::Path), line.value(Key::Wait)), (Some("-5"), None));
        assert_eq!(line.after_wait, Some(3));
        assert_eq!(read("--wait -- 7").after_wait, None);
        assert!(read("-h --nonsense").brief && !read("--help").brief);
    }
}
