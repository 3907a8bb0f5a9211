//! Racing: the peer and each direction of the victim have their own threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use vchan::transport::Transport;
use vchan::{Listener, ListenerBuilder, Vchan};

use super::guarded::Machine;
use super::peer::{Peer, CLIENT, PORT, SERVER};
use super::script::Script;
use super::tally::Tally;
use super::victim::Victim;

/// The maximum number of calls per direction.
const CALLS: usize = 40;

/// A server's builder for a script.
pub fn server(transport: impl Transport + 'static, script: &mut Script) -> ListenerBuilder {
    let mut size = || [1, 2048, 5000, 65536][script.below(4)];
    let builder = Listener::builder(CLIENT, PORT).transport(transport).read_size(size()).write_size(size());
    let spin = Duration::from_micros(script.below(3) as u64 * 10);
    builder.spin(spin).first_index(script.u32()).persistent(script.once_in(4))
}

/// Runs a script against a peer in another thread; panics if the library misbehaves.
pub fn race(bytes: &[u8]) -> Tally {
    let mut script = Script::new(bytes);
    let machine = Machine::new();
    let (servers, clients) = (machine.domain(SERVER, None), Arc::new(machine.domain(CLIENT, None)));
    let mut tally = Tally { scripts: 1, ..Tally::default() };
    let first;
    let (victim, mut peer) = if script.once_in(2) {
        let victim = server(servers, &mut script).open().expect("listen");
        let mut peer = Peer::client(clients).expect("the hostile client");
        peer.announce();
        first = peer.pages.u32(peer.pages.victims_indices()[0]);
        (victim, peer)
    } else {
        let peer = Peer::server(Arc::new(servers), &mut script).expect("the hostile server");
        first = peer.pages.u32(peer.pages.victims_indices()[0]);
        match Vchan::builder(SERVER, PORT).transport(clients).connect() {
            Ok(victim) => (victim, peer),
            // The orders are invalid.
            Err(_) => return tally,
        }
    };
    let stop = AtomicBool::new(false);
    peer.restrict(script.u32() & script.u32());
    let mut acts = script.take(200);
    let moved = std::thread::scope(|scope| {
        let peers = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peer.act(&mut acts, &mut tally.acts);
                if acts.is_over() {
                    acts.rewind();
                }
            }
        });
        let moved = both_directions(Victim::new(victim, false), &mut script, &stop);
        peers.join().expect("the peer");
        moved
    });
    if let Some(indices) = moved.0 {
        peer.pages.check_moved(indices.map(|moved| first.wrapping_add(moved)), false);
    }
    tally.add(&moved.1);
    tally
}

/// Runs a script against a peer in another process, to which the caller has sent the script; ends when it is
/// used up.
pub fn race_against(victim: Vchan, script: &mut Script) -> Tally {
    let mut victim = Victim::new(victim, false);
    victim.may_lack_memory = true;
    both_directions(victim, script, &AtomicBool::new(false)).1
}

/// Each direction makes the calls of its part of the script. Returns the transferred bytes, if they are
/// known.
fn both_directions(mut reading: Victim, script: &mut Script, stop: &AtomicBool) -> (Option<[u32; 2]>, Tally) {
    let mut writing = reading.split();
    let mut scripts = [script.take(200), script.take(200)];
    let [ours, theirs] = &mut scripts;
    let calls = |victim: &mut Victim, script: &mut Script| {
        for _ in 0..CALLS {
            if script.is_over() || victim.is_over() {
                break;
            }
            victim.call(&mut script.take(10));
        }
    };
    std::thread::scope(|scope| {
        // Stops the peer also after a panic.
        let _stop = Stop(stop);
        let thread = scope.spawn(|| calls(&mut writing, theirs));
        calls(&mut reading, ours);
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
    let mut tally = reading.tally;
    tally.add(&writing.tally);
    let followed = reading.is_followed && writing.is_followed;
    (followed.then_some([writing.moved[0], reading.moved[1]]), tally)
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
