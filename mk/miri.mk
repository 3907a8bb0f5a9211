# Miri, an interpreter that notices undefined behaviour, data races and leaks, over the ring. It needs a nightly Rust.
#
#   make miri                                        both models of aliasing
#   make miri MIRI_ALIASING=-Zmiri-tree-borrows      one of them; empty for stacked borrows

# The empty one, in quotes, is the default: stacked borrows.
MIRI_ALIASING ?= '' -Zmiri-tree-borrows
MIRI := $(CARGO) +nightly miri test -p vchan-rs

# Left out: arithmetic over hundreds of thousands of values without an unsafe block in it.
MIRI_RING := --lib ring:: -- --skip every_size_gets_the_order_of_the_table --skip every_pair_of_orders_is_judged

.PHONY: miri
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { \
		echo 'make miri: needs Miri; run: rustup toolchain install nightly --no-self-update --component miri,rust-src'; exit 1; }
	for aliasing in $(MIRI_ALIASING); do \
		echo "make miri: the ring $$aliasing"; \
		MIRIFLAGS="$$aliasing" $(MIRI) $(MIRI_RING) || exit 1; \
	done
	@echo 'make miri: no undefined behaviour was found'
