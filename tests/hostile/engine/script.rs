//! A script: bytes that are interpreted as decisions. Every byte sequence is valid.

/// A script and the current position.
#[derive(Clone, Debug)]
pub struct Script {
    bytes: Vec<u8>,
    at: usize,
}

impl Script {
    pub fn new(bytes: &[u8]) -> Script {
        Script { bytes: bytes.to_vec(), at: 0 }
    }

    /// `len` bytes from a seed, for runs without a fuzzer.
    pub fn from_seed(seed: u64, len: usize) -> Vec<u8> {
        // xorshift64*
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
        };
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(&next()[1..]);
        }
        bytes.truncate(len);
        bytes
    }

    /// Whether everything has been read.
    pub fn is_over(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next byte, 0 after the end.
    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    /// A number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A length: mostly small, sometimes around powers of two, sometimes large.
    pub fn length(&mut self) -> usize {
        let byte = usize::from(self.byte());
        match self.below(8) {
            0 => 0,
            1..=3 => byte,
            4 | 5 => (1 << (byte % 15)) + byte / 86,
            6 => byte * 16,
            _ => byte * 300,
        }
    }

    /// The next `len` bytes, or as many as remain, as a separate script.
    pub fn take(&mut self, len: usize) -> Script {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += len;
        Script { bytes: rest[..len.min(rest.len())].to_vec(), at: 0 }
    }

    /// Restarts at the beginning, for a peer that acts until it is stopped.
    pub fn rewind(&mut self) {
        self.at = 0;
    }
}
