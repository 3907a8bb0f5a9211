//! The vchan protocol in shared memory: layout, orders, producer, consumer, notification. No I/O.

mod corrupt;

pub use corrupt::{Corrupt, Field};
