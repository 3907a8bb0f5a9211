//! Pure calculations and parsers: against a model, or only for panics.

use std::collections::VecDeque;

use vchan::ring::{Order, OrderTable, Orders};
use vchan::transport::in_process::InProcess;
use vchan::transport::unix::UnixTransport;
use vchan::transport::{Role, Transport};
use vchan::unstable::Internals;
use vchan::{Error, Listener, Vchan};

use super::script::Script;
use super::tally::{count, Tally};

/// Runs a script; panics if the library misbehaves.
pub fn pure(bytes: &[u8]) -> Tally {
    let mut script = Script::new(bytes);
    let mut tally = Tally { scripts: 1, ..Tally::default() };
    let (name, part): (_, fn(&mut Script)) = match script.below(4) {
        0 => ("orders", orders),
        1 => ("configuration-text", configuration),
        2 => ("path", path),
        _ => ("packets", packets),
    };
    count(&mut tally.acts, name);
    part(&mut script);
    tally
}

/// The order tables and the check of a pair, against the protocol document.
fn orders(script: &mut Script) {
    let mut size = || script.u32() as usize >> (script.byte() % 40).min(31);
    let (read, write) = (size(), size());
    for table in [OrderTable::Xen, OrderTable::Ocaml] {
        let most = 1 << 20;
        let Some(orders) = table.orders(read, write) else {
            assert!(table == OrderTable::Xen && (read > most || write > most), "{table:?} {read} {write}");
            continue;
        };
        assert!(table == OrderTable::Ocaml || read.max(write) <= most);
        let (left, right) = (orders.left(), orders.right());
        assert!(left != right || left.get() >= 12);
        // No order is too small for its size, and none is larger than necessary, except for invalid pairs.
        for (order, size) in [(left, read), (right, write)] {
            let pushed = read.max(write) <= 2048 || order.get() <= 12;
            assert!(
                order.size() as usize >= size.min(most) || table == OrderTable::Ocaml && order.get() == 10
            );
            assert!(
                pushed || (order.size() as usize) < 2 * size.max(1024),
                "{table:?} {read} {write}: {orders:?}"
            );
        }
    }
    let (left, right) = (script.u32() % 40, script.u32() % 40);
    let valid = |order| (10..=20).contains(&order);
    let pair = Order::new(left).zip(Order::new(right)).and_then(|(left, right)| Orders::new(left, right));
    assert_eq!(pair.is_some(), valid(left) && valid(right) && (left != right || left >= 12));
}

fn text(script: &mut Script) -> String {
    let words = [
        "(",
        ")",
        "ring_ref",
        "event_channel",
        " ",
        "\"",
        "\\",
        "/",
        "..",
        "\0",
        "0",
        "4294967296",
        "/tmp/x/0",
        "\n",
        "é",
        "256",
        "x",
    ];
    let mut text = String::new();
    while !script.is_over() && text.len() < 5000 {
        match script.below(4) {
            0 => text.push(char::from(script.byte())),
            _ => text.push_str(words[script.below(words.len())]),
        }
    }
    text
}

/// The configuration that a server prints for a client. Often with a valid beginning, so that more of it is
/// parsed.
fn configuration(script: &mut Script) {
    let start = ["", "((ring_ref 0) (event_channel ", "((event_channel \"", "((ring_ref "][script.below(4)];
    let text = format!("{start}{}", text(script));
    let transport = UnixTransport::with_root("/nonexistent/hostile").expect("a root");
    match transport.exported(&text) {
        Ok(transport) => {
            let parts = transport.open(Role::Client, 0, "any").expect("open");
            let rendezvous = parts.registry.look_up().expect("the configuration");
            assert!(
                !rendezvous.event_channel.is_empty() && !rendezvous.event_channel.contains('\0'),
                "{rendezvous:?}"
            );
            vchan::transport::unix::export_lines(None, &rendezvous).expect("lines");
        }
        Err(error) => assert!(matches!(error, Error::Invalid(_)), "{error:?}"),
    }
}

/// Configuration paths: none leads out of the root.
fn path(script: &mut Script) {
    let path = text(script);
    let transport = UnixTransport::with_root("/nonexistent/hostile").expect("a root");
    match transport.open(Role::Client, 0, &path) {
        Ok(parts) => {
            let path = parts.registry.path();
            let safe =
                |name: &str| !["", ".", ".."].contains(&name) && !name.contains('\0') && name.len() <= 255;
            assert!(path.starts_with('/') && path[1..].split('/').all(safe), "{path:?}");
            assert!(matches!(parts.registry.look_up(), Err(Error::NoServer { .. })));
        }
        Err(error) => assert!(matches!(error, Error::Invalid(_)), "{error:?}"),
    }
}

/// Two correct non-blocking ends, against two queues of bytes.
fn packets(script: &mut Script) {
    let machine = InProcess::new();
    let transports = [machine.domain(0), machine.domain(1)];
    let size = |script: &mut Script| [1, 2048, 3000, 9000][script.below(4)];
    let builder = Listener::builder(1, "model")
        .transport(transports[0].clone())
        .first_index(script.u32() | 0xFFFF_0000);
    let server = builder.read_size(size(script)).write_size(size(script)).open().expect("listen");
    let client = Vchan::builder(0, "model").transport(transports[1].clone()).connect().expect("connect");
    let mut ends = [server, client];
    let mut queues = [VecDeque::<u8>::new(), VecDeque::new()];
    for end in &mut ends {
        end.set_nonblocking(true);
    }
    let mut next = 0u8;
    while !script.is_over() {
        let from = script.below(2);
        let sizes = [from, 1 - from].map(|end| ends[end].channel().ring().producer.size() as usize);
        let len = script.length();
        let whole = script.once_in(2);
        let [queue, other] = if from == 0 {
            let [a, b] = &mut queues;
            [a, b]
        } else {
            let [a, b] = &mut queues;
            [b, a]
        };
        let end = &mut ends[from];
        assert_eq!(end.buffer_space().expect("space"), sizes[0] - queue.len());
        assert_eq!(end.data_ready().expect("data"), other.len());
        if script.once_in(2) {
            let data: Vec<u8> = (0..len).map(|n| next.wrapping_add((n % 251) as u8)).collect();
            let fits = len.min(sizes[0] - queue.len());
            let moved =
                if whole { end.send(&data).map(|()| len) } else { moved(std::io::Write::write(end, &data)) };
            let expected = if whole && fits < len || fits == 0 && len > 0 { None } else { Some(fits) };
            assert_moved(moved, expected);
            queue.extend(&data[..expected.unwrap_or(0)]);
            next = next.wrapping_add(17);
        } else {
            let mut data = vec![0; len];
            let there = len.min(other.len());
            let moved = if whole {
                end.recv(&mut data).map(|()| len)
            } else {
                moved(std::io::Read::read(end, &mut data))
            };
            let expected = if whole && there < len || there == 0 && len > 0 { None } else { Some(there) };
            assert_moved(moved, expected);
            assert!(other.drain(..expected.unwrap_or(0)).eq(data[..expected.unwrap_or(0)].iter().copied()));
        }
    }
}

fn moved(result: std::io::Result<usize>) -> vchan::Result<usize> {
    result.map_err(|error| {
        *error.into_inner().expect("an inner error").downcast().expect("an error of the crate")
    })
}

fn assert_moved(moved: vchan::Result<usize>, expected: Option<usize>) {
    match (moved, expected) {
        (Ok(moved), Some(expected)) => assert_eq!(moved, expected),
        (Err(Error::WouldBlock), None) => {}
        (moved, expected) => panic!("moved {moved:?}, not {expected:?}"),
    }
}
