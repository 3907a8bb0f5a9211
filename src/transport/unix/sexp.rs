//! The s-expression in `XEN_CONFIGURATION`: `((ring_ref 0) (event_channel /some/path/0))`.

use crate::transport::Rendezvous;
use crate::{Error, Result};

/// Formats a rendezvous as an s-expression.
pub(super) fn print(rendezvous: &Rendezvous) -> String {
    format!("((ring_ref {}) (event_channel {}))", rendezvous.ring_ref, atom(&rendezvous.event_channel))
}

fn atom(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !b"()\"\\;'`".contains(&b);
    let bytes = text.as_bytes();
    if !text.is_empty() && bytes.iter().all(|&b| plain(b)) && !text.contains("#|") && !text.contains("|#") {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for &b in bytes {
        match b {
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            b'\n' => quoted.push_str("\\n"),
            b'\t' => quoted.push_str("\\t"),
            b'\r' => quoted.push_str("\\r"),
            8 => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(b as char),
            _ => quoted.push_str(&format!("\\{b:03}")),
        }
    }
    quoted + "\""
}

/// Parses such an s-expression: its two fields in any order, atoms plain or quoted.
pub(super) fn parse(text: &str) -> Result<Rendezvous> {
    parse_fields(text).map_err(|why| {
        Error::Invalid(format!("the configuration {text:?} (XEN_CONFIGURATION) is invalid: {why}"))
    })
}

fn parse_fields(text: &str) -> std::result::Result<Rendezvous, String> {
    let mut tokens = Tokenizer { rest: text.as_bytes() };
    let (mut ring_ref, mut event_channel) = (None, None);
    tokens.expect(&Token::Open)?;
    loop {
        match tokens.next()? {
            Token::Close => break,
            Token::Open => {}
            other => return Err(format!("found {}, expected a field `(name value)`", other.describe())),
        }
        let name = tokens.atom("a field's name")?;
        let value = tokens.atom(&format!("the value of {name}"))?;
        tokens.expect(&Token::Close)?;
        let field = match name.as_str() {
            "ring_ref" => &mut ring_ref,
            "event_channel" => &mut event_channel,
            _ => return Err(format!("unknown field {name:?}, expected ring_ref or event_channel")),
        };
        if field.replace(value).is_some() {
            return Err(format!("duplicate field {name}"));
        }
    }
    tokens.expect(&Token::End)?;
    let ring_ref = ring_ref.ok_or("missing field ring_ref")?;
    let event_channel = event_channel.ok_or("missing field event_channel")?;
    let ring_ref = super::grants::number(&ring_ref)
        .ok_or_else(|| format!("ring_ref is {ring_ref:?}, not a grant number"))?;
    if event_channel.is_empty() || event_channel.contains('\0') {
        return Err(format!("event_channel is {event_channel:?}, not a socket's path"));
    }
    Ok(Rendezvous { ring_ref, event_channel })
}

#[derive(Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Atom(String),
    End,
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Token::Open => "`(`".into(),
            Token::Close => "`)`".into(),
            Token::Atom(text) => format!("{text:?}"),
            Token::End => "the end".into(),
        }
    }
}

struct Tokenizer<'a> {
    rest: &'a [u8],
}

impl Tokenizer<'_> {
    fn expect(&mut self, expected: &Token) -> std::result::Result<(), String> {
        let found = self.next()?;
        if found == *expected {
            return Ok(());
        }
        Err(format!("found {}, expected {}", found.describe(), expected.describe()))
    }

    fn atom(&mut self, what: &str) -> std::result::Result<String, String> {
        match self.next()? {
            Token::Atom(text) => Ok(text),
            other => Err(format!("found {}, expected {what}", other.describe())),
        }
    }

    fn next(&mut self) -> std::result::Result<Token, String> {
        loop {
            match self.rest {
                [] => return Ok(Token::End),
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0c, rest @ ..] => self.rest = rest,
                [b';', ..] => self.skip(|&b| b != b'\n'),
                _ => break,
            }
        }
        let first = self.rest[0];
        if first == b'(' || first == b')' {
            self.rest = &self.rest[1..];
            return Ok(if first == b'(' { Token::Open } else { Token::Close });
        }
        let bytes = if first == b'"' { self.quoted()? } else { self.plain() };
        String::from_utf8(bytes).map(Token::Atom).map_err(|_| "a value is not UTF-8".into())
    }

    fn skip(&mut self, while_true: impl Fn(&u8) -> bool) {
        let end = self.rest.iter().position(|b| !while_true(b)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn plain(&mut self) -> Vec<u8> {
        let whole = self.rest;
        self.skip(|b| !b" \t\n\r\x0c();\"".contains(b));
        whole[..whole.len() - self.rest.len()].to_vec()
    }

    fn quoted(&mut self) -> std::result::Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            match self.rest {
                [] => return Err("unterminated quoted value".into()),
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(bytes);
                }
                [b'\\', rest @ ..] => {
                    self.rest = rest;
                    self.escape(&mut bytes)?;
                }
                [b, rest @ ..] => {
                    bytes.push(*b);
                    self.rest = rest;
                }
            }
        }
    }

    /// Parses what follows a backslash. An unknown escape stands for itself, as in OCaml.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> std::result::Result<(), String> {
        let (byte, length) = match *self.rest {
            [] => return Err("unterminated quoted value".into()),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'b', ..] => (8, 1),
            [b @ (b'\\' | b'"' | b'\'' | b' '), ..] => (b, 1),
            [b'\n', ..] | [b'\r', b'\n', ..] => {
                // A continued line: the indentation of the next one is skipped.
                self.skip(|b| b"\r\n".contains(b));
                self.skip(|b| b" \t".contains(b));
                return Ok(());
            }
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (number_in(&[high, low], 16)?, 3)
            }
            [a, b, c, ..] if [a, b, c].iter().all(u8::is_ascii_digit) => (number_in(&[a, b, c], 10)?, 3),
            _ => (b'\\', 0),
        };
        bytes.push(byte);
        self.rest = &self.rest[length..];
        Ok(())
    }
}

fn number_in(digits: &[u8], radix: u32) -> std::result::Result<u8, String> {
    let text = String::from_utf8_lossy(digits);
    u8::from_str_radix(&text, radix).map_err(|_| format!("the escape \\{text} is not a byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendezvous(ring_ref: u32, event_channel: &str) -> Rendezvous {
        Rendezvous { ring_ref, event_channel: event_channel.into() }
    }

    #[test]
    fn historical_form_round_trips() {
        let text = "((ring_ref 0) (event_channel /tmp/unixcat.12.0/0))";
        assert_eq!(print(&rendezvous(0, "/tmp/unixcat.12.0/0")), text);
        assert_eq!(parse(text).unwrap(), rendezvous(0, "/tmp/unixcat.12.0/0"));
    }

    #[test]
    fn other_spellings_are_parsed() {
        for text in [
            "((event_channel /a/0)(ring_ref 7))",
            "(\n ( ring_ref 7 ) ; comment\r\n\t(event_channel \"/a/0\"))\n",
            "((\"ring_ref\" \"7\") (\"event_\\\n    channel\" \"\\047\\x61/\\048\"))",
        ] {
            assert_eq!(parse(text).unwrap(), rendezvous(7, "/a/0"), "{text}");
        }
        let escapes = r#"((ring_ref 7) (event_channel "\\\"\n\t\b\r\ \'\q\195\169\x0a\9"))"#;
        assert_eq!(parse(escapes).unwrap().event_channel, "\\\"\n\t\u{8}\r '\\qé\n\\9");
    }

    #[test]
    fn any_path_round_trips() {
        let all_ascii: String = (1..=127u8).map(char::from).collect();
        for path in ["/a b", "/$HOME`x`", "/\"\\", "/(;)", "/é\u{1f600}", "/#|x|#", "/x\ny", &all_ascii] {
            let printed = print(&rendezvous(1, path));
            assert_eq!(parse(&printed).unwrap(), rendezvous(1, path), "{printed}");
            assert!(printed.bytes().all(|b| (b' '..=b'~').contains(&b)), "{printed:?}");
        }
    }

    #[test]
    fn errors_name_the_mistake() {
        for (text, why) in [
            ("", "found the end, expected `(`"),
            ("()", "missing field ring_ref"),
            ("((ring_ref 0))", "missing field event_channel"),
            ("((ring_ref 0) (ring_ref 0) (event_channel /a))", "duplicate field ring_ref"),
            ("((ring_ref -1) (event_channel /a))", "not a grant number"),
            ("((ring_ref 4294967296) (event_channel /a))", "not a grant number"),
            ("((ring_ref 0) (event_channel \"\"))", "not a socket's path"),
            ("((ring_ref 0) (event_channel \"\\000\"))", "not a socket's path"),
            ("((ring_ref 0) (event_channel /a) (more 1))", "\"more\""),
            ("((ring_ref 0 0) (event_channel /a))", "found \"0\", expected `)`"),
            ("((ring_ref) (event_channel /a))", "found `)`, expected the value of ring_ref"),
            ("(ring_ref 0)", "found \"ring_ref\", expected a field"),
            ("((ring_ref 0) (event_channel /a)", "found the end, expected a field"),
            ("((ring_ref 0) (event_channel /a)) x", "found \"x\", expected the end"),
            ("((ring_ref 0) (event_channel \"/a))", "unterminated"),
            ("((ring_ref 0) (event_channel \"\\", "unterminated"),
            ("((ring_ref 0) (event_channel \"\\256\"))", "\\256 is not a byte"),
            ("((ring_ref 0) (event_channel \"\\255\"))", "not UTF-8"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
            assert!(error.contains("XEN_CONFIGURATION"));
        }
        let deep = "(".repeat(1_000_000);
        assert!(parse(&deep).is_err());
    }
}
