//! The shared page by this side's role.

use std::ptr::NonNull;
use std::sync::atomic::AtomicBool;

use super::corrupt::Poison;
use super::fence_elision::FenceElision;
use super::interest::Interest;
use super::layout::{Indices, SharedPage};
use super::notify::Notification;
use super::role::Role;
use super::sync::AtomicU8;
use crate::fault::{fault, Fault};

/// The shared page as one side uses it, for its endpoint and both rings.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) start: NonNull<SharedPage>,
    pub(super) role: Role,
    pub(super) poison: Poison,
    /// See [`Endpoint::allow_fence_elision`](super::Endpoint::allow_fence_elision).
    pub(super) heavy_fences: AtomicBool,
    /// See [`Endpoint::stop_eliding`](super::Endpoint::stop_eliding).
    pub(super) may_elide: AtomicBool,
}

// SAFETY: the page is only atomics, and stays mapped by the contract of `Endpoint`'s constructors.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    #[inline]
    pub(super) fn fields(&self) -> &SharedPage {
        // SAFETY: mapped and aligned for as long as `self` lives (contract of the constructors); all atomics.
        unsafe { self.start.as_ref() }
    }

    #[inline]
    pub(super) fn read_ring(&self) -> &Indices {
        match self.role {
            Role::Server => &self.fields().left,
            Role::Client => &self.fields().right,
        }
    }

    #[inline]
    pub(super) fn written_ring(&self) -> &Indices {
        match self.role {
            Role::Server => &self.fields().right,
            Role::Client => &self.fields().left,
        }
    }

    #[inline]
    pub(super) fn own_notify(&self) -> &AtomicU8 {
        if fault(Fault::WrongByte) {
            return self.peer_notify();
        }
        match self.role {
            Role::Server => &self.fields().srv_notify,
            Role::Client => &self.fields().cli_notify,
        }
    }

    #[inline]
    pub(super) fn notification<'a>(
        &'a self,
        wanted: Interest,
        elision: &'a FenceElision,
    ) -> Notification<'a> {
        Notification { own: self.own_notify(), wanted, elision, may_elide: &self.may_elide }
    }

    pub(super) fn peer_notify(&self) -> &AtomicU8 {
        match self.role {
            Role::Server => &self.fields().cli_notify,
            Role::Client => &self.fields().srv_notify,
        }
    }
}
