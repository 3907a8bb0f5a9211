//! What a side of a ring waits for.

/// What a side waits for, as the bit that it sets in the peer's notify byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Interest {
    /// Data: the peer is to tell when it has written.
    Readable = 1,
    /// Space: the peer is to tell when it has consumed.
    Writable = 2,
}

impl Interest {
    /// The bit in the notify byte.
    pub fn bit(self) -> u8 {
        self as u8
    }
}
