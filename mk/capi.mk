# The C interface: its headers, its symbols, its own tests.

# Where cargo builds.
OUT := $(or $(CARGO_TARGET_DIR),target)/release
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)
MAJOR := $(firstword $(subst ., ,$(VERSION)))

# The shared libraries, under the names that they are installed by.
LIBS := $(OUT)/lib
LIBRARY := $(LIBS)/libvchan-rs.so.$(MAJOR)
PRELOAD := $(LIBS)/libvchan-rs-preload.so
NAMES := $(LIBS)/vchan-rs

.PHONY: build-capi cargo-capi headers check-headers check-symbols check-capi

build-capi: $(LIBRARY) $(PRELOAD) $(NAMES)/libxenvchan.so

# On its own: built together with other packages it gets their features, and with these code under another licence.
cargo-capi:
	$(CARGO) build --release -p vchan-rs-capi

# Made anew only where cargo had something to do.
$(OUT)/libvchan_rs.a: cargo-capi
	@:

$(LIBRARY): $(OUT)/libvchan_rs.a scripts/link-library.sh capi/symbols.txt
	@mkdir -p $(LIBS)
	CC='$(CC)' scripts/link-library.sh normal $< $@
	ln -sf $(@F) $(LIBS)/libvchan-rs.so

$(PRELOAD): $(OUT)/libvchan_rs.a scripts/link-library.sh capi/symbols.txt
	@mkdir -p $(LIBS)
	CC='$(CC)' scripts/link-library.sh preload $< $@

# Xen's library by all its names, for vchan-run.
$(NAMES)/libxenvchan.so: $(PRELOAD) scripts/link-names.sh
	CC='$(CC)' scripts/link-names.sh $< $(NAMES)

headers:
	VCHAN_RS_HEADERS='$(CURDIR)/include' $(CARGO) build --release -p vchan-rs-capi --features headers

# The committed headers are what the sources say, and compile wherever they must.
check-headers:
	scripts/check-headers.sh

# The libraries export what is on the list, and nothing else.
check-symbols: build-capi
	scripts/check-symbols.sh '$(LIBRARY)' capi/symbols.txt libvchan-rs.so.$(MAJOR) @@VCHAN_RS_$(MAJOR)
	scripts/check-symbols.sh '$(PRELOAD)' capi/symbols.txt libvchan-rs-preload.so ''
	scripts/check-symbols.sh '$(OUT)/libvchan_rs.so' capi/symbols.txt libvchan-rs.so.$(MAJOR) ''

# Programs in C over the shared library, also under valgrind.
check-capi: check-headers check-symbols
	scripts/check-capi.sh '$(LIBRARY)'
