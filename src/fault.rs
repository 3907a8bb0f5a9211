//! Mistakes that a model build makes on request, to show that the models notice. Other builds have none of this.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Sleeping without looking again after the peer was asked to tell.
    Recheck,
    /// The end reported without a last look at the ring, in a blocking read.
    FinalLook,
    /// The same in a read that doesn't block.
    FinalLookNow,
    /// The request taken back before the index is published.
    ClearedEarly,
    /// No fence between an index and the look at the notify byte.
    FenceInTake,
    /// No fence between the notify byte and the look at the index.
    FenceInRequest,
    /// The index published without ordering the bytes before it.
    RelaxedIndex,
    /// A side looks at the notify byte that is the other's to look at.
    WrongByte,
    /// Leaving without an event.
    SilentLeave,
    /// Ending a stream without an event.
    SilentFinish,
    /// Who polls for several threads leaves without another taking over.
    Handover,
    /// Who takes an event looks on nobody's behalf.
    OnBehalf,
    /// An event that a thread took is not passed on to who polls the descriptor.
    PassOn,
    /// Who reads or writes a part takes the event of the peer's end, and says nothing.
    SwallowedEnd,
    /// A call whose buffer is cut to the ring's size doesn't look whether there is more.
    CutShort,
    /// A call that leaves something behind wakes its caller by the descriptor alone, which another thread's wait may take back.
    StolenKick,
    /// What looks impossible is not looked at again, though another thread may have moved our index.
    OneLook,
    /// An event that a thread took is passed on, but nobody asks for the next one.
    Unasked,
    /// No barrier after a request, though the peer relies on one.
    BarrierForgotten,
    /// A server of many clients relies on what one of them promised.
    LastingPromise,
    /// Who waits for any event forgets those that have come since it asked for one.
    FreshTicket,
    /// A call doesn't see to it that it is counted before it looks whether the channel was closed.
    UncountedCall,
    /// Closing makes no barrier before it looks for calls under way.
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
    // A name that there isn't makes no mistake, so `make model` says that it was not noticed.
    let chosen = CHOSEN.get_or_init(|| std::env::var("VCHAN_FAULT").ok());
    chosen.as_ref().is_some_and(|name| format!("{which:?}") == *name)
}
