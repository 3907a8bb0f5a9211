# The tests on real Xen: boots Xen and guests under QEMU's emulation; see tests-xen/README.md.

# Options and scripts for tests-xen/run; none for all.
XEN_TESTS ?=
# The document whose table of pairings is to be written anew, as docs/compatibility.md; none for none.
XEN_TABLE ?=

.PHONY: check-xen
check-xen: build-capi cats-c
	$(CARGO) build --release -p vchan-cats
	tests-xen/run --ours '$(OUT)/libvchan_rs.so' --with '$(OUT)/xencat' --with '$(OUT)/xencat-c' \
		$(if $(XEN_TABLE),--table '$(XEN_TABLE)') $(XEN_TESTS)

# What is quick and steady enough for every change: PV domains, all ring sizes, foreign programs, the README's transfer.
XEN_QUICK := --only 'server (dom0|pv1) [a-z]+, client (dom0|pv[12]) |socket-proxy|README|third domain' pairings programs cats

.PHONY: check-xen-quick
check-xen-quick:
	$(MAKE) check-xen XEN_TESTS="$(XEN_QUICK)"
