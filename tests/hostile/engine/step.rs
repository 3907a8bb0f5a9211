//! Lockstep: one thread runs both sides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vchan::{Error, Listener, Vchan};

use super::guarded::{Hook, Machine};
use super::peer::{Peer, CLIENT, PORT, SERVER};
use super::script::Script;
use super::tally::{count, Tally};
use super::victim::Victim;

/// The maximum number of steps: longer scripts find nothing new.
const STEPS: usize = 60;

/// The peer's state, also used in the middle of the victim's calls.
struct Stage {
    script: Script,
    peer: Option<Peer>,
    tally: Tally,
    /// How often the peer can still act during the current call.
    interventions: usize,
}

impl Stage {
    fn act(&mut self) {
        if let Some(peer) = &mut self.peer {
            peer.act(&mut self.script, &mut self.tally.acts);
        }
    }
}

/// Runs a script; panics if the library misbehaves.
pub fn step(bytes: &[u8]) -> Tally {
    let machine = Machine::new();
    let stage = Arc::new(Mutex::new(Stage {
        script: Script::new(bytes),
        peer: None,
        tally: Tally { scripts: 1, ..Tally::default() },
        interventions: 0,
    }));
    let mut tally = match connect(&machine, &stage) {
        Some((victim, first)) => play(victim, first, &stage),
        None => Tally::default(),
    };
    {
        let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.peer = None;
        tally.add(&stage.tally);
    }
    assert!(machine.is_clean(), "something is still shared, bound or published");
    tally
}

/// Connects both sides, if the peer allows it. The victim's indices begin at the second number.
fn connect(machine: &Machine, stage: &Arc<Mutex<Stage>>) -> Option<(Victim, u32)> {
    let in_the_middle = stage.clone();
    let hook: Hook = Arc::new(move || {
        // If the stage is locked, this thread is not in the middle of a victim's call.
        if let Ok(mut stage) = in_the_middle.try_lock() {
            if stage.interventions > 0 {
                stage.interventions -= 1;
                stage.act();
            }
        }
    });
    let mut guard = stage.lock().expect("the stage");
    let (serves, nudges, spin) = (guard.script.once_in(2), guard.script.once_in(2), guard.script.once_in(4));
    let spin = Duration::from_micros(if spin { 5 } else { 0 });
    if serves {
        let transport = machine.domain(SERVER, Some(hook));
        let first = if guard.script.once_in(2) { 0 } else { guard.script.u32() };
        let size = |script: &mut Script| [1, 2048, 4096, 5000][script.below(4)];
        let mut builder = Listener::builder(CLIENT, PORT).transport(transport).spin(spin).first_index(first);
        builder = builder.read_size(size(&mut guard.script)).write_size(size(&mut guard.script));
        builder = if nudges { builder } else { builder.without_extra_events() };
        let victim = Victim::new(builder.persistent(guard.script.once_in(4)).open().expect("listen"), true);
        let mut peer = Peer::client(Arc::new(machine.domain(CLIENT, None))).expect("the hostile client");
        if !guard.script.once_in(8) {
            peer.announce();
        }
        peer.restrict(guard.script.u32() & guard.script.u32());
        guard.peer = Some(peer);
        return Some((victim, first));
    }
    let Stage { script, .. } = &mut *guard;
    let mut peer = Peer::server(Arc::new(machine.domain(SERVER, None)), script).expect("the hostile server");
    let first = peer.pages.u32(peer.pages.victims_indices()[0]);
    peer.restrict(script.u32() & script.u32());
    guard.peer = Some(peer);
    for _ in 0..guard.script.below(4) / 2 {
        guard.act();
    }
    let before = guard.peer.as_mut().map(|peer| {
        peer.pages.believe_published();
        (peer.pages.victims_indices().map(|at| peer.pages.u32(at)), peer.pages.is_over_indices())
    });
    drop(guard);
    let transport = machine.domain(CLIENT, Some(hook));
    let builder = Vchan::builder(SERVER, PORT).transport(transport).spin(spin);
    let connected = if nudges { builder } else { builder.without_extra_events() }.connect();
    let mut guard = stage.lock().expect("the stage");
    match connected {
        Ok(vchan) => {
            count(&mut guard.tally.results, "connected");
            // The indices that the server chose before the client connected are the expected ones.
            let same = before == Some(([first; 2], false));
            let mut victim = Victim::new(vchan, true);
            victim.is_followed = same;
            Some((victim, first))
        }
        Err(error) => {
            let kind = match error {
                Error::Corrupt(_) => "refused-corrupt",
                Error::Invalid(_) => "refused-grants",
                Error::NoServer { .. } => "refused-no-server",
                other => panic!("connect failed with {other:?}"),
            };
            count(&mut guard.tally.results, kind);
            None
        }
    }
}

fn play(mut victim: Victim, first: u32, stage: &Arc<Mutex<Stage>>) -> Tally {
    check(stage, &victim, first, false);
    for _ in 0..STEPS {
        let mut guard = stage.lock().expect("the stage");
        if guard.script.is_over() {
            break;
        }
        for _ in 0..guard.script.below(4) {
            guard.act();
        }
        guard.interventions = guard.script.below(8) / 2;
        // The call's part of the script is read beforehand; the peer continues after it.
        let mut call = guard.script.take(10);
        if victim.polls(&call) {
            guard.interventions = 0;
        }
        let quiet = guard.interventions == 0;
        drop(guard);
        victim.call(&mut call);
        check(stage, &victim, first, quiet);
        if victim.is_over() {
            break;
        }
    }
    victim.tally
}

/// Checks that the victim wrote only its own fields, and that its indices match the transferred bytes.
fn check(stage: &Arc<Mutex<Stage>>, victim: &Victim, first: u32, quiet: bool) {
    let mut stage = stage.lock().expect("the stage");
    let Some(peer) = &mut stage.peer else { return };
    peer.pages.check_victim();
    if victim.is_followed {
        peer.pages.check_moved(victim.moved.map(|moved| first.wrapping_add(moved)), quiet);
    }
}
