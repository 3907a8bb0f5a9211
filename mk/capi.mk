# The C interface: its headers, its symbols, its own tests.

# Where cargo builds.
OUT := $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: build-capi headers check-headers check-symbols check-capi

build-capi:
	$(CARGO) build --release -p vchan-rs-capi

headers:
	VCHAN_RS_HEADERS='$(CURDIR)/include' $(CARGO) build --release -p vchan-rs-capi --features headers

# The committed headers are what the sources say, and compile wherever they must.
check-headers:
	scripts/check-headers.sh

# The library exports what is on the list, and nothing else.
check-symbols: build-capi
	scripts/check-symbols.sh '$(OUT)/libvchan_rs.so' capi/symbols.txt

# Programs in C over the shared library, also under valgrind.
check-capi: check-headers check-symbols
	scripts/check-capi.sh '$(OUT)/libvchan_rs.so'
