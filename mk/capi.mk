# The C interface: headers, symbols, tests.

# Cargo's target directory.
OUT := $(or $(CARGO_TARGET_DIR),target)/release
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)
MAJOR := $(firstword $(subst ., ,$(VERSION)))

# The shared libraries, under their installed names.
LIBS := $(OUT)/lib
LIBRARY := $(LIBS)/libvchan-rs.so.$(MAJOR)
PRELOAD := $(LIBS)/libvchan-rs-preload.so
NAMES := $(LIBS)/vchan-rs

.PHONY: build-capi cargo-capi headers check-headers check-symbols check-capi

build-capi: $(LIBRARY) $(PRELOAD) $(NAMES)/libxenvchan.so

# Built separately: together with other packages it would get their features, and with these code under another
# licence.
cargo-capi:
	$(CARGO) build --release -p vchan-rs-capi

# Relinked only if cargo rebuilt something.
$(OUT)/libvchan_rs.a: cargo-capi
	@:

$(LIBRARY): $(OUT)/libvchan_rs.a scripts/link-library.sh capi/symbols.txt
	@mkdir -p $(LIBS)
	CC='$(CC)' scripts/link-library.sh normal $< $@
	ln -sf $(@F) $(LIBS)/libvchan-rs.so

$(PRELOAD): $(OUT)/libvchan_rs.a scripts/link-library.sh capi/symbols.txt
	@mkdir -p $(LIBS)
	CC='$(CC)' scripts/link-library.sh preload $< $@

# All names of Xen's library, for vchan-run.
$(NAMES)/libxenvchan.so: $(PRELOAD) scripts/link-names.sh
	CC='$(CC)' scripts/link-names.sh $< $(NAMES)

headers:
	VCHAN_RS_HEADERS='$(CURDIR)/include' $(CARGO) build --release -p vchan-rs-capi --features headers

# The committed headers must match the sources, and compile everywhere.
check-headers:
	scripts/check-headers.sh

# The libraries must export exactly the listed symbols.
check-symbols: build-capi
	scripts/check-symbols.sh '$(LIBRARY)' capi/symbols.txt libvchan-rs.so.$(MAJOR) @@VCHAN_RS_$(MAJOR)
	scripts/check-symbols.sh '$(PRELOAD)' capi/symbols.txt libvchan-rs-preload.so ''
	scripts/check-symbols.sh '$(OUT)/libvchan_rs.so' capi/symbols.txt libvchan-rs.so.$(MAJOR) ''

# C programs over the shared library, also under valgrind.
check-capi: check-headers check-symbols
	scripts/check-capi.sh '$(LIBRARY)'
