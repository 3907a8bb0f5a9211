# The thread sanitizer over the library's Rust code, with a standard library built for it: needs a nightly Rust and its
# sources. It covers the threads of one process: the suite over the in-process transport, and the hostile peer in
# threads; accesses of other processes are invisible to it. It ignores fences: the protocol's are between atomics only,
# which never race, so there are no false reports.

TSAN_TARGET ?= x86_64-unknown-linux-gnu
# Optimised, since tests have time limits; in a separate directory, since everything is rebuilt.
TSAN = MAKEFLAGS= VCHAN_CONFORMANCE_LIMIT=300 CARGO_PROFILE_DEV_OPT_LEVEL=2 RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS='suppressions=$(CURDIR)/tests/hostile/tsan.txt' \
	$(CARGO) +$(NIGHTLY) test -Zbuild-std --target $(TSAN_TARGET) --target-dir '$(or $(CARGO_TARGET_DIR),target)/tsan' -p vchan-rs

.PHONY: tsan
tsan: has-nightly
	$(TSAN) --test conformance in_process::
	$(TSAN) --test hostile racing
	@echo 'make tsan: no data race found'
