//! Ring orders: how the server chooses them, and the location of a ring of each order.

/// The largest order that the server picks.
const LARGEST: u32 = 20;

/// Where the bytes of a ring are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the shared page, at this offset.
    Page(usize),
    /// In a block of its own of this many pages.
    Block(u32),
}

/// The orders of left and right that a server picks for its read and write sizes.
pub fn pick(read_size: usize, write_size: usize) -> (u32, u32) {
    match (smallest(read_size), smallest(write_size)) {
        (10, 10) => (10, 11),
        (11, 11) => (10, 12),
        other => other,
    }
}

/// The location of a ring; an order above 20 is not refused, which has an effect only when it is mapped.
pub fn locate(order: u32) -> Result<Location, String> {
    match order {
        10 => Ok(Location::Page(1024)),
        11 => Ok(Location::Page(2048)),
        12..=31 => Ok(Location::Block(1 << (order - 12))),
        _ => Err(format!("Invalid ring order: {order}")),
    }
}

fn smallest(size: usize) -> u32 {
    (10..LARGEST).find(|order| 1usize << order >= size).unwrap_or(LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_table() {
        for (size, orders) in [
            (16, (10, 11)),
            (1024, (10, 11)),
            (1025, (10, 12)),
            (2048, (10, 12)),
            (2049, (12, 12)),
            (4096, (12, 12)),
            (4097, (13, 13)),
            (65536, (16, 16)),
            (65537, (17, 17)),
            (1 << 20, (20, 20)),
            (1 << 30, (20, 20)),
        ] {
            assert_eq!(pick(size, size), orders, "--buffer-size {size}");
        }
    }

    #[test]
    fn places() {
        assert_eq!(locate(10), Ok(Location::Page(1024)));
        assert_eq!(locate(11), Ok(Location::Page(2048)));
        assert_eq!(locate(16), Ok(Location::Block(16)));
        assert!(locate(9).is_err());
    }
}
