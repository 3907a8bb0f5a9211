//! The words of a command line: which options were given, with which values, and what else.
//!
//! The build in C reads it in the same way, and complains in the same words.

use std::ffi::OsString;

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
    Timeout,
    KeepListening,
    Quiet,
    Verbose,
    Progress,
    Help,
    Version,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// A value, in the same argument or the next one.
    Value(&'static str),
    /// A value after `=`, or none.
    Perhaps(&'static str),
}

/// How an option is written.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Which it is.
    pub key: Key,
    /// Its letter, if it has one.
    pub letter: Option<char>,
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub takes: Takes,
}

const fn known(key: Key, letter: Option<char>, name: &'static str, takes: Takes) -> Known {
    Known { key, letter, name, takes }
}

/// All options, in the order in which the help has them.
pub const KNOWN: [Known; 13] = [
    known(Key::Listen, Some('l'), "listen", Takes::Nothing),
    known(Key::Path, None, "path", Takes::Value("PATH")),
    known(Key::BufferSize, None, "buffer-size", Takes::Value("BYTES")),
    known(Key::RecvOnly, None, "recv-only", Takes::Nothing),
    known(Key::SendOnly, None, "send-only", Takes::Nothing),
    known(Key::Wait, None, "wait", Takes::Perhaps("SECONDS")),
    known(Key::Timeout, None, "timeout", Takes::Value("SECONDS")),
    known(Key::KeepListening, Some('k'), "keep-listening", Takes::Nothing),
    known(Key::Quiet, Some('q'), "quiet", Takes::Nothing),
    known(Key::Verbose, Some('v'), "verbose", Takes::Nothing),
    known(Key::Progress, None, "progress", Takes::Nothing),
    known(Key::Help, Some('h'), "help", Takes::Nothing),
    known(Key::Version, Some('V'), "version", Takes::Nothing),
];

impl Key {
    /// How it is written.
    pub fn name(self) -> &'static str {
        KNOWN[self as usize].name
    }
}

/// A command line, or its beginning up to a wish for help or the version.
#[derive(Debug, Default)]
pub struct Line {
    /// What is neither an option nor its value.
    pub words: Vec<String>,
    /// Which of these follows after a `--wait` without a value.
    pub after_wait: Option<usize>,
    /// Whether help was asked for by its letter.
    pub brief: bool,
    given: Vec<(Key, Option<String>)>,
}

/// What is wrong with a command line.
pub type Complaint = String;

impl Line {
    /// Reads the arguments, without the program's name.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Result<Line, Complaint> {
        let arguments = arguments.enumerate().map(|(number, argument)| {
            argument.into_string().map_err(|_| format!("argument {} is not text in UTF-8", number + 1))
        });
        let arguments = arguments.collect::<Result<Vec<String>, Complaint>>()?;
        let mut line = Line::default();
        let mut rest = arguments.iter().map(String::as_str);
        let mut only_words = false;
        while let Some(argument) = rest.next() {
            let next = rest.clone().next();
            let mut uses_next = false;
            if only_words || !is_option(argument) {
                line.words.push(argument.to_owned());
            } else if argument == "--" {
                only_words = true;
            } else if let Some(name) = argument.strip_prefix("--") {
                uses_next = line.take_name(name, next)?;
            } else {
                uses_next = line.take_letters(&argument[1..], next)?;
            }
            if line.has(Key::Help) || line.has(Key::Version) {
                break;
            }
            if uses_next {
                rest.next();
            }
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

    /// Makes a word the value of an option.
    pub fn make_value(&mut self, key: Key, word: usize) {
        let value = self.words.remove(word);
        self.given.retain(|(other, _)| *other != key);
        self.given.push((key, Some(value)));
    }

    /// Takes `--name` or `--name=value`, and says whether `next` is its value.
    fn take_name(&mut self, text: &str, next: Option<&str>) -> Result<bool, Complaint> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
            return Err(format!("there is no option '--{name}'{}", suggestion(name)));
        };
        if known.key == Key::Wait && value.is_none() && next.is_some_and(|next| !is_option(next)) {
            self.after_wait = Some(self.words.len());
        }
        self.take(known, value, next)
    }

    /// Takes `-abc`, and says whether `next` is the value of the last one.
    fn take_letters(&mut self, letters: &str, next: Option<&str>) -> Result<bool, Complaint> {
        for (at, letter) in letters.char_indices() {
            let Some(known) = KNOWN.iter().find(|known| known.letter == Some(letter)) else {
                return Err(unknown_letter(letters, letter));
            };
            self.brief |= known.key == Key::Help;
            let rest = &letters[at + letter.len_utf8()..];
            match known.takes {
                Takes::Value(_) if !rest.is_empty() => return self.take(known, Some(rest), None),
                Takes::Value(_) => return self.take(known, None, next),
                _ => self.take(known, None, None)?,
            };
        }
        Ok(false)
    }

    fn take(&mut self, known: &Known, value: Option<&str>, next: Option<&str>) -> Result<bool, Complaint> {
        let name = known.name;
        let mut found = value;
        match (known.takes, value) {
            (Takes::Nothing, Some(value)) => {
                return Err(format!("--{name} takes no value, but '{value}' was given"))
            }
            (Takes::Value(what), None) => {
                found = next.filter(|next| !is_option(next));
                if found.is_none() {
                    return Err(format!("--{name} needs a value, {what}"));
                }
            }
            _ => (),
        }
        if self.has(known.key) {
            return Err(format!("--{name} is given twice"));
        }
        self.given.push((known.key, found.map(str::to_owned)));
        Ok(value.is_none() && found.is_some())
    }
}

/// Whether it begins like an option; negative numbers don't.
fn is_option(argument: &str) -> bool {
    let mut bytes = argument.bytes();
    bytes.next() == Some(b'-') && bytes.next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// What to write instead of `--name`.
fn suggestion(name: &str) -> String {
    if KNOWN.iter().any(|known| known.letter.is_some_and(|letter| name.chars().eq([letter]))) {
        return format!("; did you mean '-{name}'?");
    }
    let meant = similar(name, KNOWN.iter().map(|known| known.name));
    meant.map(|meant| format!("; did you mean '--{meant}'?")).unwrap_or_default()
}

fn unknown_letter(letters: &str, letter: char) -> Complaint {
    let alone = letters.chars().count() == 1;
    let meant = if alone { None } else { similar(letters, KNOWN.iter().map(|known| known.name)) };
    if let Some(meant) = meant {
        return format!("there is no option '-{letters}'; did you mean '--{meant}'?");
    }
    let place = if alone { String::new() } else { format!(" in '-{letters}'") };
    let small = letter.to_ascii_lowercase();
    let other = KNOWN.iter().any(|known| known.letter == Some(small));
    let hint = if other { format!("; did you mean '-{small}'?") } else { String::new() };
    format!("there is no option '-{letter}'{place}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_their_numbers_say() {
        for (number, known) in KNOWN.iter().enumerate() {
            assert_eq!(known.key as usize, number, "{}", known.name);
        }
    }

    #[test]
    fn options_and_words_are_told_apart() {
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
