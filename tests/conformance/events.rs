//! Event channels that fail, or never stop sending events.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vchan::unstable::ring::Interest;
use vchan::unstable::{Internals, Wait};
use vchan::{Error, Listener, Vchan};

use crate::meddling::Meddling;
use crate::raw::{Raw, CLI_LIVE, LEFT_PROD};
use crate::support::{
    accept, client, connect, inner, pair, pair_without_spinning, readable, readable_now, server, spawn,
    wait_until_asleep, LONG, PORT,
};
use crate::world::{World, CLIENT, SERVER};

pub fn endless_events_do_not_defeat_timeouts(world: &dyn World) {
    let below = Meddling::new(world.server());
    below.faults().endless.store(true, Ordering::Relaxed);
    assert_timeouts_work(world, &below);
}

/// The descriptor is always readable, without an event.
pub fn stray_readiness_does_not_defeat_timeouts(world: &dyn World) {
    let below = Meddling::new(world.server());
    below.faults().stray.store(true, Ordering::Relaxed);
    assert_timeouts_work(world, &below);
}

fn assert_timeouts_work(world: &dyn World, below: &Meddling) {
    let limit = Duration::from_millis(60);
    let timed_out = |call: &mut dyn FnMut() -> vchan::Result<()>| {
        let begun = Instant::now();
        let error = call().expect_err("nothing comes");
        assert!(matches!(error, Error::TimedOut(_)), "{error}");
        assert!(begun.elapsed() >= limit && begun.elapsed() < LONG, "after {:?}", begun.elapsed());
    };
    let mut listening = Some(server(world).transport(below.clone()).open().expect("listen"));
    timed_out(&mut || accept(listening.take().expect("once"), Some(limit)).map(drop));

    let (mut server, client) = connect(&server(world).transport(below.clone()), &client(world));
    server.set_timeout(Some(limit));
    timed_out(&mut || server.recv(&mut [0; 4]));
    server.send(&[0; 65536]).expect("send");
    timed_out(&mut || server.send(&[0; 1]));
    drop(client);
}

/// Whatever made the descriptor readable, a subsequent wait returns.
pub fn wait_after_poll_returns(world: &dyn World) {
    let (server, client) = pair(world, 4096);
    let silence = |vchan: &Vchan| {
        for _ in 0..10 {
            if !readable(vchan, Duration::from_millis(100)) {
                return;
            }
            vchan.wait(Some(LONG)).expect("the descriptor was readable");
        }
        panic!("readable for ever");
    };
    silence(&server);
    // Also for events of the transport itself.
    silence(&client);
    client.channel().notify().expect("notify");
    silence(&server);
    silence(&client);
}

pub fn failed_event_does_not_lose_the_count(world: &dyn World) {
    let below = Meddling::new(world.client());
    let mute = below.faults().mute;
    let (mut server, mut client) =
        connect(&server(world).buffer_size(65536), &client(world).transport(below.clone()));
    // Both events that the client has to send: for the data it writes, and for the space it frees.
    server.channel().arm(vchan::unstable::ring::Interest::Readable);
    server.channel().arm(vchan::unstable::ring::Interest::Writable);
    server.write_all(&[3; 100]).expect("write");
    mute.store(true, Ordering::Relaxed);
    assert_eq!(client.read(&mut [0; 500]).expect("what was there"), 100);
    assert_eq!(client.write(&[4; 200]).expect("what was written"), 200);
    mute.store(false, Ordering::Relaxed);
    let mut all = [0; 500];
    assert_eq!(server.read(&mut all).expect("read"), 200);
    assert_eq!(server.data_ready().expect("data_ready"), 0);
}

/// Bytes and the end arrive between two checks of a spinning reader, which is likely to see only the end.
pub fn last_bytes_arrive_together_with_the_end(world: &dyn World) {
    let below = Meddling::new(world.server());
    below.faults().endless.store(true, Ordering::Relaxed);
    for round in 0..600 {
        let listening = server(world).transport(below.clone()).spin(Duration::ZERO).open().expect("listen");
        let raw = Raw::client(world);
        raw.announce();
        let mut server = accept(listening, Some(LONG)).expect("accept");
        let looks = below.faults().receives;
        let before = looks.load(Ordering::Relaxed);
        let reading = spawn("reader", move || (server.read(&mut [0; 9]), server));
        while looks.load(Ordering::Relaxed) < before + 3 {
            std::hint::spin_loop();
        }
        raw.u32(LEFT_PROD).store(4, Ordering::Release);
        raw.u8(CLI_LIVE).store(0, Ordering::SeqCst);
        let (count, _server) = reading.join().expect("the reader");
        assert_eq!(count.expect("read"), 4, "round {round}");
    }
}

/// A peer of this implementation misses no event, so no unrequested one is sent.
pub fn own_peers_get_no_unrequested_events(world: &dyn World) {
    let listening = Listener::builder(CLIENT, PORT).transport(world.server()).open().expect("listen");
    let client = Vchan::builder(SERVER, PORT).transport(world.client()).connect().expect("connect");
    let server = accept(listening, Some(LONG)).expect("accept");
    let mut ends = [server, client];
    // Each side has taken the other's first events and answers.
    for turn in [0, 1, 0, 1] {
        ends[turn].set_nonblocking(true);
        readable_now(&ends[turn]);
        assert!(ends[turn].read(&mut [0]).is_err(), "there is nothing to read");
        ends[turn].set_nonblocking(false);
    }
    for turn in [0, 1] {
        let [server, client] = &mut ends;
        let (waiting, idle) = if turn == 0 { (server, client) } else { (client, server) };
        idle.set_nonblocking(true);
        readable_now(&*idle);
        while idle.read(&mut [0]).is_ok() {}
        assert!(!readable_now(&*idle), "readable before");
        waiting.set_timeout(Some(Duration::from_millis(100)));
        assert!(waiting.read(&mut [0]).is_err(), "there is nothing to read");
        assert!(!readable_now(&*idle), "an unrequested event");
        idle.set_nonblocking(false);
    }
}

/// A failing event channel ends the calls of all threads that sleep on it, whichever of them detects it.
pub fn failure_wakes_all_threads(world: &dyn World) {
    let below = Meddling::new(world.server());
    let faults = below.faults();
    let (server, client) = connect(
        &server(world).transport(below.clone()).buffer_size(4096).spin(Duration::ZERO),
        &client(world),
    );
    let (mut reader, mut writer) = server.split();
    writer.send(&[1; 4096]).expect("fill the ring");
    let reading = spawn("reading", move || reader.read(&mut [0; 4]).map(|_| reader));
    let writing = spawn("writing", move || writer.write(&[2; 4]).map(|_| writer));
    wait_until_asleep("reading");
    wait_until_asleep("writing");
    faults.fail();
    for error in [reading.join().expect("the reader").err(), writing.join().expect("the writer").err()] {
        let error = error.expect("the event channel has failed");
        assert_eq!(inner(&error).errno(), libc::EIO);
    }
    drop(client);
}

/// Threads of one side wait for different amounts: each is woken when there is enough for it.
pub fn smallest_request_is_met_first(world: &dyn World) {
    let (server, mut client) = pair_without_spinning(world, 4096);
    let mut server = server;
    server.send(&[1; 4096]).expect("fill the ring");
    let channel = server.channel().clone();
    let asleep = |name: &str, interest, need| {
        let channel = channel.clone();
        let thread = spawn(name, move || channel.at_least(interest, need, Wait::AtMost(Some(LONG))));
        wait_until_asleep(name);
        thread
    };
    // The leader takes the events on behalf of the others.
    let leader = asleep("leader", Interest::Writable, 4096);
    let much = asleep("much", Interest::Readable, 3000);
    let little = asleep("little", Interest::Readable, 10);
    let more = asleep("more", Interest::Readable, 2000);
    client.write_all(&[0; 9]).expect("write");
    client.write_all(&[0; 1]).expect("write");
    little.join().expect("the thread").expect("10 bytes are there");
    client.write_all(&[0; 1990]).expect("write");
    more.join().expect("the thread").expect("2000 bytes are there");
    assert!(!much.is_finished(), "3000 bytes are not there");
    client.write_all(&[0; 1000]).expect("write");
    much.join().expect("the thread").expect("3000 bytes are there");
    client.recv(&mut [0; 4096]).expect("recv");
    leader.join().expect("the thread").expect("the ring is empty");
}
