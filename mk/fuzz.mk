# Fuzzing: the engine of tests/hostile, driven by libFuzzer under the address sanitizer. `cargo install cargo-fuzz` first.
#
#   make fuzz                          each target for a minute
#   make fuzz FUZZ_SECONDS=3600 FUZZ_TARGETS=lockstep
#   make fuzz FUZZ_SEED=1              begins the same each time, as .ci/run does, where luck is to accuse no commit
#
# What is found goes to fuzz/artifacts; `cargo fuzz run TARGET FILE` tries it again. The sanitizer is switched on by an
# unstable option, which the stable compiler takes under RUSTC_BOOTSTRAP.

FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_TARGETS ?= lockstep racing pure xenstored
# The longest script, and how long one may take.
FUZZ_LIMITS := -max_len=1000 -timeout=30 -rss_limit_mb=2048

.PHONY: fuzz
fuzz:
	@cargo fuzz --version >/dev/null || { echo 'make fuzz: needs cargo-fuzz; run: cargo install cargo-fuzz'; exit 1; }
	for target in $(FUZZ_TARGETS); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) $(FUZZ_LIMITS) || exit 1; \
	done
