# Benchmarks, explained in docs/performance.md. Only on an idle machine.
#
#   make bench         everything, some minutes; writes the tables and plots into docs/
#   make bench-quick   a first impression in under a minute; prints tables
#   make bench-ring    the ring's operations, by Criterion
#
# BENCHARGS goes to vchan-bench: --rounds 9, --awake, --only rust,c, --before DIR (an earlier build) …; see
# `--help`.

OUT := $(or $(CARGO_TARGET_DIR),target)/release
BENCHARGS ?=

.PHONY: bench bench-quick bench-ring build-bench

build-bench: cargo-capi
	$(CARGO) build --release -p vchan-cats -p vchan-bench
	@if [ -e /usr/include/xenctrl.h ]; then $(MAKE) --no-print-directory -C tests-c shim; \
	else echo "make: libxen-dev is missing, Xen's own library is not measured"; fi

bench: build-bench
	$(OUT)/vchan-bench --out docs $(BENCHARGS)

bench-quick: build-bench
	$(OUT)/vchan-bench --quick $(BENCHARGS)

bench-ring:
	$(CARGO) bench -p vchan-rs --bench ring
