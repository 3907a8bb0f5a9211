# The tests on real Xen: boots Xen and guests under QEMU's emulation; see tests-xen/README.md.

.PHONY: check-xen
check-xen: build-capi cats-c
	$(CARGO) build --release -p vchan-cats
	tests-xen/run --ours '$(OUT)/libvchan_rs.so' --with '$(OUT)/xencat' --with '$(OUT)/xencat-c' $(XEN_TESTS)
