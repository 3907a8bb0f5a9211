//! Mistakes that a model build makes on request, to show that the models notice. Other builds have none.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A park without another check after the notification was enabled.
    Recheck,
    /// The peer's end reported without a last check of the ring, in a blocking read.
    FinalCheck,
    /// The same in a non-blocking read.
    FinalCheckNow,
    /// The request cleared before the index is published.
    ClearedEarly,
    /// No fence between an index and the check of the notify byte.
    FenceAfterIndex,
    /// No fence between the notify byte and the check of the index.
    FenceAfterRequest,
    /// The index published without ordering the bytes before it.
    RelaxedIndex,
    /// A side checks the other side's notify byte.
    WrongByte,
    /// Leaving without an event.
    SilentLeave,
    /// Ending a stream without an event.
    SilentFinish,
    /// A leader leaves and no other thread takes over.
    Handover,
    /// A thread that takes an event does not check for the others.
    OnBehalf,
    /// An event that a thread took is not forwarded to pollers.
    ForwardEvent,
    /// A read or write of a part takes the event of the peer's end and sets nothing ready.
    SwallowedEnd,
    /// A call with a buffer limited to the ring's size does not check whether there is more.
    CutShort,
    /// A call that leaves bytes behind wakes its caller only by the descriptor, which another thread's wait may
    /// disarm.
    StolenReady,
    /// An impossible index is not checked again, though another thread may have moved the own index.
    OneCheck,
    /// An event that a thread took is forwarded, but the next one is not requested.
    UnrequestedEvent,
    /// No heavy fence after a request, though the peer elides its own.
    MissingHeavyFence,
    /// A server of several clients relies on the offer of one of them.
    LastingOffer,
    /// A wait for any event forgets those since its notification was enabled.
    FreshEpoch,
    /// A call is not counted before it checks whether the channel was closed.
    UncountedCall,
    /// Closing makes no heavy fence before it checks for calls in progress.
    UncountedClose,
}

/// Whether to make this mistake.
#[cfg(not(model))]
#[inline(always)]
pub(crate) const fn fault(_: Fault) -> bool {
    false
}

/// Whether to make this mistake: the one that `VCHAN_FAULT` names.
#[cfg(model)]
pub(crate) fn fault(which: Fault) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    // An unknown name makes no mistake, so `make model` reports that it was not noticed.
    let chosen = CHOSEN.get_or_init(|| std::env::var("VCHAN_FAULT").ok());
    chosen.as_ref().is_some_and(|name| format!("{which:?}") == *name)
}
