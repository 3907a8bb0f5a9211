//! For the C interface, the tools, the benchmarks and the tests of this project: the parts of a channel, without the rules that keep a
//! caller from breaking its own channel. No promise is made of anything here, and versions don't count.

#[cfg(not(model))]
pub use crate::channel::cancellation;
pub use crate::channel::{CallGate, Channel, Own, Progress, Wait};

/// The shared-memory protocol.
pub mod ring {
    pub use crate::ring::internals::*;
}

/// Fences on other processors, by the kernel.
#[cfg(not(model))]
pub mod fence {
    pub use crate::fence::*;
}

/// Which thread this is.
pub mod thread {
    pub use crate::thread::*;
}

/// The inside of a [`Vchan`](crate::Vchan).
pub trait Internals {
    /// The channel itself, without the modes of reader and writer.
    fn channel(&self) -> &std::sync::Arc<Channel>;
}

impl Internals for crate::Vchan {
    fn channel(&self) -> &std::sync::Arc<Channel> {
        crate::Vchan::channel(self)
    }
}
