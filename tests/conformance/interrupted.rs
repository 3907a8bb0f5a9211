//! Signals to a blocked thread.

use std::io::{Read, Write};
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};
use vchan::{Error, Result, State, Vchan};

use crate::support::{accept, client, inner, pair, server, spawn, wait_until_asleep, LONG};
use crate::world::World;

extern "C" fn nothing(_: libc::c_int) {}

/// Lets SIGUSR1 interrupt system calls and do nothing else.
fn install_handler() {
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("sigaction");
}

/// Signals the thread until it has ended. A single signal can be too early.
fn interrupt<T>(thread: JoinHandle<T>, name: &str) -> T {
    wait_until_asleep(name);
    while !thread.is_finished() {
        // SAFETY: the thread has not been joined.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
        std::thread::sleep(Duration::from_millis(5));
    }
    thread.join().expect("the thread")
}

pub fn signal_interrupts_a_read(world: &dyn World) {
    install_handler();
    let (mut server, mut client) = pair(world, 4096);
    for _ in 0..10 {
        let thread = spawn("blocked", move || (server.read(&mut [0; 4]), server));
        let result;
        (result, server) = interrupt(thread, "blocked");
        let error = result.expect_err("interrupted");
        assert!(matches!(inner(&error), Error::Interrupted), "{error}");
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        let thread = spawn("blocked", move || (server.recv(&mut [0; 4]), server));
        let result;
        (result, server) = interrupt(thread, "blocked");
        assert!(matches!(result, Err(Error::Interrupted)));
    }
    // The channel still works.
    client.write_all(b"text").expect("write");
    server.recv(&mut [0; 4]).expect("recv");
}

/// That would lose the channel.
pub fn signal_does_not_end_an_accept(world: &dyn World) {
    install_handler();
    let listening = server(world).open().expect("listen");
    accepts_through_signals(world, move || accept(listening, Some(LONG)));
    let listener = server(world).bind().expect("bind");
    accepts_through_signals(world, move || listener.accept());
}

fn accepts_through_signals(world: &dyn World, accept: impl FnOnce() -> Result<Vchan> + Send + 'static) {
    let thread = spawn("blocked", accept);
    for _ in 0..5 {
        wait_until_asleep("blocked");
        // SAFETY: the thread has not been joined.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
    }
    let _client = client(world).connect().expect("connect");
    let accepted = thread.join().expect("the thread").expect("accept");
    assert_eq!(accepted.state().expect("state"), State::Connected);
}

/// There is no channel yet that could be lost. A handler with SA_RESTART does not end the wait.
pub fn signal_ends_the_wait_for_a_server(world: &dyn World) {
    install_handler();
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.expect("sigaction");
    std::thread::scope(|scope| {
        let (sender, thread_of_client) = std::sync::mpsc::channel();
        let waiting = std::thread::Builder::new().name("awaiting".into()).spawn_scoped(scope, move || {
            // SAFETY: always succeeds.
            sender.send(unsafe { libc::pthread_self() }).expect("the starting thread waits");
            client(world).wait(LONG).connect().map(drop)
        });
        let waiting = waiting.expect("start a thread");
        let thread = thread_of_client.recv().expect("the thread starts");
        // SAFETY: the thread has not been joined.
        let send = |signal| unsafe { libc::pthread_kill(thread, signal) };
        for _ in 0..3 {
            wait_until_asleep("awaiting");
            send(libc::SIGUSR2);
        }
        wait_until_asleep("awaiting");
        assert!(!waiting.is_finished(), "a restarting handler ended the wait");
        while !waiting.is_finished() {
            send(libc::SIGUSR1);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(matches!(waiting.join().expect("the thread"), Err(Error::Interrupted)));
    });
}

pub fn interrupted_write_returns_the_count(world: &dyn World) {
    install_handler();
    let (mut server, mut client) = pair(world, 4096);
    let thread = spawn("blocked", move || (client.write(&[5; 10_000]), client));
    let (result, mut client) = interrupt(thread, "blocked");
    assert_eq!(result.expect("a part was written"), 4096);
    let thread = spawn("blocked", move || (client.write(&[6; 10]), client));
    let (result, _client) = interrupt(thread, "blocked");
    assert!(matches!(inner(&result.expect_err("interrupted")), Error::Interrupted));
    let mut all = [0; 8000];
    assert_eq!(server.read(&mut all).expect("read"), 4096);
    assert!(all[..4096].iter().all(|&byte| byte == 5));
}
