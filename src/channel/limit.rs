//! How long to wait. The clock is read only where that can't be helped: on some machines it is a system call, and
//! costs as much as falling asleep.

use std::time::{Duration, Instant};

/// When a wait is over at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Never.
    Never,
    /// So long after it began.
    After(Duration),
    /// Then.
    At(Instant),
}

impl Limit {
    /// How long that is from now, for a sleep that begins now.
    pub(super) fn left(self) -> Option<Duration> {
        match self {
            Limit::Never => None,
            Limit::After(length) => Some(length),
            Limit::At(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }

    /// The same limit as a point in time, for a sleep that goes on after having been disturbed.
    pub(super) fn fixed(self) -> Limit {
        match self {
            Limit::After(length) => Instant::now().checked_add(length).map_or(Limit::Never, Limit::At),
            other => other,
        }
    }

    /// Whether that point has come.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Limit::At(end) if Instant::now() >= end)
    }

    /// Whichever comes first.
    pub(super) fn or(self, other: Limit) -> Limit {
        match (self, other) {
            (limit, Limit::Never) | (Limit::Never, limit) => limit,
            (Limit::At(end), Limit::At(other)) => Limit::At(end.min(other)),
            _ => self.fixed().or(other.fixed()),
        }
    }
}

impl From<Option<Duration>> for Limit {
    fn from(timeout: Option<Duration>) -> Limit {
        timeout.map_or(Limit::Never, Limit::After)
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn the_earlier_of_two_counts() {
        let at = Instant::now() + LONG;
        let soon = Limit::At(at);
        assert_eq!(Limit::Never.or(Limit::Never), Limit::Never);
        assert_eq!(Limit::After(LONG).or(Limit::Never), Limit::After(LONG));
        assert_eq!(Limit::Never.or(soon), soon);
        assert_eq!(Limit::After(2 * LONG).or(soon), soon);
        assert_eq!(Limit::After(Duration::MAX).or(soon), soon);
        assert_eq!(soon.or(Limit::After(Duration::MAX)), soon);
        assert!(matches!(Limit::After(LONG / 2).or(soon), Limit::At(end) if end < at));
    }

    #[test]
    fn only_a_point_in_time_passes() {
        let zero = Limit::After(Duration::ZERO);
        assert!(!zero.is_over() && !Limit::Never.is_over());
        assert!(zero.fixed().is_over());
        assert_eq!(zero.fixed().left(), Some(Duration::ZERO));
        assert_eq!(Limit::After(Duration::MAX).fixed(), Limit::Never);
    }
}
