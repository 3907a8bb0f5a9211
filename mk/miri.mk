# Miri, an interpreter that detects undefined behaviour, data races and leaks: over the ring, and over whole channels
# in one process. Needs a nightly Rust: make install-nightly.
#
#   make miri                      with both aliasing models
#   make miri MIRI_MODELS=tree     with one of them

MIRI_MODELS ?= stacked tree
# Run in parallel with another target, cargo would miss the jobserver.
MIRI = MAKEFLAGS= $(CARGO) +$(NIGHTLY) miri test -p vchan-rs

# Excluded: arithmetic over hundreds of thousands of values without unsafe code.
MIRI_RING := --lib ring:: -- --skip every_size_gets_the_order_of_the_table --skip every_pair_of_orders_is_judged

# Excluded: tests that need system calls unknown to Miri: signals, files, nested epoll sets, which programs poll
# (nonblocking, and those listed by name); a peer that writes single bytes of a value read as a word, which Miri
# reports as a race; and two that take minutes.
MIRI_CHANNEL := --test conformance in_process:: -- --skip interrupted:: --skip descriptors:: --skip nonblocking:: \
	--skip the_end_comes_after_the_last_byte --skip close_ends_a_blocked_read --skip who_polled_does_not_sleep \
	--skip rubbish_everywhere --skip sizes_of_every_kind --skip the_last_bytes_come_at_the_same_moment_as_the_end --skip a_death_is_heard_by_who_does_not_block \
	--skip our_own_peers_are_not_nudged --skip the_end_of_the_stream_wakes_a_poller --skip half_close::a_foreign_peer \
	--skip an_earlier_client_ends_no_later_stream --skip a_peer_that_takes_it_back

.PHONY: miri
miri: has-nightly
	@test -n '$(strip $(MIRI_MODELS))' || { echo 'make miri: MIRI_MODELS is empty, expected stacked, tree, or both'; exit 1; }
	@for model in $(MIRI_MODELS); do \
		case $$model in \
		stacked) flags= ;; \
		tree) flags=-Zmiri-tree-borrows ;; \
		*) echo "make miri: unknown model $$model, expected stacked or tree"; exit 1 ;; \
		esac; \
		echo "make miri: the ring, aliasing model $$model"; \
		MIRIFLAGS=$$flags $(MIRI) $(MIRI_RING) || exit 1; \
	done
	@echo 'make miri: channels'
	$(MIRI) $(MIRI_CHANNEL)
	@echo 'make miri: no undefined behaviour found'
