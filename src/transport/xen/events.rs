//! Event channels by `/dev/xen/evtchn`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::device::{request, EVTCHN};
use super::domain_watch::{DomainWatch, Mark};
use crate::transport::{EventChannel, EventSet, Events, Readiness, Received, Role, Tokens};
use crate::{DomId, Error, Result};

/// Creates the event channel to one peer domain.
#[derive(Debug)]
pub(super) struct XenEvents {
    pub own: DomId,
    pub peer: DomId,
    pub role: Role,
    /// Where the channel is published.
    pub path: String,
}

impl XenEvents {
    /// An end with this local port, of a channel whose server has `server_port`.
    fn channel(&self, device: File, port: u32, server_port: u32) -> Result<XenChannel> {
        let peer = DomainWatch::new(self.own, self.peer, self.role, &self.path, server_port)?;
        let mark = peer.as_ref().map(|watch| watch.create_mark(port)).transpose()?.flatten();
        let channel = XenChannel { _mark: mark, device, port, peer };
        channel.unmask(port)?;
        Ok(channel)
    }
}

impl Events for XenEvents {
    fn listen(&self) -> Result<Box<dyn EventChannel>> {
        let device = EVTCHN.open()?;
        let mut bind = request::BindUnboundPort { remote_domain: self.peer.into() };
        // SAFETY: the structure is the request's.
        let port = unsafe { request::evtchn_bind_unbound_port(device.as_raw_fd(), &mut bind) }
            .map_err(|errno| EVTCHN.explain("bind an event channel by", errno))?;
        Ok(Box::new(self.channel(device, port as u32, port as u32)?))
    }

    fn connect(&self, remote: &str) -> Result<Box<dyn EventChannel>> {
        let no_server = |why: String| Error::NoServer { path: format!("event channel {remote}"), why };
        let remote_port = remote
            .parse()
            .ok()
            .filter(|&port: &u32| port > 0)
            .ok_or_else(|| no_server("it is not a port number".into()))?;
        let device = EVTCHN.open()?;
        let mut bind = request::BindInterdomain { remote_domain: self.peer.into(), remote_port };
        // SAFETY: the structure is the request's.
        let port = unsafe { request::evtchn_bind_interdomain(device.as_raw_fd(), &mut bind) };
        match port {
            Ok(port) => Ok(Box::new(self.channel(device, port as u32, remote_port)?)),
            // Bound to another client, or left over from a server that is gone: Xen does not distinguish
            // them.
            Err(errno @ (nix::Error::EINVAL | nix::Error::ESRCH | nix::Error::ENOENT)) => Err(no_server(format!(
                "domain {} does not offer that port to this domain: the server is gone, or has a client already \
                 ({errno})",
                self.peer
            ))),
            Err(errno) => Err(EVTCHN.explain("connect an event channel by", errno)),
        }
    }
}

/// One port on a descriptor of its own. Closing the descriptor unbinds the port.
// The mark goes first: afterwards another end can have the port.
struct XenChannel {
    _mark: Option<Mark>,
    device: File,
    port: u32,
    peer: Option<DomainWatch>,
}

impl XenChannel {
    /// Lets the port fire again.
    fn unmask(&self, port: u32) -> Result<()> {
        (&self.device)
            .write_all(&port.to_ne_bytes())
            .map_err(|error| EVTCHN.explain("unmask an event channel by", error))
    }
}

impl EventChannel for XenChannel {
    fn name(&self) -> String {
        self.port.to_string()
    }

    fn local_port(&self) -> u32 {
        self.port
    }

    fn evtchn_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.device.as_fd())
    }

    /// The device is always writable.
    fn always_ready(&self) -> (BorrowedFd<'_>, Readiness) {
        (self.device.as_fd(), Readiness::WRITABLE)
    }

    fn attach(&self, set: Arc<EventSet>, tokens: Tokens) -> Result<()> {
        self.peer
            .as_ref()
            .map_or(Ok(()), |peer| peer.attach(&set, tokens))
            .and_then(|()| set.add(&self.device, Readiness::READABLE, tokens.readable))
            .map_err(|errno| Error::os("watch an event channel", errno))
    }

    fn notify(&self) -> Result<()> {
        let mut port = request::Port { port: self.port };
        // SAFETY: the structure is the request's.
        unsafe { request::evtchn_notify(self.device.as_raw_fd(), &mut port) }
            .map_err(|errno| EVTCHN.explain("send an event by", errno))?;
        Ok(())
    }

    fn receive(&self) -> Result<Received> {
        let mut fired = [0; 4];
        let event = match (&self.device).read(&mut fired) {
            Ok(4) => {
                self.unmask(u32::from_ne_bytes(fired))?;
                true
            }
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(EVTCHN.explain("receive an event by", error)),
        };
        // Checking the domain costs more system calls: only if the port was not the reason for the wake-up.
        // Watch events without effect count as an event, since they have made the descriptor readable, and a
        // thread that then waits must not sleep.
        let news = match &self.peer {
            Some(peer) if event => {
                peer.take_event();
                false
            }
            Some(peer) => peer.take(),
            None => false,
        };
        let ended = self.ended();
        Ok(Received { event: event || (news && !ended), ended })
    }

    fn same_scheduler(&self) -> bool {
        false
    }

    fn ended(&self) -> bool {
        self.peer.as_ref().is_some_and(DomainWatch::is_gone)
    }

    fn rearm(&self) -> Result<bool> {
        // A port whose peer is gone waits for the same domain again by itself.
        Ok(self.peer.as_ref().is_none_or(DomainWatch::reset))
    }
}
