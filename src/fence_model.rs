//! [Barriers](crate::fence) in a model. Both halves meet at a place of their own: the one that comes second has seen what
//! the other one did before. Other fences don't go there.

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
