//! What was measured, by peer and cell.

use std::collections::BTreeMap;

use crate::peer::Peer;
use crate::plan::Cell;
use crate::run::Values;
use crate::stats::{summary, Summary};

/// All rounds' values.
#[derive(Default)]
pub struct Results {
    rounds: BTreeMap<(Peer, Cell), Vec<Values>>,
}

impl Results {
    /// Adds a round.
    pub fn add(&mut self, peer: Peer, cell: Cell, values: Values) {
        self.rounds.entry((peer, cell)).or_default().push(values);
    }

    /// The summary of one value. A peer without rings has one result for all of their sizes.
    pub fn get(&self, peer: Peer, cell: Cell, name: &str) -> Option<Summary> {
        let cell = if peer.ringless() { Cell { ring: 65536, ..cell } } else { cell };
        let values = self.rounds.get(&(peer, cell))?;
        summary(&values.iter().filter_map(|values| values.get(name)).copied().collect::<Vec<f64>>())
    }

    /// How many times one peer's median is the other's.
    pub fn ratio(&self, peer: Peer, to: Peer, cell: Cell, name: &str) -> Option<f64> {
        let (one, other) = (self.get(peer, cell, name)?, self.get(to, cell, name)?);
        Some(one.median / other.median).filter(|ratio| ratio.is_finite())
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
        for value in [3.0, 1.0, 2.0] {
            results.add(Peer::Rust, cell, Values::from([("gib_s".into(), value)]));
        }
        results.add(Peer::Unix, socket, Values::from([("gib_s".into(), 0.5)]));
        assert_eq!(results.get(Peer::Rust, cell, "gib_s"), Some(Summary { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(results.get(Peer::Rust, socket, "gib_s"), None);
        assert_eq!(results.ratio(Peer::Rust, Peer::Unix, cell, "gib_s"), Some(4.0));
        assert_eq!(results.ratio(Peer::Rust, Peer::Pipe, cell, "gib_s"), None);
        assert_eq!(results.get(Peer::Rust, cell, "p50"), None);
    }
}
