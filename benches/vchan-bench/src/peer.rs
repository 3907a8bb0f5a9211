//! The peers to be measured.

use clap::ValueEnum;

use crate::plan::{Cell, Cores, Work};

/// A way to carry bytes between two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Peer {
    /// This library through its Rust API.
    Rust,
    /// This library through its C interface.
    Cabi,
    /// The Rust API, many small messages with one vectored write.
    RustBatch,
    /// The C interface, many small messages between reserve and commit.
    CabiBatch,
    /// Xen's C library at both ends.
    C,
    /// This library writes (pings), Xen's C library reads (echoes).
    RustC,
    /// Xen's C library writes (pings), this library reads (echoes).
    CRust,
    /// Two pipes, of the ring's size.
    Pipe,
    /// A Unix stream socket.
    Unix,
    /// TCP over the loop-back interface.
    Tcp,
    /// A ring of bytes that only spins: a bound.
    Spin,
    /// Copying within one process: another bound.
    Memcpy,
}

/// The implementation that one of the two processes uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This library's Rust API.
    Rust,
    /// This library's C interface.
    Cabi,
    /// Xen's C library.
    C,
    /// Descriptors.
    Files,
    /// The spinning ring.
    Spin,
    /// Copying.
    Memcpy,
}

impl Peer {
    /// All.
    pub fn all() -> &'static [Peer] {
        Peer::value_variants()
    }

    /// The name in options.
    pub fn key(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Peer::Rust => "vchan-rs, Rust",
            Peer::Cabi => "vchan-rs, C",
            Peer::RustBatch => "vchan-rs, Rust, vectored",
            Peer::CabiBatch => "vchan-rs, C, reserve/commit",
            Peer::C => "Xen's C library",
            Peer::RustC => "vchan-rs → C library",
            Peer::CRust => "C library → vchan-rs",
            Peer::Pipe => "pipe",
            Peer::Unix => "Unix socket",
            Peer::Tcp => "TCP loop-back",
            Peer::Spin => "spinning ring (bound)",
            Peer::Memcpy => "memcpy (bound)",
        }
    }

    /// The implementations of the process that writes (pings), and of the one that reads (echoes).
    pub fn sides(self) -> (Side, Side) {
        match self {
            Peer::Rust | Peer::RustBatch => (Side::Rust, Side::Rust),
            Peer::Cabi | Peer::CabiBatch => (Side::Cabi, Side::Cabi),
            Peer::C => (Side::C, Side::C),
            Peer::RustC => (Side::Rust, Side::C),
            Peer::CRust => (Side::C, Side::Rust),
            Peer::Pipe | Peer::Unix | Peer::Tcp => (Side::Files, Side::Files),
            Peer::Spin => (Side::Spin, Side::Spin),
            Peer::Memcpy => (Side::Memcpy, Side::Memcpy),
        }
    }

    /// Whether it runs on the shim's machine.
    pub fn on_shim(self) -> bool {
        matches!(self, Peer::C | Peer::RustC | Peer::CRust)
    }

    /// Whether one side is this library, so that an earlier build makes a difference.
    pub fn is_ours(self) -> bool {
        let (one, other) = self.sides();
        [one, other].iter().any(|side| matches!(side, Side::Rust | Side::Cabi))
    }

    /// Whether one call transfers many small messages.
    pub fn batches(self) -> bool {
        matches!(self, Peer::RustBatch | Peer::CabiBatch)
    }

    /// Whether it does not depend on the ring's size.
    pub fn ringless(self) -> bool {
        matches!(self, Peer::Unix | Peer::Tcp | Peer::Memcpy)
    }

    /// Whether it is a channel that can be polled together with others.
    fn is_vchan(self) -> bool {
        matches!(self, Peer::Rust | Peer::Cabi | Peer::C)
    }

    /// Whether the cell can be measured and is meaningful.
    pub fn supports(self, cell: &Cell) -> bool {
        if self.ringless() && cell.ring != 65536 {
            return false;
        }
        match self {
            Peer::Memcpy => cell.work == Work::OneWay && cell.cores == Cores::Own,
            Peer::RustBatch | Peer::CabiBatch => {
                cell.work == Work::OneWay && cell.cores == Cores::Own && cell.size <= 512
            }
            // A peer that spins on the processor that the other one needs measures the scheduler.
            Peer::Spin => cell.cores == Cores::Own && !matches!(cell.work, Work::Many { .. }),
            // The same pair as in the other direction.
            Peer::CRust if cell.work == Work::BothWays => false,
            _ => self.is_vchan() || !matches!(cell.work, Work::Many { .. }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[test]
    fn every_cell_has_peers_and_every_peer_cells() {
        for cell in plan::full() {
            for peer in [Peer::Rust, Peer::Cabi, Peer::C] {
                assert!(peer.supports(&cell), "{peer:?} {cell}");
            }
        }
        for peer in Peer::all() {
            assert!(plan::quick().iter().any(|cell| peer.supports(cell)), "{peer:?}");
        }
    }
}
