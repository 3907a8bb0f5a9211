# Miri, an interpreter that notices undefined behaviour, data races and leaks, over the ring. It needs a nightly Rust.
#
#   make miri                      by both models of aliasing
#   make miri MIRI_MODELS=tree     by one of them

MIRI_MODELS ?= stacked tree
MIRI := $(CARGO) +nightly miri test -p vchan-rs

# Left out: arithmetic over hundreds of thousands of values without an unsafe block in it.
MIRI_RING := --lib ring:: -- --skip every_size_gets_the_order_of_the_table --skip every_pair_of_orders_is_judged

.PHONY: miri
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { \
		echo 'make miri: needs Miri; run: rustup toolchain install nightly --no-self-update --component miri,rust-src'; exit 1; }
	@test -n '$(strip $(MIRI_MODELS))' || { echo 'make miri: MIRI_MODELS is empty; it may be stacked, tree, or both'; exit 1; }
	@for model in $(MIRI_MODELS); do \
		case $$model in \
		stacked) flags= ;; \
		tree) flags=-Zmiri-tree-borrows ;; \
		*) echo "make miri: no model $$model; there are stacked and tree"; exit 1 ;; \
		esac; \
		echo "make miri: the ring, model of aliasing: $$model"; \
		MIRIFLAGS=$$flags $(MIRI) $(MIRI_RING) || exit 1; \
	done
	@echo 'make miri: no undefined behaviour was found'
