//! Timeouts.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use vchan::Error;

use crate::support::{accept, client, pair, rounds, server, LONG};
use crate::world::World;

const SHORT: Duration = Duration::from_millis(40);

fn assert_times_out_in_time<T>(body: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = body();
    assert!(begun.elapsed() >= SHORT, "timed out after {:?}", begun.elapsed());
    assert!(begun.elapsed() < LONG, "timed out after {:?}", begun.elapsed());
    result
}

pub fn timeouts(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    for end in [&mut server, &mut client] {
        end.set_timeout(Some(SHORT));
        let read = assert_times_out_in_time(|| end.read(&mut [0; 1]));
        assert_eq!(read.expect_err("no data").kind(), ErrorKind::TimedOut);
        let recv = assert_times_out_in_time(|| end.recv(&mut [0; 1]));
        assert!(matches!(recv, Err(Error::TimedOut(SHORT))));
    }
    for end in [&mut server, &mut client] {
        // Bytes written before the timeout are reported; the next call returns the error.
        assert_eq!(assert_times_out_in_time(|| end.write(&[0; 5000])).expect("a part"), 4096);
        assert_eq!(
            assert_times_out_in_time(|| end.write(&[0; 1])).expect_err("no space").kind(),
            ErrorKind::TimedOut
        );
        assert!(matches!(assert_times_out_in_time(|| end.send(&[0; 1])), Err(Error::TimedOut(SHORT))));
        end.set_timeout(Some(Duration::ZERO));
        assert!(matches!(end.send(&[0; 1]), Err(Error::TimedOut(_))));
    }
    // The channel still works.
    server.recv(&mut [0; 4096]).expect("recv");
}

pub fn unlimited_timeouts(world: &dyn World) {
    let never = Duration::MAX;
    let listening = server(world).open().expect("listen");
    let mut client = client(world).wait(never).connect().expect("connect");
    let mut server = accept(listening, Some(never)).expect("accept");
    let thread = std::thread::spawn(move || {
        server.set_timeout(Some(never));
        server.read(&mut [0; 1]).map(|_| server)
    });
    client.set_timeout(Some(never));
    // Connecting can cause an unrequested event, as on Xen; after that there are none.
    let _ = client.wait(Some(SHORT));
    client.wait(Some(SHORT)).expect_err("nothing comes");
    client.write_all(&[1]).expect("write");
    let mut server = thread.join().expect("no panic").expect("read");
    client.data_ready().expect("data_ready");
    server.write_all(&[1]).expect("write");
    client.wait(Some(never)).expect("an event");
}

pub fn wait_for_an_event(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    // Events from connecting.
    while client.wait(Some(SHORT)).is_ok() {}
    for _ in 0..rounds(100) {
        assert_eq!(client.data_ready().expect("data_ready"), 0);
        server.write_all(b"x").expect("write");
        client.wait(Some(LONG)).expect("an event");
        assert_eq!(client.data_ready().expect("data_ready"), 1);
        client.recv(&mut [0]).expect("recv");
    }
    // The event of a byte that was read before can cause one more wake-up.
    while client.wait(Some(SHORT)).is_ok() {}
    assert!(matches!(assert_times_out_in_time(|| client.wait(Some(SHORT))), Err(Error::TimedOut(_))));
}
