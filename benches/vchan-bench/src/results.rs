//! The measured values, by peer and cell.

use std::collections::BTreeMap;

use crate::peer::Peer;
use crate::plan::Cell;
use crate::run::Values;
use crate::stats::{summary, Summary};

/// All rounds' values.
#[derive(Default)]
pub struct Results {
    rounds: BTreeMap<(Peer, Cell), BTreeMap<usize, Values>>,
}

impl Results {
    /// Adds the values of a round.
    pub fn add(&mut self, round: usize, peer: Peer, cell: Cell, values: Values) {
        self.rounds.entry((peer, cell)).or_default().insert(round, values);
    }

    fn rounds(&self, peer: Peer, cell: Cell) -> Option<&BTreeMap<usize, Values>> {
        let cell = if peer.ringless() { Cell { ring: 65536, ..cell } } else { cell };
        self.rounds.get(&(peer, cell))
    }

    /// The summary of one value. A peer without rings has one result for all of their sizes.
    pub fn get(&self, peer: Peer, cell: Cell, name: &str) -> Option<Summary> {
        let values = self.rounds(peer, cell)?.values();
        summary(&values.filter_map(|values| values.get(name)).copied().collect::<Vec<f64>>())
    }

    /// The ratio of two peers' values, round by round: other load on the machine affects both in the same
    /// way.
    pub fn ratio(&self, peer: Peer, to: Peer, cell: Cell, name: &str) -> Option<Summary> {
        self.ratio_to(self, peer, to, cell, name)
    }

    /// The ratio of a value to that of another build, round by round.
    pub fn ratio_to(
        &self,
        others: &Results,
        peer: Peer,
        to: Peer,
        cell: Cell,
        name: &str,
    ) -> Option<Summary> {
        let (ones, others) = (self.rounds(peer, cell)?, others.rounds(to, cell)?);
        let ratio = |(round, one): (&usize, &Values)| Some(one.get(name)? / others.get(round)?.get(name)?);
        summary(&ones.iter().filter_map(ratio).collect::<Vec<f64>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let cell: Cell = "oneway/own/4096/64".parse().unwrap();
        let socket = Cell { ring: 65536, ..cell };
        let mut results = Results::default();
        // The third round was slow for both, and the fourth failed for one.
        for (round, ours, socket_s) in [(1, 3.0, 1.0), (2, 4.0, 1.0), (3, 1.0, 0.5)] {
            results.add(round, Peer::Rust, cell, Values::from([("gib_s".into(), ours)]));
            results.add(round, Peer::Unix, socket, Values::from([("gib_s".into(), socket_s)]));
        }
        results.add(4, Peer::Unix, socket, Values::from([("gib_s".into(), 9.0)]));
        assert_eq!(results.get(Peer::Rust, cell, "gib_s"), Some(Summary { min: 1.0, median: 3.0, max: 4.0 }));
        assert_eq!(results.get(Peer::Rust, socket, "gib_s"), None);
        let ratio = results.ratio(Peer::Rust, Peer::Unix, cell, "gib_s");
        assert_eq!(ratio, Some(Summary { min: 2.0, median: 3.0, max: 4.0 }));
        assert_eq!(results.ratio(Peer::Rust, Peer::Pipe, cell, "gib_s"), None);
        assert_eq!(results.get(Peer::Rust, cell, "p50"), None);
    }
}
