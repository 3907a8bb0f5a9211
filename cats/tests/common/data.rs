//! Test data, and pipes to move it through.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::LIMIT;

/// Size of the large transfers in MiB.
pub fn mebibytes() -> usize {
    std::env::var("VCHAN_E2E_MIB").map_or(16, |text| text.parse().expect("VCHAN_E2E_MIB is a number"))
}

/// Pseudo-random bytes, without a pattern that could hide an error.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub fn sha256(path: &Path) -> String {
    let mut hash = Sha256::new();
    std::io::copy(&mut File::open(path).unwrap(), &mut hash).unwrap();
    hex(hash)
}

pub fn sha256_of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A pipe, reader first. Its ends are close-on-exec: an inherited copy would delay EOF.
pub fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}

/// Waits until a pipe is full.
pub fn full(reader: &OwnedFd) {
    let limit = Instant::now() + LIMIT;
    let capacity = nix::fcntl::fcntl(reader, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
    let mut ready = 0;
    while ready < capacity {
        assert!(Instant::now() < limit, "{ready} bytes of {capacity}");
        // SAFETY: FIONREAD writes one int.
        assert_eq!(unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &mut ready) }, 0);
        std::thread::yield_now();
    }
}
