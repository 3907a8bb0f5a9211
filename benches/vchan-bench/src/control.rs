//! A page shared by both processes of a measurement: the total that the writer writes.
//!
//! The writer stores the total before it writes the last piece. So a reader of the last byte sees the total,
//! and does not need to check it before: its cache line changes once.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Shared;
use crate::Result;

const NOT_YET: u64 = 0;

/// The totals of both directions.
pub struct Control {
    page: Shared,
}

/// The connecting process writes into direction 0, the serving one into direction 1.
pub type Direction = usize;

impl Control {
    /// Creates the page.
    pub fn create() -> Result<OwnedFd> {
        Shared::create(4096)
    }

    /// Maps it.
    pub fn map(fd: impl AsFd) -> Result<Control> {
        Ok(Control { page: Shared::map(fd, 4096)? })
    }

    fn total(&self, direction: Direction) -> &AtomicU64 {
        let at: NonNull<AtomicU64> = self.page.at(direction * 1024).cast();
        // SAFETY: within the page, aligned, initially zero, and only used as an atomic.
        unsafe { at.as_ref() }
    }

    /// Stores the total, more than 0.
    pub fn finish(&self, direction: Direction, total: u64) {
        self.total(direction).store(total, Ordering::Release);
    }

    /// Whether `got` is the total.
    #[inline]
    pub fn is_all(&self, direction: Direction, got: u64) -> bool {
        self.total(direction).load(Ordering::Acquire) == got && got != NOT_YET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mappings_see_the_total() {
        let fd = Control::create().unwrap();
        let (one, other) = (Control::map(&fd).unwrap(), Control::map(&fd).unwrap());
        assert!(!other.is_all(0, 0));
        one.finish(0, 7);
        assert!(other.is_all(0, 7));
        assert!(!other.is_all(0, 6));
        assert!(!other.is_all(1, 7));
    }
}
