//! Index and wrap arithmetic of small rings, in every state, against a plain queue of bytes.

use std::collections::VecDeque;

use shuttle::scheduler::RoundRobinScheduler;
use shuttle::{Config, MaxSteps, Runner};

use super::world::World;

/// Every ring of up to 16 bytes, at every level and every offset around the wrap, with every length that can be
/// written or read.
#[test]
fn every_state_of_small_rings() {
    let mut config = Config::new();
    config.max_steps = MaxSteps::None;
    Runner::new(RoundRobinScheduler::new(1), config).run(|| {
        let mut states = 0;
        for order in 0..=4 {
            let size = 1u32 << order;
            for first in (0..2 * size).map(|before| before.wrapping_neg()) {
                for level in 0..=size {
                    for writes in 0..=size - level {
                        for reads in 0..=level + writes {
                            state(order, first, [level, writes, reads]);
                            states += 1;
                        }
                    }
                }
            }
        }
        println!("model arithmetic: {states} states of rings of 1 to 16 bytes");
    });
}

fn state(order: u8, first: u32, [level, writes, reads]: [u32; 3]) {
    let world = World::new(order, order, false, false);
    let (server, client) = world.endpoints(first);
    for (producer, consumer) in [(&client.producer, &server.consumer), (&server.producer, &client.consumer)] {
        let size = producer.size();
        let mut queue = VecDeque::new();
        for (at, len) in [(0, level), (level, writes)] {
            let data: Vec<u8> = (0..len).map(|n| (at + n + 1) as u8).collect();
            assert!(producer.space_for(len as usize).unwrap() >= len);
            producer.fill(&data);
            let _ = producer.commit(len);
            queue.extend(data);
            assert_eq!(producer.space(), Ok(size - queue.len() as u32));
            assert_eq!(producer.pending(), Ok(queue.len() as u32));
            assert_eq!(consumer.ready(), Ok(queue.len() as u32));
        }
        let mut data = vec![0; reads as usize];
        consumer.peek(&mut data);
        let _ = consumer.consume(reads);
        assert!(data.into_iter().eq(queue.drain(..reads as usize)));
        assert_eq!(consumer.ready(), Ok(queue.len() as u32));
        assert_eq!(producer.space_for(size as usize), Ok(size - queue.len() as u32));
    }
}
