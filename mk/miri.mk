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
# (listener, nonblocking, and those listed by name); a peer that writes single bytes of a value read as a word, which Miri
# reports as a race; and two that take minutes.
MIRI_CHANNEL := --test conformance in_process:: -- --skip interrupted:: --skip descriptors:: --skip listener:: --skip nonblocking:: \
	--skip end_follows_the_last_byte --skip close_ends_a_blocked_read --skip wait_after_poll_returns \
	--skip random_writes_everywhere --skip sizes_of_every_kind --skip last_bytes_arrive_together_with_the_end --skip nonblocking_caller_sees_peer_death \
	--skip own_peers_get_no_unrequested_events --skip end_of_stream_wakes_a_poller --skip half_close::foreign_peer \
	--skip earlier_client_does_not_end_a_later_stream --skip peer_that_clears_its_bits

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
