//! The cells to be measured, and their names.

use std::fmt;
use std::str::FromStr;

/// Sizes of one write, and of the reader's buffer.
pub const SIZES: [usize; 5] = [64, 512, 4096, 65536, 1 << 20];
/// Sizes of the rings.
pub const RINGS: [usize; 3] = [4096, 65536, 1 << 20];
/// The bytes of one round-trip message.
pub const PING: usize = 64;
/// The numbers of channels per thread.
pub const CHANNELS: usize = 64;

/// Where the two processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cores {
    /// Each on its own processor.
    Own,
    /// Both on the same.
    One,
}

/// The work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// One side writes, the other reads.
    OneWay,
    /// Both write and read, one thread each.
    BothWays,
    /// Round trips of a message.
    RoundTrip {
        /// Microseconds of work before each message.
        think: u32,
    },
    /// One side writes to many channels in turn, the other reads them by epoll; one thread each.
    Many {
        /// The number of channels.
        channels: usize,
    },
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The work.
    pub work: Work,
    /// The placement of the processes.
    pub cores: Cores,
    /// Bytes in a ring.
    pub ring: usize,
    /// Bytes in a write.
    pub size: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = match self.cores {
            Cores::Own => "own",
            Cores::One => "one",
        };
        match self.work {
            Work::OneWay => write!(f, "oneway")?,
            Work::BothWays => write!(f, "bothways")?,
            Work::RoundTrip { think } => write!(f, "roundtrip+{think}")?,
            Work::Many { channels } => write!(f, "many+{channels}")?,
        }
        write!(f, "/{cores}/{}/{}", self.ring, self.size)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Cell, String> {
        let bad = || format!("{text:?} is not a cell such as oneway/own/65536/4096");
        let parts: Vec<&str> = text.split('/').collect();
        let [work, cores, ring, size] = parts[..] else { return Err(bad()) };
        let number = |text: &str| text.parse::<usize>().map_err(|_| bad());
        let work = match work.split_once('+') {
            None if work == "oneway" => Work::OneWay,
            None if work == "bothways" => Work::BothWays,
            Some(("roundtrip", think)) => Work::RoundTrip { think: number(think)? as u32 },
            Some(("many", channels)) => Work::Many { channels: number(channels)? },
            _ => return Err(bad()),
        };
        let cores = match cores {
            "own" => Cores::Own,
            "one" => Cores::One,
            _ => return Err(bad()),
        };
        Ok(Cell { work, cores, ring: number(ring)?, size: number(size)? })
    }
}

fn streams(works: &[Work], sizes: &[usize], rings: &[usize]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &work in works {
        for cores in [Cores::Own, Cores::One] {
            for &ring in rings {
                cells.extend(sizes.iter().map(|&size| Cell { work, cores, ring, size }));
            }
        }
    }
    cells
}

/// Round trips of a message, after `think` microseconds of work.
pub fn round_trip(cores: Cores, think: u32) -> Cell {
    Cell { work: Work::RoundTrip { think }, cores, ring: 65536, size: PING }
}

fn many(channels: usize, size: usize) -> Cell {
    Cell { work: Work::Many { channels }, cores: Cores::Own, ring: 65536, size }
}

/// All cells.
pub fn full() -> Vec<Cell> {
    let mut cells = streams(&[Work::OneWay, Work::BothWays], &SIZES, &RINGS);
    cells.extend([round_trip(Cores::Own, 0), round_trip(Cores::One, 0), round_trip(Cores::Own, 20)]);
    for size in [4096, 65536] {
        cells.extend([many(1, size), many(CHANNELS, size)]);
    }
    cells
}

/// A few cells for a quick run.
pub fn quick() -> Vec<Cell> {
    let mut cells = streams(&[Work::OneWay], &[64, 4096, 65536], &[65536]);
    cells.push(Cell { work: Work::BothWays, cores: Cores::Own, ring: 65536, size: 4096 });
    cells.extend([round_trip(Cores::Own, 0), round_trip(Cores::One, 0), round_trip(Cores::Own, 20)]);
    cells.extend([many(1, 4096), many(CHANNELS, 4096)]);
    cells
}

/// Whether a cell's name matches `filter`; empty and missing fields match all: `oneway`, `//65536`,
/// `oneway/own/65536/64`. `roundtrip` matches any think time.
pub fn fits(filter: &str, cell: &Cell) -> bool {
    let name = cell.to_string();
    let mut fields = name.split('/');
    filter.split('/').all(|wanted| {
        let field = fields.next().unwrap_or("");
        wanted.is_empty() || wanted == field || field.split('+').next() == Some(wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_can_be_read_back() {
        let cells = full();
        let names: HashSet<String> = cells.iter().map(Cell::to_string).collect();
        assert_eq!(names.len(), cells.len());
        for cell in cells.iter().chain(&quick()) {
            assert_eq!(cell.to_string().parse(), Ok(*cell));
        }
        for bad in ["", "oneway", "oneway/own/64", "oneway/two/64/64", "many/own/64/64", "oneway/own/x/64"] {
            assert!(bad.parse::<Cell>().is_err(), "{bad}");
        }
    }

    #[test]
    fn quick_is_part_of_full() {
        let all: HashSet<Cell> = full().into_iter().collect();
        assert!(quick().iter().all(|cell| all.contains(cell)));
        assert_eq!(all.iter().filter(|c| matches!(c.work, Work::OneWay | Work::BothWays)).count(), 60);
    }

    #[test]
    fn filters() {
        let cell: Cell = "roundtrip+20/own/65536/64".parse().unwrap();
        for good in ["", "roundtrip", "roundtrip+20", "/own", "//65536", "roundtrip/own/65536/64"] {
            assert!(fits(good, &cell), "{good}");
        }
        for bad in ["oneway", "roundtrip+0", "/one", "round", "///6", "roundtrip/own/65536/64/x"] {
            assert!(!fits(bad, &cell), "{bad}");
        }
    }
}
