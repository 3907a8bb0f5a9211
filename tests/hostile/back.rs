//! A peer that moves its index forward and then back again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use vchan::unstable::ring::Interest;
use vchan::unstable::{Channel, Internals};
use vchan::{Error, Listener};

use crate::engine::{Hook, Machine, Peer, CLIENT, PORT, SERVER};

const SIZE: u32 = 65536;
/// More than the library copies in one chunk.
const PACKET: usize = 40_000;

/// The peer and the victim's channel, once both exist.
type Stage = Arc<Mutex<Option<(Peer, Arc<Channel>)>>>;

/// In the middle of a packet, when the library notifies the peer of its first part, the peer moves its index
/// back, and another thread reads it. The call must not report success, since a part was not transferred.
#[test]
fn packet_is_whole_or_fails() {
    for sends in [true, false] {
        let machine = Machine::new();
        let stage: Stage = Arc::default();
        let in_the_middle = stage.clone();
        let hook: Hook = Arc::new(move || {
            let Ok(mut stage) = in_the_middle.try_lock() else { return };
            let Some((peer, channel)) = stage.as_mut() else { return };
            let [prod, cons] = peer.pages.peers_indices();
            let [written, read] = peer.pages.victims_indices().map(|at| peer.pages.u32(at));
            let (at, nothing, interest) = if sends {
                (cons, written.wrapping_sub(SIZE), Interest::Writable)
            } else {
                (prod, read, Interest::Readable)
            };
            peer.pages.set_u32(at, nothing);
            channel.arm(interest);
        });
        let servers = machine.domain(SERVER, Some(hook));
        let builder = Listener::builder(CLIENT, PORT).transport(servers).buffer_size(SIZE as usize);
        let mut victim = builder.spin(Duration::from_micros(20)).open().expect("listen");
        let mut peer = Peer::client(Arc::new(machine.domain(CLIENT, None))).expect("the hostile client");
        peer.announce();
        victim.set_timeout(Some(Duration::from_millis(50)));
        // All the peer's requests are set, so each part causes an event.
        peer.pages.set_u8(23, 3);
        if !sends {
            let index = peer.pages.peers_indices()[0];
            peer.pages.set_u32(index, SIZE);
        }
        *stage.lock().expect("the stage") = Some((peer, victim.channel().clone()));
        let result = if sends { victim.send(&[1; PACKET]) } else { victim.recv(&mut [0; PACKET]) };
        let guard = stage.lock().expect("the stage");
        let (peer, _) = guard.as_ref().expect("the peer");
        let moved = peer.pages.u32(peer.pages.victims_indices()[usize::from(!sends)]);
        assert!(moved > 0 && moved < PACKET as u32, "the peer did not act in the middle: {moved}");
        assert!(matches!(result, Err(Error::Corrupt(_))), "{moved} of {PACKET} bytes were moved: {result:?}");
        drop(guard);
        *stage.lock().expect("the stage") = None;
    }
}
