//! What a side of a ring waits for.

/// What a side waits for, as the bit that it sets in the peer's notify byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Want {
    /// Data: the peer is to tell when it has written.
    Data = 1,
    /// Space: the peer is to tell when it has consumed.
    Space = 2,
}

impl Want {
    /// The bit in the notify byte.
    pub fn bit(self) -> u8 {
        self as u8
    }
}
