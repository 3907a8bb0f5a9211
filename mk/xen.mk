# The tests on real Xen: boots Xen and guests under QEMU's emulation; see tests-xen/README.md.

.PHONY: check-xen
check-xen:
	$(CARGO) build --release -p vchan-rs-capi -p vchan-cats
