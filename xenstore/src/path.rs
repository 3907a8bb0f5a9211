//! The daemon's rules for paths. They are checked before sending, so that the error can name the rule.

/// The longest absolute path.
const ABSOLUTE_MAX: usize = 3072;
/// The longest path relative to the domain's home.
const RELATIVE_MAX: usize = 2048;

/// Checks the path of a node; the error names the rule.
pub(crate) fn check_node(path: &str) -> Result<(), String> {
    let absolute = path.starts_with('/');
    let (kind, limit) = if absolute { ("an absolute", ABSOLUTE_MAX) } else { ("a relative", RELATIVE_MAX) };
    if path.is_empty() {
        return Err("the path is empty".into());
    }
    if path.len() > limit {
        return Err(format!("the path has {} bytes; {kind} path may have {limit}", path.len()));
    }
    if let Some(bad) = path.chars().find(|&c| !(c.is_ascii_alphanumeric() || "-/_@".contains(c))) {
        return Err(format!("{bad:?} may not stand in a path; letters, digits and -/_@ may"));
    }
    if path.contains("//") {
        return Err("the path has an empty component (//)".into());
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err("the path ends in /".into());
    }
    Ok(())
}

/// Checks the path of a watch. `@releaseDomain` and `@introduceDomain` have the form of relative paths.
pub(crate) fn check_watch(path: &str, token: &str) -> Result<(), String> {
    check_node(path)?;
    if token.contains('\0') {
        return Err("the watch's token contains a NUL".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_paths_pass() {
        for path in ["/", "domid", "/local/domain/0/data/vchan/3/my-port_1", "data/x", "@releaseDomain"] {
            assert_eq!(check_watch(path, "t"), Ok(()), "{path}");
        }
        assert_eq!(check_node(&format!("/{}", "a".repeat(ABSOLUTE_MAX - 1))), Ok(()));
        assert_eq!(check_node(&"a".repeat(RELATIVE_MAX)), Ok(()));
    }

    #[test]
    fn invalid_paths_are_refused() {
        let absolute = format!("/{}", "a".repeat(ABSOLUTE_MAX));
        let relative = "a".repeat(RELATIVE_MAX + 1);
        for path in ["", "/a b", "/a\0b", "/ä", "/a//b", "/a/", "/a.b", "/a:b", "/a\n", &absolute, &relative]
        {
            assert!(check_node(path).is_err(), "{path:?}");
        }
        assert!(check_node("/a.b").unwrap_err().contains("'.'"));
        assert!(check_node(&relative).unwrap_err().contains("2048"));
        assert!(check_watch("/a", "t\0u").is_err());
    }
}
