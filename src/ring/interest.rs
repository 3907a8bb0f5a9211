//! What one side of a ring waits for.

/// What one side waits for. The value is the bit that it sets in the peer's notify byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Interest {
    /// Data. The peer notifies when it has written.
    Readable = 1,
    /// Space. The peer notifies when it has consumed.
    Writable = 2,
}

impl Interest {
    /// The bit in the notify byte.
    pub fn bit(self) -> u8 {
        self as u8
    }
}
