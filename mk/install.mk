# make install, uninstall: the library, its headers, the tools, the manual pages.
# make install-compat, uninstall-compat XEN=4.17: the library under the name of that version of Xen's own.

DESTDIR ?=
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
INSTALL ?= install
CC ?= cc

OUT := $(or $(CARGO_TARGET_DIR),target)/release

TOOLS := $(addprefix $(OUT)/,unixcat xencat) cats/vchan-run
# Binaries that need the shared library, relinked for their destination.
TOOLS_C := unixcat xencat
MANUALS := $(wildcard man/*.1)
HEADERS := include/libxenvchan.h include/vchan-rs.h
# Link dependencies of the static library, with any C compiler as linker.
LIBS_PRIVATE := -lpthread -ldl -lm

TO_LIBDIR = $(shell realpath -m --relative-to='$(BINDIR)' '$(LIBDIR)')
TO_PREFIX = $(shell realpath -m --relative-to='$(LIBDIR)/pkgconfig' '$(PREFIX)')
IN_PREFIX = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
FILL = sed -e 's|@TO_PREFIX@|$(TO_PREFIX)|' -e 's|@LIBDIR@|$(call IN_PREFIX,$(LIBDIR))|' \
	-e 's|@INCLUDEDIR@|$(call IN_PREFIX,$(INCLUDEDIR))|' -e 's|@VERSION@|$(VERSION)|' -e 's|@XEN@|$(XEN)|' \
	-e 's|@LIBS_PRIVATE@|$(LIBS_PRIVATE)|'

.PHONY: built built-capi install uninstall xen-version install-compat uninstall-compat check-install

# Under sudo cargo may be missing: then the existing build is installed.
built built-capi:
	@if command -v '$(CARGO)' >/dev/null; then $(MAKE) --no-print-directory $(@:built%=build%); \
	elif [ -e '$(LIBRARY)' ]; then echo 'make: no $(CARGO), installing the existing build'; \
	else echo 'make: no $(CARGO); run make build first, as a user with it'; exit 1; fi

install:
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)/vchan-rs' '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(MANDIR)/man1'
	$(INSTALL) -m 755 $(LIBRARY) '$(DESTDIR)$(LIBDIR)/libvchan-rs.so.$(VERSION)'
	ln -sf libvchan-rs.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libvchan-rs.so.$(MAJOR)'
	ln -sf libvchan-rs.so.$(MAJOR) '$(DESTDIR)$(LIBDIR)/libvchan-rs.so'
	$(INSTALL) -m 755 $(PRELOAD) '$(DESTDIR)$(LIBDIR)/'
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/vchan-rs'
	$(INSTALL) -m 755 $(NAMES)/libxenvchan.so '$(DESTDIR)$(LIBDIR)/vchan-rs/'
	cp -Pf $(NAMES)/libxenvchan.so.* '$(DESTDIR)$(LIBDIR)/vchan-rs/'
	$(INSTALL) -m 644 $(OUT)/libvchan_rs.a '$(DESTDIR)$(LIBDIR)/libvchan-rs.a'
	$(INSTALL) -m 644 $(HEADERS) '$(DESTDIR)$(INCLUDEDIR)/vchan-rs/'
	$(FILL) pkgconfig/vchan-rs.pc.in >'$(DESTDIR)$(LIBDIR)/pkgconfig/vchan-rs.pc'
	$(INSTALL) -m 755 $(TOOLS) '$(DESTDIR)$(BINDIR)/'
	$(foreach tool,$(TOOLS_C),$(call link-cat,$(tool),$(DESTDIR)$(BINDIR)/$(tool)-c,$(TO_LIBDIR)) &&) :
	$(if $(MANUALS),$(INSTALL) -m 644 $(MANUALS) '$(DESTDIR)$(MANDIR)/man1/')

uninstall:
	rm -f '$(DESTDIR)$(LIBDIR)/libvchan-rs.so.$(VERSION)' '$(DESTDIR)$(LIBDIR)/libvchan-rs.so.$(MAJOR)' \
		'$(DESTDIR)$(LIBDIR)/libvchan-rs.so' '$(DESTDIR)$(LIBDIR)/$(notdir $(PRELOAD))' '$(DESTDIR)$(LIBDIR)/libvchan-rs.a' \
		'$(DESTDIR)$(LIBDIR)/pkgconfig/vchan-rs.pc' \
		$(patsubst %,'$(DESTDIR)$(INCLUDEDIR)/vchan-rs/%',$(notdir $(HEADERS))) \
		$(patsubst %,'$(DESTDIR)$(BINDIR)/%',$(notdir $(TOOLS)) $(TOOLS_C:=-c)) \
		$(patsubst %,'$(DESTDIR)$(MANDIR)/man1/%',$(notdir $(MANUALS)))
	rm -rf '$(DESTDIR)$(LIBDIR)/vchan-rs'
	test ! -d '$(DESTDIR)$(INCLUDEDIR)/vchan-rs' || rmdir '$(DESTDIR)$(INCLUDEDIR)/vchan-rs'

xen-version:
	@test -n '$(XEN)' || { echo 'make: XEN is not set; usage: make install-compat XEN=4.17'; exit 2; }

install-compat:
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)/vchan-rs'
	CC='$(CC)' scripts/link-library.sh '$(XEN)' $(OUT)/libvchan_rs.a '$(DESTDIR)$(LIBDIR)/libxenvchan.so.$(XEN).0'
	ln -sf libxenvchan.so.$(XEN).0 '$(DESTDIR)$(LIBDIR)/libxenvchan.so.$(XEN)'
	ln -sf libxenvchan.so.$(XEN) '$(DESTDIR)$(LIBDIR)/libxenvchan.so'
	$(INSTALL) -m 644 $(HEADERS) '$(DESTDIR)$(INCLUDEDIR)/vchan-rs/'
	$(FILL) pkgconfig/xenvchan.pc.in >'$(DESTDIR)$(LIBDIR)/pkgconfig/xenvchan.pc'

# The headers stay: they also belong to `make install`.
uninstall-compat: xen-version
	rm -f '$(DESTDIR)$(LIBDIR)/libxenvchan.so.$(XEN).0' '$(DESTDIR)$(LIBDIR)/libxenvchan.so.$(XEN)' \
		'$(DESTDIR)$(LIBDIR)/libxenvchan.so' '$(DESTDIR)$(LIBDIR)/pkgconfig/xenvchan.pc'

# All of the above, in a temporary directory.
check-install:
	MAKE='$(MAKE)' scripts/check-install.sh
