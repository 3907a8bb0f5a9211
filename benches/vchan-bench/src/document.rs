//! Inserts generated text into a document between markers, and keeps the text around it.

use std::fs;
use std::path::Path;

use crate::Result;

/// Replaces the text between `<!-- bench:begin NAME -->` and `<!-- bench:end NAME -->`.
///
/// Fails if the document has no such markers.
pub fn replace(document: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench:begin {name} -->\n"), format!("<!-- bench:end {name} -->"));
    let missing = || format!("no place for {name:?}: add the lines `{}` and `{end}`", begin.trim_end());
    let start = document.find(&begin).ok_or_else(missing)? + begin.len();
    let stop = start + document[start..].find(&end).ok_or_else(missing)?;
    Ok(format!("{}\n{}\n\n{}", &document[..start], text.trim(), &document[stop..]))
}

/// Replaces several texts in a file: all or none.
pub fn update(path: &Path, blocks: &[(String, String)]) -> Result<()> {
    let context = |error: crate::Error| format!("{}: {error}", path.display());
    let mut document = fs::read_to_string(path).map_err(|error| context(error.into()))?;
    for (name, text) in blocks {
        document = replace(&document, name, text).map_err(context)?;
    }
    fs::write(path, document).map_err(|error| context(error.into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_between_the_markers_changes() {
        let before = "a\n<!-- bench:begin x -->\nold\n<!-- bench:end x -->\nb\n";
        let after = replace(before, "x", "new\ntext\n").unwrap();
        assert_eq!(after, "a\n<!-- bench:begin x -->\n\nnew\ntext\n\n<!-- bench:end x -->\nb\n");
        assert_eq!(replace(&after, "x", "new\ntext").unwrap(), after);
        assert!(replace(before, "y", "").is_err());
        assert!(replace("<!-- bench:begin x -->\n", "x", "").is_err());
    }

    #[test]
    fn missing_markers_leave_the_file_unchanged() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "<!-- bench:begin x -->\n<!-- bench:end x -->\n";
        fs::write(file.path(), text).unwrap();
        let block = |name: &str| (name.to_owned(), "t".to_owned());
        assert!(update(file.path(), &[block("x"), block("y")]).is_err());
        assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
        update(file.path(), &[block("x")]).unwrap();
        assert!(fs::read_to_string(file.path()).unwrap().contains("\nt\n"));
    }
}
