//! A server that takes one client after another: the next one need not wait until the server has noticed the
//! previous one's end.

use std::io::{Read, Write};

use super::*;
use vchan::unstable::Internals;
use vchan::{Error, Listener, State, Vchan};

#[test]
fn clients_connect_while_the_server_is_idle() {
    let temp = private_dir();
    let transport = transport(temp.path());
    let mut server =
        Listener::builder_at(1, "/many").transport(transport.clone()).persistent(true).open().unwrap();
    let connect = || Vchan::builder_at(0, "/many").transport(transport.clone()).connect();
    server.set_timeout(Some(LONG));
    for n in 0..3u8 {
        let mut client = connect().unwrap();
        assert!(matches!(connect(), Err(Error::InUse { serving: false, .. })));
        client.write_all(&[n]).unwrap();
        client.close();
    }
    let mut got = [0; 3];
    server.read_exact(&mut got).unwrap();
    assert_eq!(got, [0, 1, 2]);

    // Some of these clients sleep before the server has noticed the change: the event must still reach them.
    for n in 0..50u8 {
        let mut client = connect().unwrap();
        client.set_timeout(Some(LONG));
        let reader = std::thread::spawn(move || {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            byte[0]
        });
        server.write_all(&[n]).unwrap();
        assert_eq!(reader.join().unwrap(), n);
    }
    drop(server);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn persistence_can_change_while_serving() {
    let temp = private_dir();
    let transport = transport(temp.path());
    let server = Listener::builder_at(1, "/late").transport(transport.clone()).open().unwrap();
    let connect = || Vchan::builder_at(0, "/late").transport(transport.clone()).connect();
    let first = connect().unwrap();
    let server = accept(server, Some(LONG)).unwrap();
    server.channel().set_persistent(true).unwrap();
    first.close();
    let second = connect().unwrap();
    server.channel().set_persistent(false).unwrap();
    second.close();
    assert_eq!(server.state().unwrap(), State::PeerClosed);
    assert!(connect().is_err());
    drop(server);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}
