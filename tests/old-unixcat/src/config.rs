//! The configuration: one s-expression in an environment variable.

use std::iter::Peekable;
use std::str::Chars;

const VARIABLE: &str = "XEN_CONFIGURATION";

/// Longest line that the historical pretty printer leaves unbroken.
const LINE_WIDTH: usize = 77;

/// What a client must know to find its server.
#[derive(Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The grant reference of the shared page, decimal.
    pub ring_ref: String,
    /// The path of the listening socket.
    pub event_channel: String,
}

impl Configuration {
    /// Reads it from the environment.
    pub fn from_environment() -> Result<Configuration, String> {
        match std::env::var(VARIABLE) {
            Ok(text) => Configuration::parse(&text),
            Err(e) => Err(format!("reading {VARIABLE}: {e}; export the line that the server printed")),
        }
    }

    /// Prints the line that a user pastes into the client's terminal.
    pub fn announce(&self) {
        eprintln!("{VARIABLE}=\"{}\"; export {VARIABLE}", escaped(&self.pretty()));
    }

    /// The s-expression. A long one is broken in two, which the escaping then makes unreadable.
    fn pretty(&self) -> String {
        let first = format!("((ring_ref {})", quoted(&self.ring_ref));
        let second = format!("(event_channel {}))", quoted(&self.event_channel));
        let between = if first.len() + 1 + second.len() > LINE_WIDTH { "\n " } else { " " };
        format!("{first}{between}{second}")
    }

    fn parse(text: &str) -> Result<Configuration, String> {
        let bad = |why: &str| format!("{VARIABLE} is not a configuration ({why}): {text}");
        let mut chars = text.chars().peekable();
        let Some(Sexp::List(fields)) = expression(&mut chars) else {
            return Err(bad("no list"));
        };
        if next_visible(&mut chars).is_some() {
            return Err(bad("text after the list"));
        }
        let (mut ring_ref, mut event_channel) = (None, None);
        for field in fields {
            let Sexp::List(pair) = field else { return Err(bad("a field that is no pair")) };
            let [Sexp::Atom(name), Sexp::Atom(value)] = pair.as_slice() else {
                return Err(bad("a field that is no pair"));
            };
            let slot = match name.as_str() {
                "ring_ref" => &mut ring_ref,
                "event_channel" => &mut event_channel,
                _ => return Err(bad("an unknown field")),
            };
            if slot.replace(value.clone()).is_some() {
                return Err(bad("a field given twice"));
            }
        }
        match (ring_ref, event_channel) {
            (Some(ring_ref), Some(event_channel)) => Ok(Configuration { ring_ref, event_channel }),
            _ => Err(bad("a field is missing")),
        }
    }
}

enum Sexp {
    Atom(String),
    List(Vec<Sexp>),
}

fn next_visible(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
    chars.peek().copied()
}

fn expression(chars: &mut Peekable<Chars<'_>>) -> Option<Sexp> {
    match next_visible(chars)? {
        ')' => None,
        '"' => quoted_atom(chars).map(Sexp::Atom),
        '(' => {
            chars.next();
            let mut items = Vec::new();
            while next_visible(chars)? != ')' {
                items.push(expression(chars)?);
            }
            chars.next();
            Some(Sexp::List(items))
        }
        _ => {
            let mut atom = String::new();
            while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace() && !"()\"".contains(*c)) {
                atom.push(c);
            }
            Some(Sexp::Atom(atom))
        }
    }
}

fn quoted_atom(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    chars.next();
    let mut atom = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(atom),
            '\\' => atom.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c => c,
            }),
            c => atom.push(c),
        }
    }
}

fn quoted(atom: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !"()\";\\".contains(c);
    if !atom.is_empty() && atom.chars().all(plain) {
        atom.to_string()
    } else {
        format!("\"{}\"", escaped(atom))
    }
}

/// Backslash escapes as in an OCaml string. A shell does not undo them all.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(event_channel: &str) -> Configuration {
        Configuration { ring_ref: "0".into(), event_channel: event_channel.into() }
    }

    #[test]
    fn configuration_round_trips() {
        for path in ["/tmp/unixcat.1.0/0", "/a b/0", "/a\"b\\c/(0)"] {
            let wanted = configuration(path);
            assert_eq!(Configuration::parse(&wanted.pretty()).unwrap(), wanted);
        }
    }

    #[test]
    fn order_quotes_and_blanks_are_free() {
        let text = " (\n(\"event_channel\" \"/x y\") ( ring_ref \"7\" ) ) ";
        let read = Configuration::parse(text).unwrap();
        assert_eq!(read, Configuration { ring_ref: "7".into(), event_channel: "/x y".into() });
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "ring_ref",
            "((ring_ref 0))",
            "((ring_ref 0) (event_channel /x)",
            "((ring_ref 0) (event_channel /x)) more",
            "((ring_ref 0) (event_channel /x) (extra 1))",
            "((ring_ref 0) (ring_ref 0) (event_channel /x))",
            "((ring_ref 0 1) (event_channel /x))",
            "((ring_ref 0) (event_channel \"/x))",
        ] {
            assert!(Configuration::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn line_is_broken_from_a_root_of_45_characters_on() {
        let path = |root: usize| format!("/{}/0", "r".repeat(root - 1));
        assert_eq!(
            escaped(&configuration("/tmp/u.1.0/0").pretty()),
            "((ring_ref 0) (event_channel /tmp/u.1.0/0))"
        );
        assert!(!configuration(&path(44)).pretty().contains('\n'));
        let broken = escaped(&configuration(&path(45)).pretty());
        assert!(broken.starts_with("((ring_ref 0)\\n (event_channel /"), "{broken}");
        assert!(Configuration::parse(&broken).is_err());
    }
}
