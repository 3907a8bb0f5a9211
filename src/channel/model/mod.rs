//! Models: real channels on an event channel and threads that a checker schedules.
//!
//! `loom` tries every schedule and every value that the memory model allows, with small rings and few bytes. `shuttle`
//! tries many random schedules of more threads and more bytes. `make model` runs both, and then each mistake of
//! `fault.rs`, which must be noticed.

mod calls;
mod world;

#[cfg(shuttle)]
mod arithmetic;
#[cfg(loom)]
mod exhaustive;
#[cfg(shuttle)]
mod random;

pub(super) use world::Doorbell;
