//! Both sides of the shared memory against a plain byte queue, and against a peer that writes what it likes.

use std::collections::VecDeque;
use std::ptr::NonNull;

use super::internals::{Consumer, Producer};
use super::sync::Ordering::SeqCst;
use super::*;

/// A side that sets this supports half-close and abort, by the protocol document.
const UNDERSTOOD: u8 = 0x80;

mod fence_elision;
mod properties;

/// None under Miri, which finds accesses beyond a block unless they hit a guard.
const GUARD: usize = if cfg!(miri) { 0 } else { 4096 };
const GUARD_BYTE: u8 = 0xA5;

/// The largest order of rings that are filled byte by byte. Miri takes a thousand times as long.
const LARGEST: u32 = if cfg!(miri) { 12 } else { 20 };

/// The memory of a channel, with guard bytes around each block.
struct Memory {
    blocks: Vec<Vec<u64>>,
}

impl Memory {
    fn new(orders: Orders) -> Memory {
        let own = |order: Order| order.pages() * PAGE_SIZE;
        let sizes = [PAGE_SIZE, own(orders.left()), own(orders.right())];
        let mut memory = Memory { blocks: Vec::new() };
        for size in sizes {
            let guard = u64::from_ne_bytes([GUARD_BYTE; 8]);
            let mut block = vec![0; (size + 2 * GUARD) / 8];
            block[..GUARD / 8].fill(guard);
            block[(GUARD + size) / 8..].fill(guard);
            memory.blocks.push(block);
        }
        memory
    }

    fn block(&mut self, number: usize) -> NonNull<u8> {
        // SAFETY: each block is larger than its guard.
        unsafe { NonNull::new(self.blocks[number].as_mut_ptr().cast::<u8>()).unwrap().add(GUARD) }
    }

    /// A server and its client over this memory, which must outlive them.
    fn ends(&mut self, orders: Orders, first: u32) -> (Endpoint, Endpoint) {
        let page = self.block(0);
        let mut own = |number, order: Order| (order.pages() > 0).then(|| self.block(number));
        let rings = Rings { left: own(1, orders.left()), right: own(2, orders.right()) };
        // SAFETY: the blocks are zeroed, as large as the orders say, and outlive the ends in every test.
        let server = unsafe { Endpoint::server(page, rings, orders, first) };
        // SAFETY: as above.
        let client = unsafe {
            assert_eq!(Endpoint::published(page).unwrap().0, orders);
            Endpoint::client(page, rings, orders).unwrap()
        };
        client.announce();
        (server, client)
    }

    fn assert_guards(&self) {
        for block in &self.blocks {
            let guard = u64::from_ne_bytes([GUARD_BYTE; 8]);
            let (before, after) = (&block[..GUARD / 8], &block[block.len() - GUARD / 8..]);
            assert!(before.iter().chain(after).all(|&word| word == guard), "written outside of a block");
        }
    }
}

fn orders(left: u32, right: u32) -> Orders {
    Orders::new(Order::new(left).unwrap(), Order::new(right).unwrap()).unwrap()
}

fn page(end: &Endpoint) -> &SharedPage {
    // SAFETY: mapped for as long as the end lives.
    unsafe { end.page().as_ref() }
}

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32 % end
    }
}

/// One direction: a producer, the consumer at the other end, and what must be between them.
struct Direction<'a> {
    producer: &'a Producer,
    consumer: &'a Consumer,
    queue: VecDeque<u8>,
    next: u8,
}

impl Direction<'_> {
    fn check(&self) {
        let size = self.producer.size() as usize;
        assert_eq!(self.producer.space().unwrap() as usize, size - self.queue.len());
        assert_eq!(self.producer.pending().unwrap() as usize, self.queue.len());
        assert_eq!(self.consumer.ready().unwrap() as usize, self.queue.len());
    }

    fn write(&mut self, random: &mut Random) {
        let wanted = random.below(self.producer.size() + 1);
        let space = self.producer.space_for(wanted as usize).unwrap();
        let real = self.producer.size() - self.queue.len() as u32;
        assert!(space <= real, "{space} of {real} bytes of space");
        assert!(space >= wanted || space == real);
        let len = wanted.min(space);
        let data: Vec<u8> = (0..len).map(|n| self.next.wrapping_add((n % 251) as u8)).collect();
        self.next = self.next.wrapping_add(len as u8).wrapping_add(1);
        if random.below(2) == 0 {
            self.producer.fill(&data);
        } else {
            let mut rest = &data[..];
            for slice in self.producer.free_slices(len) {
                let (part, after) = rest.split_at(slice.len);
                // SAFETY: the slice lies in the ring.
                unsafe { slice.start.as_ptr().copy_from_nonoverlapping(part.as_ptr(), part.len()) };
                rest = after;
            }
            assert!(rest.is_empty());
        }
        // Invisible before it is committed.
        assert_eq!(self.consumer.ready().unwrap() as usize, self.queue.len());
        let _ = self.producer.commit(len);
        self.queue.extend(data);
    }

    fn read(&mut self, random: &mut Random) {
        let wanted = random.below(self.consumer.size() + 1);
        let ready = self.consumer.ready_for(wanted as usize).unwrap();
        assert!(ready as usize <= self.queue.len());
        assert!(ready >= wanted || ready as usize == self.queue.len());
        let mut data = vec![0; wanted.min(ready) as usize];
        self.consumer.peek(&mut data);
        let mut again = Vec::new();
        for slice in self.consumer.ready_slices(data.len() as u32) {
            // SAFETY: the slice lies in the ring, and no thread writes now.
            again.extend(unsafe { std::slice::from_raw_parts(slice.start.as_ptr(), slice.len) });
        }
        assert_eq!(data, again);
        // Less than was checked may be taken.
        let taken = random.below(data.len() as u32 + 1);
        let _ = self.consumer.consume(taken);
        assert!(data.iter().take(taken as usize).copied().eq(self.queue.drain(..taken as usize)));
    }
}

#[test]
fn behaves_as_two_byte_queues_with_every_pair_of_orders() {
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    for left in 10..=LARGEST {
        for right in 10..=LARGEST {
            if left == right && left < 12 {
                continue;
            }
            let orders = orders(left, right);
            let mut memory = Memory::new(orders);
            let before_wrap = random.below(1 << (left.max(right) + 1)) + 1;
            let (server, client) = memory.ends(orders, before_wrap.wrapping_neg());
            let mut up = Direction {
                producer: &client.producer,
                consumer: &server.consumer,
                queue: VecDeque::new(),
                next: 1,
            };
            let mut down = Direction {
                producer: &server.producer,
                consumer: &client.consumer,
                queue: VecDeque::new(),
                next: 9,
            };
            assert_eq!((up.producer.size(), down.producer.size()), (1 << left, 1 << right));
            // Fewer for large rings: each operation moves about half a ring.
            for _ in 0..(1 << (LARGEST + 1) >> left.max(right)).clamp(4, 200) {
                for direction in [&mut up, &mut down] {
                    if random.below(2) == 0 {
                        direction.write(&mut random);
                    } else {
                        direction.read(&mut random);
                    }
                    direction.check();
                }
            }
            memory.assert_guards();
        }
    }
}

#[test]
fn servers_lay_out_the_orders_of_their_table() {
    for table in [OrderTable::Xen, OrderTable::Ocaml] {
        for (read, write) in [(1, 1), (1024, 1024), (2048, 2048), (2048, 1000), (65536, 1 << 20), (5000, 1)] {
            let orders = table.orders(read, write).unwrap();
            let mut memory = Memory::new(orders);
            let (server, client) = memory.ends(orders, 0);
            assert_eq!(server.consumer.size(), orders.left().size());
            assert_eq!(server.producer.size(), orders.right().size());
            assert_eq!(client.producer.start(), server.consumer.start());
            assert_eq!(client.consumer.start(), server.producer.start());
            assert!(server.producer.size() as usize >= write);
            let page = page(&server);
            assert_eq!(u32::from(page.left_order.load(SeqCst)), orders.left().get());
            assert_eq!(u32::from(page.right_order.load(SeqCst)), orders.right().get());
        }
    }
}

#[test]
fn a_fresh_page_matches_the_protocol() {
    let mut memory = Memory::new(orders(10, 11));
    let block = memory.block(0);
    // SAFETY: as in `Memory::ends`; both rings are in the page.
    let server = unsafe { Endpoint::server(block, Rings { left: None, right: None }, orders(10, 11), 0) };
    let fields = page(&server);
    let bytes = || {
        [&fields.cli_live, &fields.srv_live, &fields.cli_notify, &fields.srv_notify].map(|b| b.load(SeqCst))
    };
    assert_eq!(bytes(), [2, 1, 1, 0]);
    assert_eq!(server.peer_live(), Ok(PeerLive::Waiting));
    // SAFETY: as above.
    let client =
        unsafe { Endpoint::client(block, Rings { left: None, right: None }, orders(10, 11)) }.unwrap();
    assert_eq!(bytes(), [2, 1, 1, 0]);
    client.announce();
    assert_eq!(bytes(), [1, 1, 1, 1 | UNDERSTOOD]);
    assert_eq!((server.peer_live(), client.peer_live()), (Ok(PeerLive::Connected), Ok(PeerLive::Connected)));
    client.leave();
    assert_eq!(bytes()[..2], [0, 1]);
    server.leave();
    assert_eq!(bytes()[..2], [0, 0]);
    assert!(!server.own_live() && !client.own_live());
    assert_eq!((server.peer_live(), client.peer_live()), (Ok(PeerLive::Exited), Ok(PeerLive::Exited)));
}

#[test]
fn notifications_are_sent_exactly_on_request() {
    let mut memory = Memory::new(orders(12, 12));
    let (server, client) = memory.ends(orders(12, 12), 0);
    let fields = page(&server);
    for (one, two, ones_byte, twos_byte) in [
        (&server, &client, &fields.srv_notify, &fields.cli_notify),
        (&client, &server, &fields.cli_notify, &fields.srv_notify),
    ] {
        for byte in [ones_byte, twos_byte] {
            byte.store(0, SeqCst);
        }
        // No request.
        assert!(!one.producer.commit(10) && !two.consumer.consume(10));
        // A request sets one bit in the other's byte.
        assert!(!two.enable_notification(Interest::Readable), "no heavy fences");
        assert_eq!((ones_byte.load(SeqCst), twos_byte.load(SeqCst)), (1, 0));
        // A request for data is none for space, and is answered once.
        assert!(!one.consumer.consume(0));
        assert_eq!(ones_byte.load(SeqCst), 1);
        assert!(one.producer.commit(10));
        assert_eq!((ones_byte.load(SeqCst), twos_byte.load(SeqCst)), (0, 0));
        assert!(!one.producer.commit(10));

        assert!(!one.enable_notification(Interest::Writable), "no heavy fences");
        assert_eq!((ones_byte.load(SeqCst), twos_byte.load(SeqCst)), (0, 2));
        assert!(!two.producer.commit(0));
        assert!(two.consumer.consume(5) && !two.consumer.consume(5));
        assert_eq!((ones_byte.load(SeqCst), twos_byte.load(SeqCst)), (0, 0));

        // Both at once: one answer leaves the other request, and unknown bits, alone.
        assert!(!two.enable_notification(Interest::Readable), "no heavy fences");
        assert!(!two.enable_notification(Interest::Writable), "no heavy fences");
        ones_byte.fetch_or(0xF0, SeqCst);
        assert!(one.producer.commit(1));
        assert_eq!(ones_byte.load(SeqCst), 0xF2);
        assert!(one.consumer.consume(0));
        assert_eq!(ones_byte.load(SeqCst), 0xF0);
        let left = two.consumer.ready().unwrap();
        let _ = two.consumer.consume(left);
    }
}

/// Puts a value into a field of the page.
fn spoil(end: &Endpoint, field: Field, value: u32) -> u32 {
    let page = page(end);
    match field {
        Field::LeftCons => page.left.cons.swap(value, SeqCst),
        Field::LeftProd => page.left.prod.swap(value, SeqCst),
        Field::RightCons => page.right.cons.swap(value, SeqCst),
        Field::RightProd => page.right.prod.swap(value, SeqCst),
        Field::CliLive => page.cli_live.swap(value as u8, SeqCst).into(),
        Field::SrvLive => page.srv_live.swap(value as u8, SeqCst).into(),
        Field::LeftOrder => page.left_order.swap(value as u16, SeqCst).into(),
        Field::RightOrder => page.right_order.swap(value as u16, SeqCst).into(),
    }
}

/// Every call fails with the same error.
fn assert_poisoned(end: &Endpoint, corrupt: Corrupt) {
    assert_eq!(end.check(), Err(corrupt));
    assert_eq!(end.peer_live(), Err(corrupt));
    for interest in [Interest::Readable, Interest::Writable] {
        assert_eq!(end.available(interest), Err(corrupt));
    }
    let (producer, consumer) = (&end.producer, &end.consumer);
    assert_eq!([producer.space(), producer.space_for(1), producer.pending()], [Err(corrupt); 3]);
    assert_eq!([consumer.ready(), consumer.ready_for(0)], [Err(corrupt); 2]);
}

/// The call that checks the peer's field.
type Look = fn(&Endpoint) -> Result<(), Corrupt>;

#[test]
fn impossible_values_are_named_and_poison_for_ever() {
    let ready: Look = |end| end.consumer.ready().map(drop);
    let space: Look = |end| end.producer.space().map(drop);
    let live: Look = |end| end.peer_live().map(drop);
    for first in [0, u32::MAX - 100, 1 << 31] {
        let beyond = |more: u32| first.wrapping_add(more);
        let cases: [(Role, Field, Look, Vec<u32>); 6] = [
            (Role::Server, Field::LeftProd, ready, vec![beyond(4097), beyond(1 << 31), beyond(u32::MAX)]),
            (Role::Client, Field::RightProd, ready, vec![beyond(4097), beyond(1 << 31), beyond(u32::MAX)]),
            (
                Role::Server,
                Field::RightCons,
                space,
                vec![beyond(1), beyond(1 << 31), beyond(-4097i32 as u32)],
            ),
            (Role::Client, Field::LeftCons, space, vec![beyond(1), beyond(1 << 31), beyond(-4097i32 as u32)]),
            (Role::Server, Field::CliLive, live, vec![2, 3, 255]),
            (Role::Client, Field::SrvLive, live, vec![2, 3, 255]),
        ];
        for (role, field, look, values) in cases {
            for value in values {
                let mut memory = Memory::new(orders(12, 12));
                let (server, client) = memory.ends(orders(12, 12), first);
                let end = if role == Role::Server { &server } else { &client };
                look(end).unwrap();
                server.peer_live().unwrap();
                let honest = spoil(end, field, value);
                assert_eq!(look(end), Err(Corrupt { field, value }), "{role:?} {first}");
                spoil(end, field, honest);
                assert_poisoned(end, Corrupt { field, value });
                memory.assert_guards();
            }
        }
    }
}

#[test]
fn an_index_that_goes_back_is_impossible() {
    for first in [0, 1 << 31, u32::MAX - 60] {
        let at = |more: u32| first.wrapping_add(more);
        let mut memory = Memory::new(orders(12, 12));
        let (server, client) = memory.ends(orders(12, 12), first);
        spoil(&server, Field::LeftProd, at(100));
        assert_eq!(server.consumer.ready(), Ok(100));
        let _ = server.consumer.consume(20);
        spoil(&server, Field::LeftProd, at(99));
        // Bytes seen before may be used without a check.
        assert_eq!(server.consumer.ready_for(80), Ok(80));
        assert_eq!(server.consumer.ready(), Err(Corrupt { field: Field::LeftProd, value: at(99) }));

        let _ = client.producer.commit(0);
        let _ = client.producer.commit(200);
        spoil(&client, Field::LeftCons, at(100));
        assert_eq!(client.producer.space(), Ok(4096 - 100));
        spoil(&client, Field::LeftCons, at(99));
        assert_eq!(client.producer.space_for(4096), Err(Corrupt { field: Field::LeftCons, value: at(99) }));
    }
}

#[test]
fn the_peers_index_is_checked_if_too_few_bytes_are_known() {
    let mut memory = Memory::new(orders(12, 12));
    let (server, client) = memory.ends(orders(12, 12), 0);
    spoil(&server, Field::LeftProd, 10);
    assert_eq!(server.consumer.ready_for(1), Ok(10));
    spoil(&server, Field::LeftProd, 20);
    assert_eq!([server.consumer.ready_for(10), server.consumer.ready_for(11)], [Ok(10), Ok(20)]);

    let _ = client.producer.commit(4096);
    assert_eq!(client.producer.space_for(1), Ok(0));
    spoil(&client, Field::LeftCons, 10);
    assert_eq!(client.producer.space_for(1), Ok(10));
    spoil(&client, Field::LeftCons, 20);
    assert_eq!([client.producer.space_for(10), client.producer.space_for(11)], [Ok(10), Ok(20)]);
}

#[test]
fn a_full_or_empty_ring_is_not_impossible() {
    let mut memory = Memory::new(orders(12, 12));
    let (server, _client) = memory.ends(orders(12, 12), u32::MAX - 5);
    spoil(&server, Field::LeftProd, (u32::MAX - 5).wrapping_add(4096));
    assert_eq!(server.consumer.ready(), Ok(4096));
    let _ = server.consumer.consume(4096);
    assert_eq!(server.consumer.ready(), Ok(0));
    let _ = server.producer.commit(4096);
    assert_eq!(server.producer.space(), Ok(0));
}

#[test]
fn orders_are_never_read_again_and_own_indices_never_read() {
    let mut memory = Memory::new(orders(12, 13));
    let (server, client) = memory.ends(orders(12, 13), 0);
    for (end, own) in
        [(&server, [Field::RightProd, Field::LeftCons]), (&client, [Field::LeftProd, Field::RightCons])]
    {
        let size = end.producer.size();
        for rubbish in [1, 77_777, 1 << 31, u32::MAX] {
            let mut honest = own.map(|field| spoil(end, field, rubbish));
            spoil(end, Field::LeftOrder, rubbish);
            spoil(end, Field::RightOrder, rubbish);
            assert_eq!((end.producer.space(), end.consumer.ready()), (Ok(size), Ok(0)));
            // The next commit restores the right value.
            let _ = end.producer.commit(0);
            let _ = end.consumer.consume(0);
            for (field, honest) in own.into_iter().zip(&mut honest) {
                assert_eq!(spoil(end, field, *honest), *honest);
            }
            end.check().unwrap();
        }
    }
}

#[test]
fn a_client_refuses_indices_that_are_impossible_from_the_beginning() {
    for field in [Field::LeftCons, Field::RightProd] {
        let mut memory = Memory::new(orders(10, 11));
        let block = memory.block(0);
        let none = Rings { left: None, right: None };
        // SAFETY: as in `Memory::ends`; both rings are in the page.
        let server = unsafe { Endpoint::server(block, none, orders(10, 11), 0) };
        spoil(&server, field, 0x7777_7777);
        // SAFETY: as above.
        let result = unsafe { Endpoint::client(block, none, orders(10, 11)) };
        assert_eq!(result.map(drop), Err(Corrupt { field, value: 0x7777_7777 }));
    }
}
