//! Suggestions for misspelt options.

/// The longest name compared.
const LONGEST: usize = 24;

/// The name that `given` is a prefix of, or differs from by at most one slip per three letters, two in all.
pub fn similar(given: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let given: Vec<u8> = given.bytes().map(plain).collect();
    if given.is_empty() || given.len() > LONGEST {
        return None;
    }
    let slips = |name: &&str| match name.as_bytes().starts_with(&given) {
        true => 0,
        false => distance(&given, name.as_bytes()),
    };
    let close =
        names.map(|name| (slips(&name), name)).filter(|(slips, _)| *slips <= 2 && 3 * slips <= given.len());
    close.min_by_key(|(slips, _)| *slips).map(|(_, name)| name)
}

fn plain(byte: u8) -> u8 {
    match byte {
        b'_' => b'-',
        _ => byte.to_ascii_lowercase(),
    }
}

/// Edit distance: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = [[0; LONGEST + 1]; LONGEST + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let shifted = 1 + rows[i - 1][j].min(rows[i][j - 1]);
                let swaps = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swapped = if swaps { 1 + rows[i - 2][j - 2] } else { usize::MAX };
                replaced.min(shifted).min(swapped)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, slips) in [
            ("", "", 0),
            ("", "abc", 3),
            ("wiat", "wait", 1),
            ("wat", "wait", 1),
            ("waiit", "wait", 1),
            ("x", "wait", 4),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), slips, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), slips, "{b} {a}");
        }
    }

    #[test]
    fn similar_names_are_found() {
        let find = |given| similar(given, ["path", "wait", "verbose", "version"].into_iter());
        assert_eq!(find("VERBOSE"), Some("verbose"));
        assert_eq!(find("vresion"), Some("version"));
        assert_eq!(find("ver"), Some("verbose"));
        assert_eq!(find("vresoin"), Some("version"));
        assert_eq!((find(""), find("tail"), find("path-that-is-longer-than-any")), (None, None, None));
    }
}
