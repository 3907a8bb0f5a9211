//! Counts the actions, calls and results.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub scripts: u64,
    pub acts: BTreeMap<&'static str, u64>,
    pub calls: BTreeMap<&'static str, u64>,
    pub results: BTreeMap<&'static str, u64>,
}

pub fn count(table: &mut BTreeMap<&'static str, u64>, what: &'static str) {
    *table.entry(what).or_default() += 1;
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.scripts += other.scripts;
        for (sum, part) in [
            (&mut self.acts, &other.acts),
            (&mut self.calls, &other.calls),
            (&mut self.results, &other.results),
        ] {
            for (what, number) in part {
                *sum.entry(what).or_default() += number;
            }
        }
    }

    /// Panics if one of these calls was never made.
    pub fn assert_called(&self, calls: &[&'static str]) {
        for call in calls {
            assert!(self.calls.contains_key(call), "never called: {call}");
        }
    }

    /// Panics if one of these never happened: the run would be incomplete.
    pub fn assert_tried(&self, acts: &[&'static str], results: &[&'static str]) {
        for act in acts {
            assert!(self.acts.get(act).is_some_and(|&number| number > 0), "never tried: {act}");
        }
        for result in results {
            assert!(self.results.get(result).is_some_and(|&number| number > 0), "never came of it: {result}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} scripts", self.scripts)?;
        for (title, table) in [("acts", &self.acts), ("calls", &self.calls), ("results", &self.results)] {
            let list: Vec<String> = table.iter().map(|(what, number)| format!("{what} {number}")).collect();
            write!(f, "; {} {title}: {}", table.values().sum::<u64>(), list.join(", "))?;
        }
        Ok(())
    }
}
