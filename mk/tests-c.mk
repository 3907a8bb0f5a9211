# The C behaviour suite over Xen's own library and over vchan-rs, and foreign programs on vchan-rs.

OUT := $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: check-behaviour check-foreign check-pairs check-sanitized

# Linked with vchan-rs, and linked with Xen's but run with vchan-rs preloaded: both must behave like the original,
# except for the listed differences.
check-behaviour: build-capi
	$(MAKE) -C tests-c original
	$(MAKE) -C tests-c ours LIB=ours VCHAN_INCLUDE='$(CURDIR)/include' VCHAN_LIBDIR='$(abspath $(LIBS))'
	$(MAKE) -C tests-c compare
	$(MAKE) -C tests-c preloaded VCHAN_LIBDIR='$(abspath $(LIBS))'
	$(MAKE) -C tests-c compare OURS=build/preloaded.txt

check-foreign: cats-c
	$(MAKE) -C tests-c shim
	tests-c/foreign/both.sh '$(LIBS)'
	$(CARGO) build --release -p vchan-cats
	tests-c/foreign/socket_proxy.py '$(PRELOAD)' '$(OUT)/unixcat' '$(OUT)/unixcat-c'

$(OUT)/foreign-transfer: tests-c/foreign/transfer.c | build-capi
	$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -o $@ $< -lxenvchan

# 1 GiB between all pairs of programs; MIB=16 for less.
check-pairs: cats-c $(OUT)/foreign-transfer
	$(CARGO) build --release -p vchan-cats
	tests-c/foreign/pairs.sh '$(PRELOAD)' '$(OUT)/unixcat' '$(OUT)/unixcat-c' '$(OUT)/foreign-transfer'

# The behaviour suite and the C programs of check-capi with every access checked. The sanitizers cover the C code, and
# the library's accesses to its buffers through C library calls. Leaks are checked by valgrind in check-capi: some
# tests end with a channel open. There is no run for data races (-fsanitize=thread): it doesn't see the synchronisation
# of the library's threads, and reports every closed descriptor as a race.
check-sanitized: CANCELLED = the address sanitizer takes what a cancelled thread has left on its stack for alive
check-sanitized: build-capi
	ASAN_OPTIONS=detect_leaks=0 $(MAKE) -C tests-c ours RUNARGS="-x 'cancelled.*=$(CANCELLED)'" LIB=ours VCHAN_INCLUDE='$(CURDIR)/include' VCHAN_LIBDIR='$(abspath $(LIBS))' B=build/sanitized \
		CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all' LDFLAGS='-fsanitize=address,undefined'
	SANITIZE=address,undefined scripts/check-capi.sh '$(LIBRARY)'
