# Checks of what surrounds the code: scripts, words, dependencies, the oldest supported Rust.

MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
INSTALL_MSRV := rustup toolchain install $(MSRV) --profile minimal

.PHONY: check-scripts check-words check-circles deny fetch-advisories advisories install-msrv has-msrv check-msrv
check-scripts:
	@command -v shellcheck >/dev/null || { echo 'check-scripts: no shellcheck; skipped'; exit 0; }; \
	shellcheck -S warning .ci/run scripts/*.sh cats/vchan-run

# Spelling, and words that the language rules in CONTRIBUTING.md exclude.
check-words:
	scripts/check-words.sh

# No two modules of the library import each other, directly or through others.
check-circles:
	$(PYTHON) scripts/check-circles.py src
	$(PYTHON) scripts/check-circles.py xenstore/src

# Licences, sources and versions of the dependencies; needs cargo-deny. Known vulnerabilities; needs GitHub, too.
deny:
	$(CARGO) deny check licenses bans sources

fetch-advisories:
	$(CARGO) deny fetch db

advisories:
	$(CARGO) deny check advisories

install-msrv:
	$(INSTALL_MSRV)

has-msrv:
	@rustup run $(MSRV) rustc --version >/dev/null 2>&1 || { \
		echo 'make: needs Rust $(MSRV); run make install-msrv, which is: $(INSTALL_MSRV)'; exit 1; }

# The workspace with the oldest supported Rust, in a directory of its own.
check-msrv: has-msrv
	CARGO_TARGET_DIR='$(or $(CARGO_TARGET_DIR),target)/msrv' rustup run $(MSRV) cargo check --workspace --all-targets

# The other architectures that Xen or Linux users have compile, tests included. Needs their standard libraries.
ARCHES := aarch64-unknown-linux-gnu i686-unknown-linux-gnu riscv64gc-unknown-linux-gnu
INSTALL_ARCHES := rustup target add $(ARCHES)

.PHONY: install-arches has-arches check-arches
install-arches:
	$(INSTALL_ARCHES)

has-arches:
	@for arch in $(ARCHES); do test -d "$$(rustc --print target-libdir --target $$arch)" || { \
		echo "make: needs the standard library for $$arch; run make install-arches, which is: $(INSTALL_ARCHES)"; exit 1; }; done

check-arches: has-arches
	for arch in $(ARCHES); do \
		$(CARGO) check --target $$arch --all-targets -p vchan-rs -p vchan-rs-capi -p vchan-cats -p vchan-xenstore || exit 1; \
	done
