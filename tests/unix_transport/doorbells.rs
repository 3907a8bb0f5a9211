//! Doorbells: two ends of this implementation wake each other by eventfds, all other peers by bytes.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use nix::cmsg_space;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::epoll::{EpollCreateFlags, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::select::{select, FdSet};
use nix::sys::socket::{recvmsg, sendmsg, ControlMessage, ControlMessageOwned, MsgFlags};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::pipe;
use vchan::unstable::ring::Interest;
use vchan::unstable::Internals;
use vchan::{Listener, Vchan};

use super::*;

const SIGNALLED: Received = Received { event: true, ended: false };

/// A client without the library, on the socket of a waiting server.
struct Raw(UnixStream);

impl Raw {
    fn connect(server: &Server) -> Raw {
        let socket = UnixStream::connect(&server.rendezvous.event_channel).unwrap();
        socket.set_nonblocking(true).unwrap();
        Raw(socket)
    }

    /// Sends one byte, along with these descriptors.
    fn send(&self, fds: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(fds)];
        let rights = if fds.is_empty() { &[] } else { &rights[..] };
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(b"x")], rights, MsgFlags::empty(), None);
        assert_eq!(sent.unwrap(), 1);
    }

    /// The number of pending bytes, and the doorbell that came with them.
    fn receive(&self) -> (usize, Option<EventFd>) {
        let (mut count, mut doorbells) = (0, Vec::new());
        loop {
            let mut bytes = [0; 100];
            let mut space = cmsg_space!([RawFd; 10]);
            let mut iov = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut iov, Some(&mut space), flags) {
                Ok(message) => {
                    assert!(message.bytes > 0, "the server is gone");
                    count += message.bytes;
                    for control in message.cmsgs().unwrap() {
                        let ControlMessageOwned::ScmRights(fds) = control else { panic!("{control:?}") };
                        // SAFETY: they were received just now.
                        doorbells.extend(fds.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                    }
                }
                Err(nix::Error::EAGAIN) => break,
                Err(errno) => panic!("{errno}"),
            }
        }
        assert!(doorbells.len() <= 1, "more than one doorbell");
        // SAFETY: the server sends nothing else.
        (count, doorbells.pop().map(|doorbell| unsafe { EventFd::from_owned_fd(doorbell) }))
    }
}

/// A full, blocking doorbell.
fn new_doorbell() -> EventFd {
    let doorbell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_SEMAPHORE).unwrap();
    doorbell.write(u64::MAX - 1).unwrap();
    doorbell
}

/// The number of events on a doorbell since the last call.
fn signals(doorbell: &EventFd) -> usize {
    let has_space = || {
        let mut fds = [PollFd::new(doorbell.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    };
    let mut count = 0;
    while has_space() {
        doorbell.write(1).unwrap();
        count += 1;
    }
    count
}

/// A pair that signals: the waiters are registered and the doorbells exchanged.
fn ringing(root: &Path) -> (Server, Waiter, Client, Waiter) {
    let server = Server::start(root, "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let client = Client::start(root, "data/x").unwrap();
    let at_client = Waiter::on(&*client.events);
    client.events.notify().unwrap();
    assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
    let answer = at_client.until(&*client.events, |_| true);
    assert_eq!(answer, SIGNALLED, "a thread that polled for it must not sleep");
    assert!(!at_client.is_ready());
    (server, at_server, client, at_client)
}

#[test]
fn both_ends_use_doorbells_and_not_the_socket() {
    let root = private_dir();
    let (server, at_server, client, at_client) = ringing(root.path());
    for _ in 0..3 {
        client.events.notify().unwrap();
        client.events.notify().unwrap();
        assert_eq!(at_server.wait(EpollTimeout::ZERO), [TOKENS.rung]);
        assert_eq!(server.events.receive().unwrap(), Received::default());
        assert!(!at_server.is_ready());
        server.events.notify().unwrap();
        assert_eq!(at_client.wait(EpollTimeout::ZERO), [TOKENS.rung]);
        assert_eq!(client.events.receive().unwrap(), Received::default());
        assert!(!at_client.is_ready());
    }
    drop(client);
    assert_eq!(at_server.wait(EpollTimeout::ZERO), [TOKENS.readable]);
    assert!(server.events.receive().unwrap().ended);
    server.events.notify().unwrap();
}

#[test]
fn unattached_end_gets_bytes() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let client = Client::start(root.path(), "data/x").unwrap();
    for _ in 0..3 {
        client.events.notify().unwrap();
        assert_eq!(server.events.receive().unwrap(), SIGNALLED);
        server.events.notify().unwrap();
        assert_eq!(client.events.receive().unwrap(), SIGNALLED);
    }
}

#[test]
fn outer_epoll_sees_doorbell_events() {
    let root = private_dir();
    let (server, at_server, client, _at_client) = ringing(root.path());
    let outer = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let fd = at_server.epoll.0.as_fd();
    outer.add(fd, EpollEvent::new(nix::sys::epoll::EpollFlags::EPOLLIN, 1)).unwrap();
    let outermost = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    outermost.add(&outer.0, EpollEvent::new(nix::sys::epoll::EpollFlags::EPOLLIN, 1)).unwrap();
    let seen = || {
        let mut set = FdSet::new();
        set.insert(fd);
        let selected = select(None, &mut set, None, None, &mut TimeVal::milliseconds(0)).unwrap() > 0;
        let waited = |epoll: &Epoll| epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO).unwrap() > 0;
        [readable(fd, Duration::ZERO), selected, waited(&outer), waited(&outermost)]
    };
    for _ in 0..3 {
        assert_eq!(seen(), [false; 4]);
        client.events.notify().unwrap();
        for _ in 0..3 {
            assert_eq!(seen(), [true; 4], "polling the outer set takes no event");
        }
        assert_eq!(at_server.wait(EpollTimeout::ZERO), [TOKENS.rung]);
    }
    // The same for an event while a thread sleeps on the outer set.
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| outermost.wait(&mut [EpollEvent::empty()], LONG_TIMEOUT).unwrap());
        client.events.notify().unwrap();
        assert_eq!(sleeper.join().unwrap(), 1);
    });
    drop(server);
}

const LONG_TIMEOUT: u16 = 60_000;

#[test]
fn no_doorbell_event_is_lost_between_waits() {
    let root = private_dir();
    let (server, at_server, client, at_client) = ringing(root.path());
    let (server, client) = (&*server.events, &*client.events);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                at_server.until(server, |r| r.event);
                server.notify().unwrap();
            }
        });
        for round in 0..20_000 {
            client.notify().unwrap();
            if round % 2 == 0 {
                // Polled from outside, and then taken without sleeping.
                assert!(readable(&at_client.epoll.0, LONG));
                assert_eq!(at_client.wait(EpollTimeout::ZERO), [TOKENS.rung]);
            } else {
                at_client.until(client, |r| r.event);
            }
        }
    });
}

#[test]
fn peer_without_doorbell_gets_none() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let raw = Raw::connect(&server);
    for _ in 0..3 {
        raw.send(&[]);
        assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
        server.events.notify().unwrap();
        let (count, doorbell) = raw.receive();
        assert_eq!((count, doorbell.is_some()), (1, false));
    }
}

/// Like the historical program: reading the byte drops the descriptor.
#[test]
fn peer_that_drops_the_doorbell_gets_bytes() {
    let root = private_dir();
    let listening = Server::start(root.path(), "data/x").unwrap();
    // Only the rendezvous is the server's; the socket is the test's.
    fs::remove_file(&listening.rendezvous.event_channel).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&listening.rendezvous.event_channel).unwrap();
    let client = Client::start(root.path(), "data/x").unwrap();
    let at_client = Waiter::on(&*client.events);
    let (mut raw, _) = listener.accept().unwrap();
    for _ in 0..3 {
        client.events.notify().unwrap();
        assert_eq!(raw.read(&mut [0; 10]).unwrap(), 1);
        raw.write_all(b"y").unwrap();
        assert_eq!(at_client.until(&*client.events, |r| r.event), SIGNALLED);
    }
    raw.set_nonblocking(true).unwrap();
    assert_eq!(raw.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn one_doorbell_is_accepted_and_answered() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let raw = Raw::connect(&server);
    let (doorbell, second) = (new_doorbell(), new_doorbell());
    raw.send(&[]);
    raw.send(&[doorbell.as_raw_fd()]);
    raw.send(&[second.as_raw_fd()]);
    raw.send(&[]);
    at_server.until(&*server.events, |r| r.event);
    while at_server.is_ready() {
        server.events.receive().unwrap();
    }
    let (count, theirs) = raw.receive();
    assert_eq!(count, 1);
    let theirs = theirs.expect("the server's doorbell");
    for _ in 0..3 {
        server.events.notify().unwrap();
        assert_eq!(signals(&doorbell), 1);
        assert_eq!(theirs.read().unwrap(), 1);
        assert_eq!(at_server.wait(EpollTimeout::ZERO), [TOKENS.rung]);
        raw.send(&[]);
        assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
    }
    assert_eq!(raw.receive().0, 0, "events by the doorbell only");
    assert_eq!(signals(&second), 0);
}

#[test]
fn non_eventfd_is_closed() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let raw = Raw::connect(&server);
    let (read_end, write_end) = pipe().unwrap();
    let file = fs::OpenOptions::new().append(true).create(true).open(root.path().join("file")).unwrap();
    // All others are copies of the pipe's end.
    let crowd = vec![write_end.as_raw_fd(); 200];
    for fds in [&[write_end.as_raw_fd()][..], &[file.as_raw_fd()], &[raw.0.as_raw_fd()], &crowd] {
        raw.send(fds);
        assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
        server.events.notify().unwrap();
        let (count, doorbell) = raw.receive();
        assert_eq!((count, doorbell.is_some()), (1, false));
    }
    let doorbell = new_doorbell();
    let crowd = [&[doorbell.as_raw_fd()], &crowd[1..]].concat();
    raw.send(&crowd);
    assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
    assert!(raw.receive().1.is_some());
    server.events.notify().unwrap();
    assert_eq!(signals(&doorbell), 1);
    assert_eq!(file.metadata().unwrap().len(), 0, "nothing was written");
    drop(write_end);
    assert!(readable(&read_end, Duration::ZERO), "the server has not closed a descriptor");
    assert_eq!(fs::File::from(read_end).read(&mut [0]).unwrap(), 0);
}

/// A peer with a doorbell shares its open file description, including O_NONBLOCK: it can make calls on it
/// block at any time.
#[test]
fn blocking_doorbell_does_not_block_the_sender() {
    for full in [true, false] {
        let root = private_dir();
        let server = Server::start(root.path(), "data/x").unwrap();
        let at_server = Waiter::on(&*server.events);
        let raw = Raw::connect(&server);
        // A write to the one would block, and a read from the other.
        let doorbell =
            if full { new_doorbell() } else { EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap() };
        raw.send(&[doorbell.as_raw_fd()]);
        assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
        fcntl(&doorbell, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let events = &*server.events;
            scope.spawn(move || sender.send(events.notify()).unwrap());
            let result = receiver.recv_timeout(LONG);
            // In any case, otherwise the thread never ends.
            if full {
                doorbell.read().unwrap();
            } else {
                doorbell.write(5).unwrap();
            }
            result.expect("the sender was blocked").unwrap();
        });
    }
}

/// The kernel limits the number of paths from an open file through nested epoll sets, and both sides have the
/// same doorbell.
#[test]
fn doorbell_at_epoll_nesting_limit_does_not_lose_wakeups() {
    let root = private_dir();
    let transport = transport(root.path());
    let mut server = Listener::builder(0, "nested").transport(transport.clone()).open().unwrap();
    let raw = Raw(UnixStream::connect(&server.rendezvous().event_channel).unwrap());
    raw.0.set_nonblocking(true).unwrap();
    raw.send(&[new_doorbell().as_raw_fd()]);
    server.wait(Some(LONG)).unwrap();
    let (_, doorbell) = raw.receive();
    let doorbell = doorbell.expect("the server's doorbell");
    let new_epoll = || Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let input = || EpollEvent::new(EpollFlags::EPOLLIN, 0);
    let inner = [(); 25].map(|()| new_epoll());
    let outer = [(); 20].map(|()| new_epoll());
    inner.iter().for_each(|set| set.add(&doorbell, input()).unwrap());
    for (above, below) in outer.iter().flat_map(|above| inner.iter().map(move |below| (above, below))) {
        above.add(&below.0, input()).unwrap();
    }
    let refused = new_epoll().add(&inner[0].0, input()).unwrap_err();
    assert_eq!(refused, nix::Error::EINVAL, "the limit is reached");
    server.set_nonblocking(true);
    server.read(&mut [0; 1]).unwrap_err();
    let polled = server.channel().fd(None).expect("a descriptor to poll");
    assert!(readable(polled, LONG), "the server was not woken");
    drop((inner, outer, doorbell));
    server.closer().close();
    assert!(readable(server.as_fd(), LONG));
}

#[test]
fn each_client_has_its_own_doorbell_or_none() {
    let root = private_dir();
    let server = Server::start(root.path(), "data/x").unwrap();
    let at_server = Waiter::on(&*server.events);
    let next = || {
        at_server.until(&*server.events, |r| r.ended);
        server.events.rearm().unwrap();
    };
    let mut old: Vec<(EventFd, EventFd)> = Vec::new();
    for round in 0..4 {
        let raw = Raw::connect(&server);
        // A client that may have missed an event gets one at once.
        let due = usize::from(round > 0);
        let doorbell = new_doorbell();
        raw.send(&[doorbell.as_raw_fd()]);
        assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
        let (count, theirs) = raw.receive();
        assert_eq!(count, due + 1, "round {round}");
        server.events.notify().unwrap();
        assert_eq!(signals(&doorbell), 1);
        assert!(old.iter().all(|(doorbell, _)| signals(doorbell) == 0));
        old.push((doorbell, theirs.unwrap()));
        drop(raw);
        next();

        let raw = Raw::connect(&server);
        raw.send(&[]);
        assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
        server.events.notify().unwrap();
        let (count, theirs) = raw.receive();
        assert_eq!((count, theirs.is_some()), (2, false), "round {round}");
        assert!(old.iter().all(|(doorbell, _)| signals(doorbell) == 0));
        drop(raw);
        next();
        // The next client with a doorbell follows one without: no event is due, unless the previous one had a
        // doorbell.
        if round < 3 {
            let raw = Raw::connect(&server);
            let doorbell = new_doorbell();
            raw.send(&[doorbell.as_raw_fd()]);
            assert_eq!(at_server.until(&*server.events, |r| r.event), SIGNALLED);
            assert_eq!(raw.receive().0, 1);
            drop(raw);
            next();
        }
    }
}

/// The server does not check its socket, only writes, and has the doorbell of a client that has left.
#[test]
fn next_client_is_woken_despite_the_previous_doorbell() {
    let temp = private_dir();
    let transport = transport(temp.path());
    let mut server =
        Listener::builder_at(1, "/next").transport(transport.clone()).persistent(true).open().unwrap();
    server.set_timeout(Some(LONG));
    let connect = || {
        let builder = Vchan::builder_at(0, "/next").transport(transport.clone()).without_extra_events();
        let mut client = builder.connect().unwrap();
        client.set_timeout(Some(LONG));
        client
    };
    for n in 0..50u8 {
        let mut first = connect();
        let knock = thread::spawn(move || {
            first.write_all(b"?").unwrap();
            first
        });
        server.read_exact(&mut [0]).unwrap();
        // Accepts the doorbell in any case, also if the byte was there already.
        server.channel().arm(Interest::Readable);
        let _ = server.channel().read_now(&mut [0; 9], 9, true);
        drop(knock.join().unwrap());
        let mut second = connect();
        let reader = thread::spawn(move || {
            let mut byte = [0];
            second.read_exact(&mut byte).unwrap();
            byte[0]
        });
        if n % 2 == 0 {
            // By now it most likely sleeps.
            thread::yield_now();
        }
        server.write_all(&[n]).unwrap();
        assert_eq!(reader.join().unwrap(), n);
    }
}
