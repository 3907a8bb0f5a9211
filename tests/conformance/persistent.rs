//! A server that stays while clients come and go.

use std::io::{Read, Write};

use vchan::{Closer, Vchan};

use crate::support::{client, rounds, server, spawn, wait_until_asleep, LONG};
use crate::world::World;

/// Echoes until it is closed.
fn echo(mut server: Vchan) -> std::io::Error {
    let mut buffer = [0; 1000];
    loop {
        let outcome = server.read(&mut buffer).and_then(|count| {
            assert!(count > 0, "a persistent server sees no end");
            server.write_all(&buffer[..count])
        });
        if let Err(error) = outcome {
            return error;
        }
    }
}

fn say_hello(mut client: Vchan, round: usize) {
    let text = format!("hello {round}");
    client.write_all(text.as_bytes()).expect("write");
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).expect("read");
    assert_eq!(answer, text.as_bytes());
}

pub fn one_client_after_another(world: &dyn World) {
    let closer = Closer::new();
    // The indices continue from the previous client: also across the wrap.
    let builder = server(world).persistent(true).closer(&closer).buffer_size(1024).first_index(u32::MAX - 60);
    let listening = builder.open().expect("listen");
    let server = spawn("server", move || echo(listening));
    for round in 0..rounds(40) {
        say_hello(client(world).wait(LONG).connect().expect("connect"), round);
    }
    closer.close();
    let error = server.join().expect("the server");
    assert_eq!(crate::support::inner(&error).errno(), libc::ESHUTDOWN);
}

pub fn client_waits_for_the_previous_one(world: &dyn World) {
    let closer = Closer::new();
    let listening = server(world).persistent(true).closer(&closer).open().expect("listen");
    let server = spawn("server", move || echo(listening));
    let first = client(world).connect().expect("connect");
    std::thread::scope(|scope| {
        let second = std::thread::Builder::new().name("second".into());
        let second = second.spawn_scoped(scope, || client(world).wait(LONG).connect());
        wait_until_asleep("second");
        say_hello(first, 1);
        say_hello(second.expect("start a thread").join().expect("the second").expect("connect"), 2);
    });
    closer.close();
    server.join().expect("the server");
}
