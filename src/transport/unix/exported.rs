//! The shell commands by which a server tells its client where it is.

use super::sexp;
use crate::transport::Rendezvous;
use crate::{Error, Result};
use std::path::Path;

/// The two lines that a server prints for a Bourne shell, as the historical `unixcat` does: the first one
/// sets `XEN_ROOT` (omitted if `root` is `None`, because the user has set it), the second one
/// `XEN_CONFIGURATION`. They are quoted where necessary.
///
/// ```
/// # use std::path::Path;
/// # use vchan::transport::{unix, Rendezvous};
/// let rendezvous = Rendezvous { ring_ref: 0, event_channel: "/tmp/u/0".into() };
/// let (root, configuration) = unix::export_lines(Some(Path::new("/tmp/u")), &rendezvous)?;
/// assert_eq!(root.as_deref(), Some("XEN_ROOT=/tmp/u; export XEN_ROOT;"));
/// assert_eq!(
///     configuration,
///     r#"XEN_CONFIGURATION="((ring_ref 0) (event_channel /tmp/u/0))"; export XEN_CONFIGURATION"#
/// );
/// # Ok::<(), vchan::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Invalid`] for a path that isn't UTF-8 or contains what no such line can hold.
pub fn export_lines(root: Option<&Path>, rendezvous: &Rendezvous) -> Result<(Option<String>, String)> {
    let root = match root {
        Some(path) => {
            let path = path.to_str().ok_or_else(|| not_utf8(path))?;
            let value = if is_word(path) { path.to_owned() } else { quote(path) };
            Some(format!("XEN_ROOT={value}; export XEN_ROOT;"))
        }
        None => None,
    };
    let configuration = sexp::print(rendezvous);
    let quoted = if configuration.split([' ', '(', ')']).all(|part| part.is_empty() || is_word(part)) {
        format!("\"{configuration}\"")
    } else {
        quote(&configuration)
    };
    Ok((root, format!("XEN_CONFIGURATION={quoted}; export XEN_CONFIGURATION")))
}

pub(super) fn not_utf8(path: &Path) -> Error {
    Error::Invalid(format!("the path {path:?} is not UTF-8; choose another root with XEN_ROOT"))
}

/// Whether a shell leaves the text unchanged, also between double quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(&b))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    /// The variables as a program sees them in a shell that has run the lines.
    fn through_a_shell(lines: &str) -> (String, String) {
        let script = r#"eval "$1"; sh -c 'printf "%s\0%s" "$XEN_ROOT" "$XEN_CONFIGURATION"'"#;
        let output = Command::new("sh")
            .args(["-c", script, "sh", lines])
            .env_remove("XEN_ROOT")
            .env_remove("XEN_CONFIGURATION")
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (root, configuration) = text.split_once('\0').unwrap();
        (root.to_owned(), configuration.to_owned())
    }

    #[test]
    fn lines_survive_a_shell_with_any_path() {
        let all_ascii: String = (1..=127u8).map(char::from).collect();
        let long = "x".repeat(1000);
        for name in
            ["plain", "a b", "$HOME", "`id`", "q'q\"q", "(a)", "new\nline", "é", "!", "~", &all_ascii, &long]
        {
            let root = format!("/tmp/{name}");
            let rendezvous = Rendezvous { ring_ref: 3, event_channel: format!("{root}/0") };
            let (first, second) = export_lines(Some(Path::new(&root)), &rendezvous).unwrap();
            assert_eq!(second.lines().count(), 1);
            let (root_after, configuration) = through_a_shell(&format!("{}\n{second}", first.unwrap()));
            assert_eq!(root_after, root);
            assert_eq!(sexp::parse(&configuration).unwrap(), rendezvous, "{configuration}");
        }
    }

    #[test]
    fn explicit_root_is_not_exported() {
        let rendezvous = Rendezvous { ring_ref: 0, event_channel: "/r/0".into() };
        assert_eq!(export_lines(None, &rendezvous).unwrap().0, None);
    }

    #[test]
    fn non_utf8_path_is_refused() {
        let rendezvous = Rendezvous { ring_ref: 0, event_channel: "/r/0".into() };
        let path = Path::new(OsStr::from_bytes(b"/\xff"));
        assert!(matches!(export_lines(Some(path), &rendezvous), Err(Error::Invalid(_))));
    }
}
