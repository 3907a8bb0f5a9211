//! [Fences](crate::fence) in a model. Both halves meet in an atomic of their own: the later one sees what the other
//! did before. Other fences do not take part.

pub(crate) fn is_available() -> bool {
    true
}

#[cfg(loom)]
pub(crate) fn heavy() {
    use loom::sync::atomic::{AtomicU32, Ordering};
    loom::lazy_static! {
        static ref MEETING: AtomicU32 = AtomicU32::new(0);
    }
    MEETING.fetch_add(0, Ordering::AcqRel);
}

/// This checker knows no weak memory.
#[cfg(shuttle)]
pub(crate) fn heavy() {}

pub(crate) use heavy as light;
