//! Bytes arrive as they were written, in both directions at once.

use std::io::{IoSlice, IoSliceMut, Read, Write};

use vchan::ring::OrderTable;
use vchan::unstable::Internals;
use vchan::{Reader, Vchan, Writer};

use crate::support::{client, connect, pair, rounds, server, spawn, Random, Stream};
use crate::world::World;

/// Transfers `bytes` each way, in chunks of random sizes up to `most`, and then ends the channel from `one`'s
/// side.
fn exchange(one: Vchan, two: Vchan, bytes: [usize; 2], most: usize) {
    let (one_reader, one_writer) = one.split();
    let (two_reader, two_writer) = two.split();
    let writers = [(one_writer, bytes[0], 1), (two_writer, bytes[1], 2)]
        .map(|(writer, bytes, seed)| spawn("writer", move || write(writer, bytes, most, seed)));
    let readers = [(two_reader, bytes[0], 1), (one_reader, bytes[1], 2)]
        .map(|(reader, bytes, seed)| spawn("reader", move || read(reader, bytes, most, seed)));
    let [one_writer, _two_writer] = writers.map(|thread| thread.join().expect("the writer"));
    let [mut two_reader, one_reader] = readers.map(|thread| thread.join().expect("the reader"));
    drop((one_reader, one_writer));
    assert_eq!(two_reader.read(&mut [0; 9]).expect("the end"), 0);
}

fn write(mut writer: Writer, bytes: usize, most: usize, seed: u64) -> Writer {
    let (mut stream, mut random) = (Stream::new(seed), Random::new(seed + 10));
    while stream.position() < bytes {
        let len = (1 + random.below(most)).min(bytes - stream.position());
        let piece = stream.next(len);
        let written = piece.len();
        writer.write_all(piece).expect("write");
        stream.skip(written);
    }
    writer
}

fn read(mut reader: Reader, bytes: usize, most: usize, seed: u64) -> Reader {
    let (mut stream, mut random) = (Stream::new(seed), Random::new(seed + 20));
    let mut buffer = vec![0; most];
    while stream.position() < bytes {
        let len = (1 + random.below(most)).min(bytes - stream.position());
        let count = reader.read(&mut buffer[..len]).expect("read");
        assert!(count > 0, "the end of the stream after {} of {bytes} bytes", stream.position());
        stream.check(&buffer[..count]);
    }
    reader
}

pub fn both_ways_with_every_pair_of_orders(world: &dyn World) {
    let orders = || 10..=if cfg!(miri) { 12 } else { 20 };
    for read in orders() {
        for write in orders() {
            // Only the OCaml library's table yields every pair.
            let builder = server(world).read_size(1 << read).write_size(1 << write);
            let (server, client) = connect(&builder.order_table(OrderTable::Ocaml), &client(world));
            let sizes = [
                server.channel().ring().producer.size() as usize,
                server.channel().ring().consumer.size() as usize,
            ];
            if read >= 12 || read != write {
                assert_eq!(sizes, [1 << write, 1 << read]);
            }
            let bytes = sizes.map(|size| size * 2 + 1001);
            exchange(server, client, bytes, sizes[0].max(sizes[1]) / 2 + 7);
        }
    }
}

pub fn indices_wrap(world: &dyn World) {
    for (size, before) in [(1024, 1), (1024, 700), (2048, 2047), (4096, 5000), (65536, 100_000)] {
        let builder = server(world).buffer_size(size).first_index(0u32.wrapping_sub(before));
        let (server, client) = connect(&builder, &client(world));
        let bytes = before as usize + 3 * size;
        exchange(server, client, [bytes, bytes], size + size / 2);
    }
}

pub fn sizes_of_every_kind(world: &dyn World) {
    let ring = 4096;
    for most in [1, 2, 63, 1000, ring - 1, ring, ring + 1, 5 * ring] {
        let (server, client) = pair(world, ring);
        exchange(client, server, [200 * most.min(1000), 100 * most.min(1000)], most);
    }
    let (mut server, mut client) = pair(world, ring);
    assert_eq!(client.write(&[]).expect("write nothing"), 0);
    assert_eq!(server.read(&mut []).expect("read nothing"), 0);
    assert_eq!(server.data_ready().expect("data_ready"), 0);
}

pub fn vectored(world: &dyn World) {
    let (mut server, mut client) = pair(world, 4096);
    let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two"), IoSlice::new(b"three")];
    assert_eq!(client.write_vectored(&parts).expect("write"), 11);
    let (mut a, mut b, mut c) = ([0; 2], [0; 7], [0; 9]);
    let mut into =
        [IoSliceMut::new(&mut a), IoSliceMut::new(&mut []), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
    assert_eq!(server.read_vectored(&mut into).expect("read"), 11);
    assert_eq!((&a, &b, &c[..2]), (b"on", b"etwothr", &b"ee"[..]));

    // Many buffers, read into buffers of other sizes, across the ring's end, and the rest.
    for round in 0..rounds(200) {
        let messages: Vec<Vec<u8>> = (0..60).map(|n| vec![(n + round) as u8; n]).collect();
        let parts: Vec<IoSlice> = messages.iter().map(|message| IoSlice::new(message)).collect();
        assert_eq!(client.write_vectored(&parts).expect("write"), 1770);
        let mut into = vec![[0; 50]; 40];
        let mut parts: Vec<IoSliceMut> = into.iter_mut().map(|part| IoSliceMut::new(part)).collect();
        assert_eq!(server.read_vectored(&mut parts).expect("read"), 1770);
        assert_eq!(into.concat()[..1770], messages.concat());
        assert_eq!(server.data_ready().expect("data_ready"), 0);
        assert_eq!(client.buffer_space().expect("buffer_space"), 4096);
    }

    // More than the ring holds: everything is written, in order.
    let writer = spawn("writer", move || {
        let (one, two) = (vec![1; 5000], vec![2; 6000]);
        let count = client.write_vectored(&[IoSlice::new(&one), IoSlice::new(&two)]).expect("write");
        (count, client)
    });
    let mut got = vec![0; 11000];
    server.read_exact(&mut got).expect("read");
    assert_eq!(writer.join().expect("the writer").0, 11000);
    assert!(got[..5000].iter().all(|&byte| byte == 1) && got[5000..].iter().all(|&byte| byte == 2));
}
