# The thread sanitizer over the library's Rust, with the standard library built for it: needs a nightly Rust and its
# sources. It sees the threads of one process, so the suite over the in-process transport, and the hostile peer in
# threads; what another process does to shared memory it doesn't see. It takes no notice of fences: the protocol's stand
# between atomics only, which never race, so nothing is reported that isn't there.

TSAN_TARGET ?= x86_64-unknown-linux-gnu
# Optimised, since tests have time limits; in a directory of its own, since everything is built anew.
TSAN = MAKEFLAGS= VCHAN_CONFORMANCE_LIMIT=300 CARGO_PROFILE_DEV_OPT_LEVEL=2 RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS='suppressions=$(CURDIR)/tests/hostile/tsan.txt' \
	$(CARGO) +$(NIGHTLY) test -Zbuild-std --target $(TSAN_TARGET) --target-dir '$(or $(CARGO_TARGET_DIR),target)/tsan' -p vchan-rs

.PHONY: tsan
tsan: has-nightly
	$(TSAN) --test conformance in_process::
	$(TSAN) --test hostile racing
	@echo 'make tsan: no data race was found'
