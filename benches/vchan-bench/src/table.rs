//! Markdown tables.

use crate::stats::Summary;

/// A table: a head, and rows with the same number of cells.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, unless all cells after the first `labels` are empty. Missing cells are a dash.
    pub fn row(&mut self, labels: &[&str], cells: Vec<Option<String>>) {
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".into()));
            self.rows.push(labels.iter().map(|&label| label.to_owned()).chain(cells).collect());
        }
    }

    /// As Markdown; nothing without rows. The first column is left-aligned, the others right-aligned.
    pub fn markdown(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<&str> = (0..self.head.len()).map(|n| if n == 0 { ":--" } else { "--:" }).collect();
        let mut text = line(&self.head);
        text += &format!("|{}|\n", rule.join("|"));
        self.rows.iter().for_each(|row| text += &line(row));
        text
    }
}

/// A number with about three significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".into(),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 => format!("{value:.2}"),
        0.0 => "0".into(),
        size if size < 0.0005 => "<0.001".into(),
        _ => format!("{value:.3}"),
    }
}

/// A median, and the spread if there was more than one round.
pub fn spread(summary: Summary) -> String {
    around(number(summary.median), summary)
}

fn around(median: String, Summary { min, max, .. }: Summary) -> String {
    if min == max {
        median
    } else {
        format!("{median} ({}–{})", number(min), number(max))
    }
}

/// A ratio; bold where it is below 1, rounded.
pub fn ratio(value: f64) -> String {
    let text = format!("{}×", number(value));
    if value < 0.995 {
        format!("**{text}**")
    } else {
        text
    }
}

/// As [`ratio`], of several rounds: their median and their spread.
pub fn ratios(summary: Summary) -> String {
    around(ratio(summary.median), summary)
}

/// A number of bytes.
pub fn bytes(count: usize) -> String {
    match count {
        _ if count >= 1 << 20 && count % (1 << 20) == 0 => format!("{} MiB", count >> 20),
        _ if count >= 1 << 10 && count % (1 << 10) == 0 => format!("{} KiB", count >> 10),
        _ => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let mut table = Table::new(["a", "b", "c"]);
        assert_eq!(table.markdown(), "");
        table.row(&["x"], vec![Some("1".into()), None]);
        table.row(&["y"], vec![None, None]);
        assert_eq!(table.markdown(), "| a | b | c |\n|:--|--:|--:|\n| x | 1 | – |\n");
    }

    #[test]
    fn numbers() {
        let cases = [
            (1234.5, "1234"),
            (99.96, "100"),
            (99.9, "99.9"),
            (9.994, "9.99"),
            (9.999, "10.0"),
            (0.1, "0.10"),
            (0.0994, "0.099"),
            (0.0001, "<0.001"),
            (0.0, "0"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(spread(Summary { min: 1.0, median: 2.0, max: 3.0 }), "2.00 (1.00–3.00)");
        assert_eq!(spread(Summary { min: 2.0, median: 2.0, max: 2.0 }), "2.00");
        assert_eq!([12.34, 0.998, 0.5].map(ratio), ["12.3×", "1.00×", "**0.50×**"]);
        assert_eq!([64, 4096, 1 << 20, 1500].map(bytes), ["64 B", "4 KiB", "1 MiB", "1500 B"]);
    }
}
