//! The client against daemons that lie, stall, flood or die. A script plays the daemon at the other end of a socket pair.

use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream, unix::thread::JoinHandleExt},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::PollFlags,
    sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal},
};

use crate::{
    endpoint::Endpoint,
    events::KEPT,
    transaction::TRANSACTION_ATTEMPTS,
    wait::{wait_for, Deadline},
    *,
};

const READ: u32 = 2;
const WATCH: u32 = 4;
const START: u32 = 6;
const END: u32 = 7;
const WRITE: u32 = 11;
const EVENT: u32 = 15;
const ERROR: u32 = 16;

/// Limits: long for an expected event, short for an unexpected one.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

/// The daemon's end. Its writes may fail, because the client may close the connection.
struct Daemon(UnixStream);

impl Daemon {
    /// The next request: type, id, payload.
    fn request(&mut self) -> (u32, u32, Vec<u8>) {
        let mut header = [0; 16];
        self.0.read_exact(&mut header).unwrap();
        let field = |i: usize| u32::from_ne_bytes(header[4 * i..4 * i + 4].try_into().unwrap());
        let mut payload = vec![0; field(3) as usize];
        self.0.read_exact(&mut payload).unwrap();
        (field(0), field(1), payload)
    }

    fn send(&mut self, kind: u32, id: u32, payload: &[u8]) -> bool {
        self.0.write_all(&message(kind, id, payload.len() as u32, payload)).is_ok()
    }

    fn event(&mut self, path: impl std::fmt::Display, token: &str) -> bool {
        self.send(EVENT, 0, format!("{path}\0{token}\0").as_bytes())
    }

    /// Acknowledges a WATCH request.
    fn grant_watch(&mut self) {
        let (kind, id, _) = self.request();
        assert_eq!(kind, WATCH);
        self.send(WATCH, id, b"OK\0");
    }

    /// Waits until the client closes the connection.
    fn stay(&mut self) {
        while matches!(self.0.read(&mut [0; 4096]), Ok(1..)) {}
    }
}

fn message(kind: u32, id: u32, length: u32, payload: &[u8]) -> Vec<u8> {
    let header = [kind, id, 0, length].map(u32::to_ne_bytes).concat();
    [header.as_slice(), payload].concat()
}

fn pair() -> (XsClient, UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let fd = OwnedFd::from(ours.try_clone().unwrap());
    let client = XsClient::over(Endpoint { fd, is_socket: true, path: "pair".into() }).unwrap();
    (client.with_timeout(LONG), ours, theirs)
}

/// Runs `test` on a client of a daemon that follows `script`. The script must end after the client.
fn against(script: impl FnOnce(&mut Daemon) + Send, test: impl FnOnce(XsClient)) {
    let (client, _, theirs) = pair();
    thread::scope(|scope| {
        scope.spawn(|| script(&mut Daemon(theirs)));
        test(client);
    });
}

/// As [`against`], with a daemon that answers the first request. `make` gets the request ID.
fn answering(make: impl FnOnce(u32) -> Vec<u8> + Send, test: impl FnOnce(XsClient)) {
    let script = |daemon: &mut Daemon| {
        let (_, id, _) = daemon.request();
        daemon.0.write_all(&make(id)).unwrap();
        daemon.stay();
    };
    against(script, test);
}

fn assert_closed_by(client: &XsClient, error: &XsError) {
    match client.read("/a").unwrap_err() {
        XsError::Closed { cause, .. } => assert_eq!(cause, error.to_string()),
        other => panic!("{other:?}"),
    }
}

fn is_readable(client: &XsClient) -> bool {
    use std::os::fd::AsFd;
    wait_for(client.as_fd(), PollFlags::POLLIN, Deadline::after(Some(Duration::ZERO))).unwrap()
}

#[test]
fn reply_in_single_bytes_is_assembled() {
    let script = |daemon: &mut Daemon| {
        let (kind, id, payload) = daemon.request();
        assert_eq!((kind, payload.as_slice()), (READ, &b"/a\0"[..]));
        for byte in message(READ, id, 5, b"value") {
            daemon.0.write_all(&[byte]).unwrap();
        }
    };
    against(script, |client| assert_eq!(client.read("/a").unwrap(), b"value"));
}

#[test]
fn wrong_replies_close_the_connection() {
    type Lie = fn(u32) -> Vec<u8>;
    let lies: [(&str, Lie); 5] = [
        ("another id", |id| message(READ, id + 1, 1, b"x")),
        ("another type", |id| message(WRITE, id, 3, b"OK\0")),
        ("an unknown type", |id| message(77, id, 0, b"")),
        ("too long", |id| message(READ, id, PAYLOAD_MAX as u32 + 1, b"")),
        ("an event without token", |_| message(EVENT, 0, 3, b"/a\0")),
    ];
    for (name, lie) in lies {
        answering(lie, |client| {
            let error = client.read("/a").unwrap_err();
            assert!(matches!(error, XsError::Protocol { .. }), "{name}: {error:?}");
            assert_eq!((error.errno(), error.path()), (libc::EPROTO, Some("/a")), "{name}");
            assert_closed_by(&client, &error);
        });
    }
}

#[test]
fn refusal_keeps_the_connection() {
    let script = |daemon: &mut Daemon| {
        for name in ["ENOENT\0", "ENOSUCHNAME\0"] {
            let (_, id, _) = daemon.request();
            daemon.send(ERROR, id, name.as_bytes());
        }
        let (_, id, _) = daemon.request();
        daemon.send(READ, id, b"7");
    };
    against(script, |client| {
        assert_eq!(client.read("/a").unwrap_err().errno(), libc::ENOENT);
        let unknown = client.read("/a").unwrap_err();
        assert_eq!(unknown.errno(), libc::EIO);
        assert!(unknown.to_string().contains("ENOSUCHNAME"));
        assert_eq!(client.read_number::<u32>("/a").unwrap(), 7);
    });
}

#[test]
fn acknowledgement_must_be_ok() {
    answering(
        |id| message(WRITE, id, 3, b"NO\0"),
        |client| assert!(matches!(client.write("/a", "v"), Err(XsError::Protocol { .. }))),
    );
}

#[test]
fn end_within_a_message_is_an_error() {
    let script = |daemon: &mut Daemon| {
        let (_, id, _) = daemon.request();
        daemon.0.write_all(&message(READ, id, 100, b"only this")).unwrap();
        daemon.0.shutdown(std::net::Shutdown::Both).unwrap();
    };
    against(script, |client| {
        let error = client.read("/a").unwrap_err();
        assert!(matches!(error, XsError::Connection { .. }), "{error:?}");
        assert_closed_by(&client, &error);
    });
}

#[test]
fn missing_reply_times_out() {
    let half: fn(u32) -> Vec<u8> = |id| message(READ, id, 9, b"h");
    let nothing: fn(u32) -> Vec<u8> = |_| Vec::new();
    for answer in [half, nothing] {
        answering(answer, |client| {
            let client = client.with_timeout(SHORT);
            let start = Instant::now();
            let error = client.read("/a").unwrap_err();
            assert!(start.elapsed() >= SHORT);
            assert_eq!(error.errno(), libc::ETIMEDOUT);
            assert_closed_by(&client, &error);
        });
    }
}

#[test]
fn full_socket_times_out() {
    let (client, mut ours, _theirs) = pair();
    while ours.write(&[0; 4096]).is_ok() {}
    let error = client.with_timeout(SHORT).read("/a").unwrap_err();
    assert_eq!(error.errno(), libc::ETIMEDOUT);
}

#[test]
fn flood_of_events_does_not_extend_the_limit() {
    let script = |daemon: &mut Daemon| {
        daemon.grant_watch();
        daemon.request();
        while daemon.event("/a", "t") {}
    };
    against(script, |client| {
        client.watch("/a", "t").unwrap();
        assert_eq!(client.with_timeout(SHORT).read("/a").unwrap_err().errno(), libc::ETIMEDOUT);
    });
}

#[test]
fn flood_of_unwatched_events_does_not_extend_the_limit() {
    // Large writes: the client never empties the socket.
    let many = message(EVENT, 0, 12, b"/a\0unknowns\0").repeat(3000);
    let (begun, over) = (Instant::now(), AtomicBool::new(false));
    let script = |daemon: &mut Daemon| {
        while daemon.0.write_all(&many).is_ok() && begun.elapsed() < LONG {}
        over.store(true, Ordering::SeqCst);
    };
    against(script, |client| {
        assert_eq!(client.next_event(Some(SHORT)).unwrap(), None);
        assert!(!over.load(Ordering::SeqCst), "the flood ended first");
    });
}

#[test]
fn events_during_requests_are_kept_and_poll_readable() {
    let script = |daemon: &mut Daemon| {
        let (_, id, payload) = daemon.request();
        assert_eq!(payload, b"/a\0t\0");
        daemon.event("/a", "t"); // before the acknowledgement
        daemon.send(WATCH, id, b"OK\0");
        let (_, id, _) = daemon.request();
        daemon.event("/a/b", "t");
        daemon.send(READ, id, b"v");
        daemon.stay();
    };
    against(script, |client| {
        assert!(!is_readable(&client));
        client.watch("/a", "t").unwrap();
        client.read("/a").unwrap();
        for path in ["/a", "/a/b"] {
            assert!(is_readable(&client));
            let event = client.next_event(Some(LONG)).unwrap().unwrap();
            assert_eq!((event.path.as_str(), event.token.as_str()), (path, "t"));
        }
        assert!(!is_readable(&client));
        assert_eq!(client.next_event(Some(SHORT)).unwrap(), None);
    });
}

#[test]
fn queue_overflow_is_reported() {
    let script = |daemon: &mut Daemon| {
        daemon.grant_watch();
        let (_, id, _) = daemon.request();
        for i in 0..KEPT + 5 {
            daemon.event(i, "t");
        }
        daemon.send(READ, id, b"v");
        daemon.stay();
    };
    against(script, |client| {
        client.watch("/", "t").unwrap();
        assert_eq!(client.read("/a").unwrap(), b"v");
        for i in 0..KEPT {
            assert_eq!(client.next_event(Some(LONG)).unwrap().unwrap().path, i.to_string());
        }
        assert!(matches!(client.next_event(Some(LONG)), Err(XsError::EventsLost { kept: KEPT })));
        assert_eq!(client.next_event(Some(Duration::ZERO)).unwrap(), None);
    });
}

#[test]
fn unexpected_reply_is_an_error() {
    let script = |daemon: &mut Daemon| {
        daemon.send(READ, 0, b"gift");
        daemon.stay();
    };
    against(script, |client| {
        let error = client.next_event(Some(LONG)).unwrap_err();
        assert!(matches!(error, XsError::Protocol { .. }), "{error:?}");
        assert_closed_by(&client, &error);
    });
}

#[test]
fn refused_watch_has_no_events() {
    let script = |daemon: &mut Daemon| {
        let (_, id, _) = daemon.request();
        daemon.send(ERROR, id, b"EACCES\0");
        daemon.event("/a", "t");
        daemon.stay();
    };
    against(script, |client| {
        assert_eq!(client.watch("/a", "t").unwrap_err().errno(), libc::EACCES);
        assert_eq!(client.next_event(Some(SHORT)).unwrap(), None);
    });
}

#[test]
fn transaction_has_limited_attempts() {
    let script = |daemon: &mut Daemon| {
        for _ in 0..TRANSACTION_ATTEMPTS {
            let (kind, id, _) = daemon.request();
            assert_eq!(kind, START);
            daemon.send(START, id, b"5\0");
            let (kind, id, verdict) = daemon.request();
            assert_eq!((kind, verdict.as_slice()), (END, &b"T\0"[..]));
            daemon.send(ERROR, id, b"EAGAIN\0");
        }
        daemon.stay();
    };
    against(script, |client| {
        let mut runs = 0;
        let count = |_: &Transaction<'_>| {
            runs += 1;
            Ok(())
        };
        let error = client.transaction(count).unwrap_err();
        assert_eq!(runs, TRANSACTION_ATTEMPTS);
        assert_eq!(error.errno(), libc::EAGAIN);
        assert!(matches!(error, XsError::Conflict { .. }), "{error:?}");
    });
}

#[test]
fn invalid_transaction_id_is_an_error() {
    for id in ["0\0", "-1\0", "x\0", "", "99999999999\0"] {
        let answer = |request| message(START, request, id.len() as u32, id.as_bytes());
        answering(answer, |client| assert!(matches!(client.begin(), Err(XsError::Protocol { .. })), "{id}"));
    }
}

extern "C" fn do_nothing(_: i32) {}

#[test]
fn signal_does_not_end_a_request() {
    let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();

    let (client, _, theirs) = pair();
    let mut daemon = Daemon(theirs);
    let (done, is_done) = mpsc::channel();
    let reader = thread::spawn(move || done.send(client.read("/a").map_err(|error| error.to_string())));
    let (_, id, _) = daemon.request();
    for _ in 0..200 {
        // SAFETY: the thread is not joined yet and waits for its reply.
        unsafe { libc::pthread_kill(reader.as_pthread_t(), libc::SIGUSR1) };
        thread::yield_now();
    }
    assert!(is_done.try_recv().is_err(), "the read ended without a reply");
    daemon.send(READ, id, b"v");
    assert_eq!(is_done.recv_timeout(LONG).unwrap().unwrap(), b"v");
    reader.join().unwrap().unwrap();
}
