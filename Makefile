# `make demo` shows a transfer, `make check` tests everything that needs no Xen, `make help` lists the rest.

CARGO ?= cargo
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help build demo quick check check-needs check-slow check-fmt check-clippy check-rust check-without-gpl check-doc check-readme check-files clean

help:
	@echo 'make demo          build, move a 256 MiB file through two unixcat processes, compare checksums'
	@echo 'make quick         format, lints, unit tests and one transfer: about a minute'
	@echo 'make check         all tests that need no Xen'
	@echo 'make check-slow    slow tests: 1 GiB between all pairs of programs, model checking, sanitizers'
	@echo 'make check-musl    static musl tools with tools for the system C library; make install-musl first'
	@echo 'make check-xen     the tests on real Xen, under QEMU'
	@echo 'make soak          random channels, kills and tools for SOAK_SECONDS=1800; parts: check-faults, check-load'
	@echo 'make model         ring and waiting under model checkers, and faults they must detect'
	@echo 'make miri          ring and channels under Miri, an interpreter that detects undefined behaviour; needs a nightly Rust'
	@echo 'make tsan          the threads of one process under the thread sanitizer; needs a nightly Rust and its sources'
	@echo 'make fuzz          hostile peer, hostile xenstored, texts and sizes: a minute each; needs cargo-fuzz'
	@echo 'make mutants       mutates ring, channel and C interface, and lists undetected mutants; hours; needs cargo-mutants'
	@echo 'make check-msrv    the workspace with the oldest supported Rust; check-arches: for other architectures'
	@echo 'make deny          licences and sources of the dependencies, needs cargo-deny; advisories: needs GitHub, too'
	@echo 'make check-api     the public API of the crate against docs/public-api.txt; make update-api writes it; needs a nightly Rust'
	@echo 'make bench         measure and write docs/performance.md; bench-quick: under a minute'
	@echo 'make headers       regenerate the C headers'
	@echo 'make install       DESTDIR= PREFIX= LIBDIR=; also uninstall, install-compat XEN=4.17'

# Not the whole workspace: that would build the C library with the features of the other packages.
build: cats-c
	$(CARGO) build --release -p vchan-rs -p vchan-cats -p vchan-bench

demo:
	$(CARGO) build --release -p vchan-cats
	scripts/demo.sh

check: check-needs check-fmt check-files check-clippy check-rust check-without-gpl check-doc check-capi check-behaviour \
	check-tools check-foreign check-install check-readme
	@scripts/needs.sh skipped
	@echo 'make check: everything that ran passed'

# Lists missing packages at once, not after minutes.
check-needs:
	@CARGO='$(CARGO)' scripts/needs.sh

# A quick check after a change: about a minute with a warm build.
quick: check-fmt check-files
	$(CARGO) clippy -p vchan-rs -p vchan-xenstore --all-targets -- -D warnings
	$(CARGO) test -q -p vchan-rs -p vchan-xenstore --lib
	$(CARGO) test -q -p vchan-rs --test conformance stream::
	$(CARGO) build --release -p vchan-cats
	MIB=16 scripts/demo.sh

check-fmt:
	$(CARGO) fmt --all --check

check-clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p vchan-rs --all-targets --no-default-features -- -D warnings

check-rust:
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace

# The same library without the GPL-3.0-only crate.
check-without-gpl: build-capi cats-c
	$(CARGO) test -p vchan-rs --no-default-features --lib --test xenstore_lookup
	$(CARGO) check -p vchan-cats --no-default-features
	$(CARGO) build --release -p vchan-cats
	scripts/check-no-gpl.sh '$(OUT)'

check-doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	RUSTDOCFLAGS='-D rustdoc::broken-intra-doc-links' $(CARGO) doc --workspace --no-deps --document-private-items

# Runs every command shown in the README.
check-readme:
	$(PYTHON) scripts/check-readme.py README.md

# File length, open markers, shell scripts, circles between modules, words.
check-files: check-scripts check-circles check-words
	scripts/check-files.sh

# 1 GiB each way through the tools, also with the historical peer; then the other slow tests.
check-slow: check-pairs check-sanitized model
	VCHAN_E2E_MIB=1024 $(CARGO) test --release -p vchan-cats --test historical --test transfer

clean:
	$(CARGO) clean

# Prerequisites of other targets; the recipes are in mk/.
check-xen: build-capi cats-c
install: built
install-compat: xen-version built-capi

include mk/*.mk
