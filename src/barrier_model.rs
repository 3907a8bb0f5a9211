//! [Barriers](crate::barrier) in a model. Both halves meet at a place of their own: the one that comes second has seen what
//! the other one did before. Other fences don't go there.

pub(crate) fn is_available() -> bool {
    true
}

#[cfg(loom)]
pub(crate) fn make() {
    use loom::sync::atomic::{AtomicU32, Ordering};
    loom::lazy_static! {
        static ref MEETING: AtomicU32 = AtomicU32::new(0);
    }
    MEETING.fetch_add(0, Ordering::AcqRel);
}

/// This checker knows no weak memory.
#[cfg(shuttle)]
pub(crate) fn make() {}

pub(crate) use make as light;
