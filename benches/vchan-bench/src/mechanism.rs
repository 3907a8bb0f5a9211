//! The optional mechanisms of waiting, for ablations.

use clap::ValueEnum;

/// A mechanism, as `VCHAN_WITHOUT` names it; see `src/channel/wait/tuning.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    /// Spinning before a park
    Spin,
    /// Yielding the CPU where both sides share it
    Yield,
    /// The brief spin of non-blocking calls
    BriefSpin,
    /// The delay before the check for an answer
    AnswerDelay,
    /// The delay before each check in a stream
    StreamDelay,
    /// Publishing large writes in chunks
    Chunks,
    /// Publishing without a fence
    FenceElision,
}

impl Mechanism {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library ignores an unknown name, and the ablation would compare the whole with itself.
    #[test]
    fn the_library_knows_every_mechanism() {
        let sources = [
            include_str!("../../../src/channel/wait/tuning.rs"),
            include_str!("../../../src/channel/wait/fence_policy.rs"),
        ];
        for mechanism in Mechanism::value_variants() {
            let name = format!("\"{}\"", mechanism.name());
            assert!(sources.iter().any(|source| source.contains(&name)), "{name}");
        }
    }
}
