//! Permissions of a node.

use crate::wire::Malformed;

/// The access of a domain to a node, with its letter in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing (`n`).
    None,
    /// Read (`r`).
    Read,
    /// Write (`w`).
    Write,
    /// Read and write (`b`).
    ReadWrite,
}

/// One entry of a node's permissions.
///
/// The first entry names the owner, which has full access. The access in this entry is that of every domain without an
/// entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Perm {
    /// The domain.
    pub domid: u16,
    /// Its access.
    pub access: Access,
}

impl Perm {
    /// An entry.
    pub const fn new(domid: u16, access: Access) -> Self {
        Self { domid, access }
    }

    /// The wire format, with the terminator.
    pub(crate) fn encode(self) -> String {
        let letter = match self.access {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::ReadWrite => 'b',
        };
        format!("{letter}{}\0", self.domid)
    }

    pub(crate) fn decode(entry: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed(format!("{entry:?} is no permission"));
        let mut letters = entry.chars();
        let access = match letters.next() {
            Some('n') => Access::None,
            Some('r') => Access::Read,
            Some('w') => Access::Write,
            Some('b') => Access::ReadWrite,
            _ => return Err(wrong()),
        };
        let domid = letters.as_str().parse().map_err(|_| wrong())?;
        Ok(Self { domid, access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_encoded_and_decoded() {
        for (text, access) in
            [("n0", Access::None), ("r7", Access::Read), ("w65535", Access::Write), ("b1", Access::ReadWrite)]
        {
            let perm = Perm::decode(text).unwrap();
            assert_eq!(perm.access, access);
            assert_eq!(perm.encode(), format!("{text}\0"));
        }
        for wrong in ["", "r", "x1", "r-1", "r65536", "r1x", "1"] {
            assert!(Perm::decode(wrong).is_err(), "{wrong}");
        }
    }
}
