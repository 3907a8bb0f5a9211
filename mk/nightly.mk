# The nightly Rust that Miri and the thread sanitizer need. Always the same one, so that what they find comes of what we
# change; of October 2026 or later, since older ones know no epoll that isn't edge-triggered.

NIGHTLY ?= nightly-2026-10-29
INSTALL_NIGHTLY := rustup toolchain install $(NIGHTLY) --no-self-update --profile minimal --component miri,rust-src

.PHONY: install-nightly has-nightly
install-nightly:
	$(INSTALL_NIGHTLY)

has-nightly:
	@$(CARGO) +$(NIGHTLY) miri --version >/dev/null 2>&1 || { \
		echo 'make: needs $(NIGHTLY) with Miri and the sources; run make install-nightly, which is: $(INSTALL_NIGHTLY)'; exit 1; }
