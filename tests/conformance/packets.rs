//! `send` and `recv`: all or nothing.

use std::io::Read;
use std::time::Duration;

use vchan::Error;

use crate::support::{pair, rounds, spawn, Random};
use crate::world::World;

pub fn exact_sizes(world: &dyn World) {
    let (mut from, mut to) = pair(world, 4096);
    for _ in 0..2 {
        let sender = spawn("sender", move || {
            let mut random = Random::new(3);
            for _ in 0..rounds(500) {
                let len = random.below(4097);
                from.send(&random.bytes(len)).expect("send");
            }
            from
        });
        let mut random = Random::new(3);
        for _ in 0..rounds(500) {
            let len = random.below(4097);
            let mut packet = vec![0; len];
            to.recv(&mut packet).expect("recv");
            assert_eq!(packet, random.bytes(len));
        }
        (from, to) = (to, sender.join().expect("the sender"));
    }
}

pub fn too_large(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    let large = |result: vchan::Result<()>| {
        let error = result.expect_err("too large");
        assert!(matches!(error, Error::PacketTooLarge { size: 4097, ring: 4096 }), "{error}");
        assert_eq!(error.errno(), libc::EMSGSIZE);
    };
    large(client.send(&[0; 4097]));
    large(server.recv(&mut [0; 4097]));
    client.send(&[0; 4096]).expect("send as much as fits");
    server.recv(&mut [0; 4096]).expect("recv as much as fits");
}

pub fn no_partial_packets(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    client.set_nonblocking(true);
    server.set_nonblocking(true);
    client.send(&[1; 3000]).expect("send");
    assert!(matches!(client.send(&[2; 2000]), Err(Error::WouldBlock)));
    assert_eq!(client.buffer_space().expect("space"), 1096);
    assert!(matches!(server.recv(&mut [0; 3001]), Err(Error::WouldBlock)));
    assert_eq!(server.data_ready().expect("data"), 3000);
    server.set_nonblocking(false);
    server.set_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(server.recv(&mut [0; 3001]), Err(Error::TimedOut(_))));
    client.set_nonblocking(false);
    client.set_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(client.send(&[2; 2000]), Err(Error::TimedOut(_))));
    let mut all = [0; 4096];
    assert_eq!(server.read(&mut all).expect("read"), 3000);
}
