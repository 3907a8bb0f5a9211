//! When a wait ends. The clock is read only where necessary: on some machines it is a system call and costs as much as
//! a park.

use std::time::{Duration, Instant};

/// When a wait ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Deadline {
    /// Never.
    Never,
    /// This long after the wait began.
    After(Duration),
    /// At this time.
    At(Instant),
}

impl Deadline {
    /// The time left, for a sleep that begins now.
    #[cfg_attr(model, allow(dead_code))]
    pub(in crate::channel) fn left(self) -> Option<Duration> {
        match self {
            Deadline::Never => None,
            Deadline::After(length) => Some(length),
            Deadline::At(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }

    /// The same deadline as a point in time, for a sleep that continues.
    pub(in crate::channel) fn fixed(self) -> Deadline {
        match self {
            Deadline::After(length) => {
                Instant::now().checked_add(length).map_or(Deadline::Never, Deadline::At)
            }
            other => other,
        }
    }

    /// Whether that time has come. Always false for [`After`](Self::After): make it a point in time first, by
    /// [`fixed`](Self::fixed).
    pub(in crate::channel) fn is_over(self) -> bool {
        matches!(self, Deadline::At(end) if Instant::now() >= end)
    }

    /// The earlier of two.
    pub(in crate::channel) fn earlier(self, other: Deadline) -> Deadline {
        match (self, other) {
            (deadline, Deadline::Never) | (Deadline::Never, deadline) => deadline,
            (Deadline::At(end), Deadline::At(other)) => Deadline::At(end.min(other)),
            _ => self.fixed().earlier(other.fixed()),
        }
    }
}

impl From<Option<Duration>> for Deadline {
    fn from(timeout: Option<Duration>) -> Deadline {
        timeout.map_or(Deadline::Never, Deadline::After)
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn the_earlier_of_two_counts() {
        let at = Instant::now() + LONG;
        let soon = Deadline::At(at);
        assert_eq!(Deadline::Never.earlier(Deadline::Never), Deadline::Never);
        assert_eq!(Deadline::After(LONG).earlier(Deadline::Never), Deadline::After(LONG));
        assert_eq!(Deadline::Never.earlier(soon), soon);
        assert_eq!(Deadline::After(2 * LONG).earlier(soon), soon);
        assert_eq!(Deadline::After(Duration::MAX).earlier(soon), soon);
        assert_eq!(soon.earlier(Deadline::After(Duration::MAX)), soon);
        assert!(matches!(Deadline::After(LONG / 2).earlier(soon), Deadline::At(end) if end < at));
    }

    #[test]
    fn only_a_point_in_time_passes() {
        let zero = Deadline::After(Duration::ZERO);
        assert!(!zero.is_over() && !Deadline::Never.is_over());
        assert!(zero.fixed().is_over());
        assert_eq!(zero.fixed().left(), Some(Duration::ZERO));
        assert_eq!(Deadline::After(Duration::MAX).fixed(), Deadline::Never);
    }
}
