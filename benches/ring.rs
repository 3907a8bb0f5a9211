//! The cost of the ring's operations without a peer: copy in and publish, copy out and release, check of the
//! notify byte. Both ends are in this process, on plain memory, and take turns.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use vchan::transport::in_process::InProcess;
use vchan::unstable::ring::{Endpoint, Interest};
use vchan::unstable::Internals;
use vchan::{Listener, Vchan};

/// A pair of ends: the client writes what the server reads.
fn pair() -> (Vchan, Vchan) {
    let machine = InProcess::new();
    let server = Listener::builder(1, "bench").transport(machine.domain(0)).open().expect("a server");
    let client = Vchan::builder(0, "bench").transport(machine.domain(1)).connect().expect("a client");
    // Each end has requested an event for the other's first write; clear these requests. A whole cache line
    // is transferred, to keep the measured copies aligned.
    for (writes, reads) in [(&client, &server), (&server, &client)] {
        assert!(writes.channel().ring().producer.commit(64));
        assert!(!reads.channel().ring().consumer.consume(64));
    }
    (server, client)
}

/// A write with enough space. No peer waits.
fn write(ring: &Endpoint, data: &[u8]) {
    let space = ring.producer.space_for(data.len()).expect("valid indices");
    assert!(space as usize >= data.len());
    ring.producer.fill(data);
    assert!(!ring.producer.commit(data.len() as u32));
}

/// A read with enough data.
fn read(ring: &Endpoint, into: &mut [u8]) {
    let ready = ring.consumer.ready_for(into.len()).expect("valid indices");
    assert!(ready as usize >= into.len());
    ring.consumer.peek(into);
    assert!(!ring.consumer.consume(into.len() as u32));
}

fn transfer(criterion: &mut Criterion) {
    let (server, client) = pair();
    let (server, client) = (server.channel().ring(), client.channel().ring());
    for size in [64, 4096] {
        let data = vec![1; size];
        let mut into = vec![0; size];
        let mut group = criterion.benchmark_group(format!("{size} B"));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function("fill, commit, peek, consume", |bencher| {
            bencher.iter(|| {
                write(client, black_box(&data));
                read(server, black_box(&mut into));
            });
        });
        group.bench_function("fill", |bencher| bencher.iter(|| client.producer.fill(black_box(&data))));
        group.bench_function("peek", |bencher| bencher.iter(|| server.consumer.peek(black_box(&mut into))));
        group.finish();
    }
}

fn notification(criterion: &mut Criterion) {
    let (server, client) = pair();
    let (server, client) = (server.channel().ring(), client.channel().ring());
    let mut group = criterion.benchmark_group("notification");
    // Publishing 0 bytes: the store, the fence, the check.
    group.bench_function("not asked for", |bencher| bencher.iter(|| black_box(client.producer.commit(0))));
    group.bench_function("asked for and taken", |bencher| {
        bencher.iter(|| {
            let _ = server.enable_notification(Interest::Readable);
            assert!(client.producer.commit(0));
        });
    });
    group.bench_function("fresh look at the peer's index", |bencher| {
        bencher.iter(|| black_box(server.available(Interest::Readable)));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    transfer(&mut criterion);
    notification(&mut criterion);
    criterion.final_summary();
}
