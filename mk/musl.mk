# Static, position-independent tools for musl, each a single file without library dependencies. `cargo build --release
# -p vchan-cats --target x86_64-unknown-linux-musl` builds them; it needs `make install-musl`, and no musl C library.

MUSL ?= $(shell uname -m)-unknown-linux-musl
INSTALL_MUSL := rustup target add $(MUSL)
MUSL_OUT := $(or $(CARGO_TARGET_DIR),target)/$(MUSL)/release

.PHONY: install-musl has-musl build-musl check-musl
install-musl:
	$(INSTALL_MUSL)

has-musl:
	@test -d "$$(rustc --print target-libdir --target $(MUSL))" || { \
		echo 'make: needs the standard library for $(MUSL); run make install-musl, which is: $(INSTALL_MUSL)'; exit 1; }

build-musl: has-musl
	RUSTFLAGS='$(RUSTFLAGS) -D warnings' $(CARGO) build --release -p vchan-cats --target $(MUSL)

# The end-to-end suite with one side on musl and the other on the system's C library.
check-musl: build-musl
	scripts/check-musl.sh '$(MUSL_OUT)'
