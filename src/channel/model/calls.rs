//! What the threads of a model do with a channel.

use std::sync::Arc;

use super::world::{Doorbell, World};
use crate::channel::channel::Channel;
use crate::ring::Interest;
use crate::Error;

/// The bytes that go through.
pub(super) fn text(len: usize) -> Vec<u8> {
    (1..=len).map(|n| n as u8).collect()
}

/// Where a side with non-blocking calls waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum WaitPlace {
    /// It polls the descriptor of the direction.
    Poll,
    /// It waits for any event.
    Wait,
}

/// The part of a buffer of `len` bytes that a non-blocking call gets: at most the ring's size, as from the C
/// interface.
fn cut(len: usize, ring: u32) -> usize {
    len.min(ring as usize)
}

/// One side.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) channel: Arc<Channel>,
    doorbell: Arc<Doorbell>,
}

impl Side {
    pub(super) fn new(world: &World, channel: Arc<Channel>, side: usize) -> Side {
        Side { channel, doorbell: world.doorbell(side) }
    }

    /// Writes everything. `false` if writing is over.
    pub(super) fn write(&self, data: &[u8]) -> bool {
        let progress = self.channel.write(data, None);
        match progress.stopped {
            None => assert_eq!(progress.done, data.len()),
            Some(Error::PeerClosed | Error::Closed) => return false,
            Some(error) => panic!("{error}"),
        }
        true
    }

    /// Waits after a call that moved less than it was asked for.
    fn until_more(&self, place: WaitPlace, interest: Interest) {
        match place {
            WaitPlace::Poll => self.doorbell.poll(self.channel.fd(Some(interest)).unwrap()),
            WaitPlace::Wait => match self.channel.wait(None) {
                Ok(()) | Err(Error::PeerClosed) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }

    /// As `write`, without blocking in a call.
    pub(super) fn write_from(&self, place: WaitPlace, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let cut = cut(data.len(), self.channel.ring().producer.size());
            let progress = self.channel.write_now(&data[..cut], data.len(), true);
            data = &data[progress.done..];
            match progress.stopped {
                None if data.is_empty() => {}
                None | Some(Error::WouldBlock) => self.until_more(place, Interest::Writable),
                Some(Error::PeerClosed) => return false,
                Some(error) => panic!("{error}"),
            }
        }
        true
    }

    /// Reads `len` bytes, or up to the end.
    pub(super) fn read(&self, len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let mut part = [0; 2];
        while data.len() < len {
            let most = part.len().min(len - data.len());
            match self.channel.read(&mut part[..most], most, None) {
                Ok(count) => data.extend(&part[..count]),
                Err(Error::PeerClosed | Error::PeerFinished | Error::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        data
    }

    /// As `read`, without blocking in a call.
    pub(super) fn read_from(&self, place: WaitPlace, len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let mut part = [0; 3];
        while data.len() < len {
            let most = part.len().min(len - data.len());
            let cut = cut(most, self.channel.ring().consumer.size());
            match self.channel.read_now(&mut part[..cut], most, true) {
                Ok(count) => {
                    data.extend(&part[..count]);
                    // A caller that gets less than it asked for may poll.
                    if count < most {
                        self.until_more(place, Interest::Readable);
                    }
                }
                Err(Error::WouldBlock) => self.until_more(place, Interest::Readable),
                Err(Error::PeerClosed | Error::PeerFinished) => break,
                Err(error) => panic!("{error}"),
            }
        }
        data
    }
}
