//! Impossible values in the shared page. The first one poisons the endpoint.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A field of the shared page.
///
/// ```
/// assert_eq!(vchan::ring::Field::LeftCons.name(), "left.cons");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Field {
    /// Bytes consumed from the left ring (client to server).
    LeftCons = 1,
    /// Bytes produced into the left ring.
    LeftProd,
    /// Bytes consumed from the right ring (server to client).
    RightCons,
    /// Bytes produced into the right ring.
    RightProd,
    /// log2 of the left ring's size.
    LeftOrder,
    /// log2 of the right ring's size.
    RightOrder,
    /// The client's live byte.
    CliLive,
    /// The server's live byte.
    SrvLive,
}

const ALL: [Field; 8] = [
    Field::LeftCons,
    Field::LeftProd,
    Field::RightCons,
    Field::RightProd,
    Field::LeftOrder,
    Field::RightOrder,
    Field::CliLive,
    Field::SrvLive,
];

impl Field {
    /// The field's name in the protocol document.
    pub fn name(self) -> &'static str {
        match self {
            Field::LeftCons => "left.cons",
            Field::LeftProd => "left.prod",
            Field::RightCons => "right.cons",
            Field::RightProd => "right.prod",
            Field::LeftOrder => "left_order",
            Field::RightOrder => "right_order",
            Field::CliLive => "cli_live",
            Field::SrvLive => "srv_live",
        }
    }
}

/// An impossible value that the peer wrote into the shared page.
///
/// ```
/// use vchan::{ring::{Corrupt, Field}, Error};
/// let corrupt = Corrupt { field: Field::SrvLive, value: 77 };
/// assert_eq!(Error::from(corrupt).errno(), libc::EPROTO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The field.
    pub field: Field,
    /// The value in it.
    pub value: u32,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.field.name(), self.value)
    }
}

impl std::error::Error for Corrupt {}

/// The first [`Corrupt`] seen on a channel. It is never cleared.
#[derive(Debug, Default)]
pub(crate) struct Poison(AtomicU64);

impl Poison {
    /// Fails if an impossible value was seen before.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Corrupt> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            packed => Err(unpack(packed)),
        }
    }

    /// Records `value` in `field` unless something was recorded before. Returns what is recorded.
    #[cold]
    pub(crate) fn set(&self, field: Field, value: u32) -> Corrupt {
        let packed = (field as u64) << 32 | u64::from(value);
        match self.0.compare_exchange(0, packed, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Corrupt { field, value },
            Err(earlier) => unpack(earlier),
        }
    }
}

fn unpack(packed: u64) -> Corrupt {
    let field = ALL.into_iter().find(|&f| f as u64 == packed >> 32).unwrap_or(Field::LeftCons);
    Corrupt { field, value: packed as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_poison_stays() {
        let poison = Poison::default();
        assert_eq!(poison.check(), Ok(()));
        for field in ALL {
            let fresh = Poison::default();
            fresh.set(field, u32::MAX);
            assert_eq!(fresh.check(), Err(Corrupt { field, value: u32::MAX }));
        }
        poison.set(Field::CliLive, 7);
        assert_eq!(poison.set(Field::LeftProd, 9), Corrupt { field: Field::CliLive, value: 7 });
        assert_eq!(poison.check().unwrap_err().to_string(), "cli_live is 7");
    }
}
