//! [Sleeps](super::signals) in a model, which has no signals and no time.

use std::os::fd::BorrowedFd;

use super::deadline::Deadline;

/// One sleep of a thread.
pub(super) struct Sleep(());

impl Sleep {
    pub(super) fn begin(_deadline: Deadline, _looks: bool) -> nix::Result<Sleep> {
        Ok(Sleep(()))
    }

    pub(super) fn is_over(&self) -> bool {
        false
    }
}

/// No model waits for its server.
pub(in crate::channel) fn wait_for_any(
    _fds: &[BorrowedFd<'_>],
    _deadline: Deadline,
    _looks: bool,
) -> nix::Result<bool> {
    Ok(true)
}

pub(super) fn is_restarted_call() -> bool {
    false
}
