//! What a wait needs from its channel. It is passed in with each call and never stored.

use crate::fence;
use crate::ring::{Endpoint, Interest};
use crate::transport::EventChannel;
use crate::{Error, Result};

/// Where readiness and events come from.
pub(in crate::channel) trait Source {
    /// The shared memory.
    fn ring(&self) -> &Endpoint;
    /// The event channel.
    fn events(&self) -> &dyn EventChannel;
    /// Fails if this side was closed.
    fn check_open(&self) -> Result<()>;
    /// Whether there are `need` bytes of data or space. Fails with the reason if there never will be.
    fn check(&self, interest: Interest, need: u32) -> Result<bool>;
    /// Whether there are fewer than `need` bytes now and the peer can still move some.
    fn must_wait(&self, interest: Interest, need: u32) -> bool;
    /// The reason why no event comes any more.
    fn end_of_events(&self) -> Result<Option<Error>>;
    /// Whether the peer is known to be of this implementation.
    fn peer_is_ours(&self) -> bool;
    /// Whether this is a server that waits for the next client when one has gone.
    fn is_persistent(&self) -> bool;
    /// Takes the pending events. Returns whether there were any.
    fn drain(&self) -> Result<bool>;
    /// Sends an event.
    fn notify(&self) -> Result<()>;

    /// Asks the peer for an event. The caller checks its condition after this.
    fn rearm(&self, interest: Interest) {
        if self.ring().enable_notification(interest) {
            fence::heavy();
        }
    }
}
