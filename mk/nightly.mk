# The nightly Rust for Miri and the thread sanitizer. Pinned, so that new findings result from changes here; of October
# 2026 or later, since older ones support only edge-triggered epoll.

NIGHTLY ?= nightly-2026-10-29
INSTALL_NIGHTLY := rustup toolchain install $(NIGHTLY) --no-self-update --profile minimal --component miri,rust-src

.PHONY: install-nightly has-nightly
install-nightly:
	$(INSTALL_NIGHTLY)

has-nightly:
	@$(CARGO) +$(NIGHTLY) miri --version >/dev/null 2>&1 || { \
		echo 'make: needs $(NIGHTLY) with Miri and the sources; run make install-nightly, which is: $(INSTALL_NIGHTLY)'; exit 1; }
