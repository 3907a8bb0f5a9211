//! A xenstored with arbitrary replies.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use vchan_xenstore::{Access, Nodes, Perm, XsClient, XsError};

use super::script::Script;
use super::tally::{count, Tally};

/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_millis(4);
/// The time limit of a call, which can make several requests on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The content of a reply without a request.
const WRONG_REPLY: &[u8] = b"wrong";

const CALLS: [&str; 12] = [
    "xs-read",
    "xs-read-text",
    "xs-read-number",
    "xs-directory",
    "xs-write",
    "xs-mkdir",
    "xs-rm",
    "xs-get-perms",
    "xs-set-perms",
    "xs-watch",
    "xs-event",
    "xs-transaction",
];

/// Runs a script against the xenstore client; panics if it misbehaves.
pub fn ask_daemon(bytes: &[u8]) -> Tally {
    let mut script = Script::new(bytes);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).expect("listen");
    let client = XsClient::connect(&path).expect("connect").with_timeout(TIMEOUT);
    let (daemon, _) = listener.accept().expect("accept");
    let mut answers = script.take(bytes.len() / 2);
    let mut tally = Tally { scripts: 1, ..Tally::default() };
    std::thread::scope(|scope| {
        let daemon = scope.spawn(move || {
            let mut acts = Tally::default();
            serve(daemon, &mut answers, &mut acts);
            acts
        });
        // Dropping it ends the daemon.
        let client = client;
        while !script.is_over() {
            let name = CALLS[script.below(CALLS.len())];
            count(&mut tally.calls, name);
            let begun = Instant::now();
            let result = call(&client, name, &mut script);
            assert!(begun.elapsed() < TIME_LIMIT, "{name} lasted {:?}: {result:?}", begun.elapsed());
            let closed = matches!(result, Err(XsError::Closed { .. }));
            count(&mut tally.results, kind(name, result));
            if closed {
                break;
            }
        }
        drop(client);
        tally.add(&daemon.join().expect("the daemon"));
    });
    tally
}

fn call(xs: &XsClient, name: &str, script: &mut Script) -> Result<(), XsError> {
    let path = ["/a", "data/b", "/local/domain/3/data/vchan/0/x/ring-ref"][script.below(3)];
    match name {
        "xs-read" => xs.read(path).map(|value| assert_ne!(value, WRONG_REPLY)),
        "xs-read-text" => xs.read_text(path).map(drop),
        "xs-read-number" => xs.read_number::<u32>(path).map(drop),
        "xs-directory" => xs.directory(path).map(drop),
        "xs-write" => xs.write(path, vec![1; script.length() % 5000]),
        "xs-mkdir" => xs.mkdir(path),
        "xs-rm" => xs.rm(path),
        "xs-get-perms" => xs.get_perms(path).map(drop),
        "xs-set-perms" => xs.set_perms(path, Perm::new(0, Access::None), &[Perm::new(3, Access::Read)]),
        "xs-watch" => xs.watch(path, "token"),
        "xs-event" => xs.next_event(Some(Duration::from_micros(u64::from(script.byte()) * 4))).map(drop),
        _ => xs.transaction(|transaction| transaction.read(path).map(drop)),
    }
}

/// The name of a result. Panics if it is not documented.
fn kind(name: &str, result: Result<(), XsError>) -> &'static str {
    match result {
        Ok(()) => "xs-success",
        Err(XsError::Refused { .. }) => "xs-refused",
        Err(XsError::Protocol { .. } | XsError::BadValue { .. }) => "xs-protocol",
        Err(XsError::TimedOut { .. }) => "xs-timed-out",
        Err(XsError::Connection { .. }) => "xs-connection",
        Err(XsError::Closed { .. }) => "xs-closed",
        Err(XsError::Conflict { .. }) if name == "xs-transaction" => "xs-conflict",
        Err(XsError::EventsLost { .. }) if name == "xs-event" => "xs-events-lost",
        // A value that is too long for one message.
        Err(XsError::Invalid { .. }) if name == "xs-write" => "xs-invalid",
        Err(error) => panic!("{name} failed with {error:?}"),
    }
}

/// Replies until the client or the daemon hangs up.
fn serve(mut client: UnixStream, script: &mut Script, tally: &mut Tally) {
    let mut header = [0; 16];
    while client.read_exact(&mut header).is_ok() {
        let field = |at: usize| u32::from_ne_bytes(std::array::from_fn(|n| header[4 * at + n]));
        let mut request = vec![0; field(3) as usize];
        if client.read_exact(&mut request).is_err() || script.is_over() {
            break;
        }
        for _ in 0..script.below(4) / 3 {
            count(&mut tally.acts, "daemon-unrequested-event");
            let event = [&b"/a\0token\0"[..], b"/a\0", b"", b"\xff\0\0", b"/a\0token\0x\0"][script.below(5)];
            let _ = client.write_all(&message([15, 0, 0, event.len() as u32], event));
        }
        let (name, answer) = answer(field(0), field(1), script);
        count(&mut tally.acts, name);
        let part = 1 + script.length();
        if name == "daemon-hangs-up" || answer.chunks(part).any(|part| client.write_all(part).is_err()) {
            break;
        }
    }
}

fn message(header: [u32; 4], payload: &[u8]) -> Vec<u8> {
    [&header.map(u32::to_ne_bytes).concat(), payload].concat()
}

fn answer(kind: u32, id: u32, script: &mut Script) -> (&'static str, Vec<u8>) {
    let texts: [&[u8]; 10] = [
        b"OK\0",
        b"7",
        b"7\0",
        b"a\0b\0",
        b"n0\0r3\0",
        b"x9\0",
        b"T\0",
        b"",
        b"-1\0",
        b"99999999999999999999\0",
    ];
    let text = texts[script.below(texts.len())];
    let garbage: Vec<u8> = (0..script.length() % 4096).map(|_| script.byte()).collect();
    match script.below(12) {
        0..=4 => ("daemon-matching-text", message([kind, id, 0, text.len() as u32], text)),
        5 => ("daemon-matching-garbage", message([kind, id, 0, garbage.len() as u32], &garbage)),
        6 => {
            let names: [&[u8]; 6] =
                [b"ENOENT\0", b"EACCES\0", b"EAGAIN\0", b"E2BIG\0", b"ENONSENSE\0", &garbage];
            let name = names[script.below(6)];
            ("daemon-error", message([16, id, 0, name.len() as u32], name))
        }
        7 => (
            "daemon-wrong-id",
            message(
                [kind, id.wrapping_add(script.byte().max(1).into()), 0, WRONG_REPLY.len() as u32],
                WRONG_REPLY,
            ),
        ),
        8 => (
            "daemon-wrong-type",
            message([kind + 1 + u32::from(script.byte()) % 13, id, 0, WRONG_REPLY.len() as u32], WRONG_REPLY),
        ),
        9 => ("daemon-wrong-length", message([kind, id, 0, script.u32() >> (script.byte() % 32)], text)),
        10 => ("daemon-garbage", garbage),
        _ if script.once_in(2) => ("daemon-silent", Vec::new()),
        _ => ("daemon-hangs-up", Vec::new()),
    }
}
