# The tests on real Xen: boots Xen and guests under QEMU's emulation; see tests-xen/README.md.

# Options and scripts for tests-xen/run; none for all.
XEN_TESTS ?=
# The document whose table of pairings is rewritten, such as docs/compatibility.md; empty for none.
XEN_TABLE ?=

.PHONY: check-xen
check-xen:
	$(CARGO) build --release -p vchan-cats
	$(MAKE) -C tests-c build/behaviour-original
	tests-xen/run --ours '$(PRELOAD)' --with '$(LIBRARY)' --with '$(OUT)/xencat' --with '$(OUT)/xencat-c' \
		--with tests-c/build/behaviour-original \
		$(if $(XEN_TABLE),--table '$(XEN_TABLE)') $(XEN_TESTS)
