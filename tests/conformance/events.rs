//! Event channels that fail, or never fall silent.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vchan::Error;

use crate::meddling::Meddling;
use crate::support::{client, connect, server, LONG};
use crate::world::World;

pub fn events_without_end_do_not_stop_the_clock(world: &dyn World) {
    let below = Meddling::new(world.server());
    below.mischief().tireless.store(true, Ordering::Relaxed);
    let limit = Duration::from_millis(60);
    let timed_out = |call: &mut dyn FnMut() -> vchan::Result<()>| {
        let begun = Instant::now();
        let error = call().expect_err("nothing comes");
        assert!(matches!(error, Error::TimedOut(_)), "{error}");
        assert!(begun.elapsed() >= limit && begun.elapsed() < LONG, "after {:?}", begun.elapsed());
    };
    let mut listening = Some(server(world).transport(&below).listen().expect("listen"));
    timed_out(&mut || listening.take().expect("once").accept(Some(limit)).map(drop));

    let (mut server, client) = connect(&server(world).transport(&below), &client(world));
    server.set_timeout(Some(limit));
    timed_out(&mut || server.recv(&mut [0; 4]));
    server.send(&[0; 65536]).expect("send");
    timed_out(&mut || server.send(&[0; 1]));
    drop(client);
}

pub fn what_was_moved_is_told_though_the_event_failed(world: &dyn World) {
    let below = Meddling::new(world.client());
    let mute = below.mischief().mute;
    let (mut server, mut client) =
        connect(&server(world).buffer_size(65536), &client(world).transport(&below));
    // Both events that the client is going to owe: for the data it writes, and for the space it makes.
    server.channel().expect(vchan::ring::Want::Data);
    server.channel().expect(vchan::ring::Want::Space);
    server.write_all(&[3; 100]).expect("write");
    mute.store(true, Ordering::Relaxed);
    assert_eq!(client.read(&mut [0; 500]).expect("what was there"), 100);
    assert_eq!(client.write(&[4; 200]).expect("what was written"), 200);
    mute.store(false, Ordering::Relaxed);
    let mut all = [0; 500];
    assert_eq!(server.read(&mut all).expect("read"), 200);
    assert_eq!(server.data_ready().expect("data_ready"), 0);
}
