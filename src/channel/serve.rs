//! How a server puts a channel together from the parts of a transport, and publishes it.

use std::sync::Arc;

use super::channel::{Channel, ChannelParts, Settings};
use super::closer::Closer;
use crate::ring::{Endpoint, Orders, Rings, Role, SharedPage};
use crate::transport::{CrashNotice, Mapping, Parts, Rendezvous, Transport};
use crate::{DomId, Result};

/// What a server's channels are made by.
pub(super) struct Plan {
    pub transport: Arc<dyn Transport>,
    pub peer: DomId,
    pub path: String,
    pub orders: Orders,
    pub first_index: u32,
    pub settings: Settings,
}

impl Plan {
    /// Makes a channel and publishes it.
    pub(super) fn publish(&self, closer: &Closer) -> Result<Arc<Channel>> {
        let parts = self.transport.open(Role::Server, self.peer, &self.path)?;
        Channel::new(serve(&parts, self.orders, self.first_index)?, closer, self.settings)
    }
}

/// Shares the memory, binds the event channel, publishes both.
fn serve(transport: &Parts, orders: Orders, first_index: u32) -> Result<ChannelParts> {
    let events = transport.events.listen()?;
    let crash = CrashNotice { offset: SharedPage::SRV_LIVE_OFFSET, port: events.local_port() };
    let page = transport.memory.share(1, Some(crash))?;
    let share = |pages| (pages > 0).then(|| transport.memory.share(pages, None)).transpose();
    let left = share(orders.left().pages())?;
    let right = share(orders.right().pages())?;
    let rings =
        Rings { left: left.as_deref().map(Mapping::base), right: right.as_deref().map(Mapping::base) };
    fn grants(ring: &Option<Box<dyn Mapping>>) -> &[u32] {
        ring.as_deref().map_or(&[], Mapping::grants)
    }
    // SAFETY: `page` is a fresh page.
    unsafe { Endpoint::publish_grants(page.base(), grants(&left), grants(&right)) };
    // SAFETY: the page is fresh, the rings have as many pages as the orders say, and the mappings go along with the
    // endpoint into the channel, which drops them after it.
    let ring = unsafe { Endpoint::server(page.base(), rings, orders, first_index) };
    let rendezvous = Rendezvous { ring_ref: page.grants()[0], event_channel: events.name() };
    let publication = Some(transport.registry.publish(&rendezvous)?);
    let mappings = [Some(page), left, right].into_iter().flatten().collect();
    Ok(ChannelParts {
        ring,
        events,
        mappings,
        publication,
        rendezvous,
        path: transport.registry.path().into(),
    })
}
