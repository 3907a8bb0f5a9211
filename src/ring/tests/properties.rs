//! Sizes, indices and their wrap: exhaustive for few values, random values that shrink otherwise. The models in
//! `channel/model/arithmetic.rs` cover every state of rings of 1 to 16 bytes.

use proptest::prelude::*;

use super::*;

/// The table of the protocol document, restated.
fn xens_choice(read: u64, write: u64) -> Option<(u32, u32)> {
    let holding = |size: u64| (12..=20).find(|&order| 1u64 << order >= size);
    if read <= 1024 && write <= 2048 {
        Some((10, 11))
    } else if read <= 2048 && write <= 1024 {
        Some((11, 10))
    } else if read <= 2048 {
        Some((11, holding(write)?))
    } else if write <= 2048 {
        Some((holding(read)?, 11))
    } else {
        Some((holding(read)?, holding(write)?))
    }
}

fn choice(read: usize, write: usize) -> Option<(u32, u32)> {
    OrderTable::Xen.orders(read, write).map(|orders| (orders.left().get(), orders.right().get()))
}

/// Every size up to two pages, those around every power of two, and many between.
#[test]
fn every_size_gets_the_order_of_the_table() {
    let others =
        [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 4097, 65536, 1 << 20, (1 << 20) + 1, usize::MAX];
    let borders = (12..=20).flat_map(|order| (1usize << order) - 2..=(1 << order) + 2);
    for size in (0..=8200).chain(borders).chain((8200..1 << 20).step_by(61)) {
        for other in others {
            assert_eq!(choice(size, other), xens_choice(size as u64, other as u64), "{size} {other}");
            assert_eq!(choice(other, size), xens_choice(other as u64, size as u64), "{other} {size}");
        }
    }
}

/// Every pair of values that a page can hold, except those that differ from one of these only by being larger.
#[test]
fn every_pair_of_orders_is_judged() {
    for left in 0..=u16::MAX {
        for right in (0..40).chain([255, 256, 266, 0x7FFF, 0x8000, 0x800A, u16::MAX]) {
            for (left, right) in [(left, right), (right, left)] {
                let valid = |order| (10..=20).contains(&order);
                let together = left != right || left >= 12;
                let judged = Orders::check(left, right);
                assert_eq!(judged.is_ok(), valid(left) && valid(right) && together, "{left} {right}");
                if let Err(corrupt) = judged {
                    let named =
                        if valid(left) { (Field::RightOrder, right) } else { (Field::LeftOrder, left) };
                    assert_eq!((corrupt.field, corrupt.value), (named.0, named.1.into()));
                }
            }
        }
    }
}

/// The rule for an index that the peer writes, in numbers that cannot wrap: from where it was, `seen`, up to the limit
/// that this side sets.
fn is_honest(seen: u32, bytes: i64, written: u32) -> bool {
    // How far it moved, in the shortest direction.
    let moved = i64::from(written.wrapping_sub(seen) as i32);
    (0..=bytes).contains(&moved)
}

/// All that a peer can do to the index of one ring: every value near a limit, for every state.
#[test]
fn every_index_near_a_border_is_judged() {
    let size = 1024;
    let around = |value: u32| (0..5).map(move |step| value.wrapping_add(step).wrapping_sub(2));
    let all = [0, 1, u32::MAX, 1 << 31, u32::MAX - 1023];
    for &first in if cfg!(miri) { &all[4..] } else { &all } {
        for there in [0u32, 1, 2, 1022, 1023, 1024] {
            let values = [0, there, size, there.wrapping_sub(size), 1 << 31, u32::MAX - size];
            for value in values.into_iter().flat_map(around) {
                for (role, field) in [(Role::Server, Field::LeftProd), (Role::Client, Field::LeftCons)] {
                    let mut memory = Memory::new(orders(10, 11));
                    let (server, client) = memory.ends(orders(10, 11), first);
                    let written = first.wrapping_add(value);
                    let (looked, honest) = if role == Role::Server {
                        spoil(&server, field, first.wrapping_add(there));
                        assert_eq!(server.consumer.ready(), Ok(there));
                        spoil(&server, field, written);
                        let honest = is_honest(first.wrapping_add(there), (size - there).into(), written);
                        (server.consumer.ready().map(|ready| ready == value), honest)
                    } else {
                        let _ = client.producer.commit(there);
                        assert_eq!(client.producer.space(), Ok(size - there));
                        spoil(&client, field, written);
                        let honest = is_honest(first, there.into(), written);
                        (client.producer.space().map(|space| space == size - there + value), honest)
                    };
                    let expected = if honest { Ok(true) } else { Err(Corrupt { field, value: written }) };
                    assert_eq!(looked, expected, "{role:?} {first} {there} {value}");
                }
            }
        }
    }
}

/// A step of one side.
#[derive(Clone, Debug)]
enum Step {
    Write(u32),
    Read {
        look: u32,
        take: u32,
    },
    /// Fills in two parts before both are published together.
    Append(u32, u32),
}

fn step(most: u32) -> impl Strategy<Value = Step> {
    // Often around the ring's content, else anything.
    let len = prop_oneof![0..=most, most.saturating_sub(3)..=most + 3, 0..8u32];
    let pair = (len.clone(), len.clone());
    prop_oneof![
        len.prop_map(Step::Write),
        pair.clone().prop_map(|(look, take)| Step::Read { look, take }),
        pair.prop_map(|(one, two)| Step::Append(one, two)),
    ]
}

fn case() -> impl Strategy<Value = (u32, u32, u32, Vec<(bool, Step)>)> {
    let order = || 10..=LARGEST;
    // Mostly such that the indices wrap within the run.
    let first = prop_oneof![any::<u32>(), (0..1u32 << 21).prop_map(u32::wrapping_neg)];
    (order(), order(), first)
        .prop_filter("they go together", |(left, right, _)| left != right || *left > 11)
        .prop_flat_map(|(left, right, first)| {
            let steps = prop::collection::vec((any::<bool>(), step(1 << left.max(right))), 1..24);
            (Just(left), Just(right), Just(first), steps)
        })
}

/// Runs a step on one direction and on a queue, which must agree.
fn go(producer: &Producer, consumer: &Consumer, queue: &mut VecDeque<u8>, next: &mut u8, step: &Step) {
    let size = producer.size() as usize;
    let mut write = |lens: &[u32]| {
        let total = lens.iter().sum::<u32>();
        let space = producer.space_for(total as usize).unwrap();
        assert!(space as usize <= size - queue.len());
        assert!(space >= total || space as usize == size - queue.len());
        let (mut offset, mut left) = (0, space.min(total));
        for &len in lens {
            let len = len.min(left);
            let data: Vec<u8> = (0..len).map(|n| next.wrapping_add((n % 251) as u8)).collect();
            *next = next.wrapping_add(17);
            producer.fill_behind(offset, &data);
            queue.extend(data);
            (offset, left) = (offset + len, left - len);
        }
        let _ = producer.commit(offset);
    };
    match *step {
        Step::Write(len) => write(&[len]),
        Step::Append(one, two) => write(&[one, two]),
        Step::Read { look, take } => {
            let ready = consumer.ready_for(look as usize).unwrap();
            assert!(ready as usize <= queue.len());
            assert!(ready >= look || ready as usize == queue.len());
            let mut data = vec![0; ready.min(look) as usize];
            consumer.peek(&mut data);
            let taken = take.min(data.len() as u32);
            let _ = consumer.consume(taken);
            assert!(queue.iter().take(data.len()).eq(&data));
            queue.drain(..taken as usize);
        }
    }
    assert_eq!(producer.space(), Ok((size - queue.len()) as u32));
    assert_eq!(producer.pending(), Ok(queue.len() as u32));
    assert_eq!(consumer.ready(), Ok(queue.len() as u32));
}

/// Random cases per property.
const CASES: u32 = if cfg!(miri) { 2 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_rings_are_queues_of_bytes((left, right, first, steps) in case()) {
        let mut memory = Memory::new(orders(left, right));
        let (server, client) = memory.ends(orders(left, right), first);
        let (mut up, mut down, mut next) = (VecDeque::new(), VecDeque::new(), 1);
        for (upwards, step) in &steps {
            if *upwards {
                go(&client.producer, &server.consumer, &mut up, &mut next, step);
            } else {
                go(&server.producer, &client.consumer, &mut down, &mut next, step);
            }
        }
        memory.assert_guards();
    }

    #[test]
    fn any_index_of_the_peer_is_judged(order in 12..=20u32, first: u32, there: u32, written: u32) {
        let orders = orders(order, order);
        let size = 1 << order;
        let there = there % (size + 1);
        let mut memory = Memory::new(orders);
        let (server, client) = memory.ends(orders, first);
        let seen = first.wrapping_add(there);
        spoil(&server, Field::LeftProd, seen);
        prop_assert_eq!(server.consumer.ready(), Ok(there));
        // Half of them within reach.
        let written = if written % 2 == 0 { seen.wrapping_add(written / 2 % (2 * size)) } else { written };
        spoil(&server, Field::LeftProd, written);
        prop_assert_eq!(server.consumer.ready().is_ok(), is_honest(seen, i64::from(size - there), written));

        let _ = server.producer.commit(there);
        prop_assert_eq!(client.consumer.ready(), Ok(there));
        let cons = first.wrapping_add(written % (2 * size));
        spoil(&server, Field::RightCons, cons);
        if server.check().is_ok() {
            prop_assert_eq!(server.producer.space().is_ok(), is_honest(first, i64::from(there), cons));
        }
    }
}
