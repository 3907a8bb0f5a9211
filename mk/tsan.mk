# The thread sanitizer over the library's Rust, with the standard library built for it: needs a nightly Rust and its
# sources. It sees the threads of one process, so the suite over the in-process transport, and the hostile peer in
# threads; what another process does to shared memory it doesn't see. It takes no notice of fences: the protocol's stand
# between atomics only, which never race, so nothing is reported that isn't there.

TSAN_TARGET ?= x86_64-unknown-linux-gnu
# Optimised, since tests have time limits; in a directory of its own, since everything is built anew.
TSAN := VCHAN_CONFORMANCE_LIMIT=300 CARGO_PROFILE_DEV_OPT_LEVEL=2 RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS='suppressions=$(CURDIR)/tests/hostile/tsan.txt' \
	$(CARGO) +nightly test -Zbuild-std --target $(TSAN_TARGET) --target-dir '$(or $(CARGO_TARGET_DIR),target)/tsan' -p vchan-rs

.PHONY: tsan
tsan:
	@rustc +nightly --version >/dev/null 2>&1 && test -e "$$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" || { \
		echo 'make tsan: needs a nightly Rust and its sources; run: rustup toolchain install nightly --no-self-update --component rust-src'; exit 1; }
	$(TSAN) --test conformance in_process::
	$(TSAN) --test hostile racing
	@echo 'make tsan: no data race was found'
