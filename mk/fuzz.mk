# Fuzzing: the engine of tests/hostile under libFuzzer and the address sanitizer. `cargo install cargo-fuzz`
# first.
#
#   make fuzz                          each target for a minute
#   make fuzz FUZZ_SECONDS=3600 FUZZ_TARGETS=lockstep
#   make fuzz FUZZ_SEED=1              deterministic start, as in .ci/run, where results must not depend on luck
#
# Findings go to fuzz/artifacts; `cargo fuzz run TARGET FILE` reproduces one. The sanitizer needs an unstable option,
# which the stable compiler accepts under RUSTC_BOOTSTRAP.

FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_TARGETS ?= lockstep racing pure xenstored
# Maximum script length and time.
FUZZ_LIMITS := -max_len=1000 -timeout=30 -rss_limit_mb=2048

.PHONY: fuzz
fuzz:
	@cargo fuzz --version >/dev/null || { echo 'make fuzz: needs cargo-fuzz; run: cargo install cargo-fuzz'; exit 1; }
	for target in $(FUZZ_TARGETS); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) $(FUZZ_LIMITS) || exit 1; \
	done
