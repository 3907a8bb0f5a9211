# Faults, kills and load on the Unix transport, with the program tests-c/faults, and the soak.
#
#   make check-faults   failing system calls, leftovers, signals, 550 killed peers
#   make check-load     many channels, thousands in sequence, millions of messages, 2^32 bytes
#   make soak           all of that mixed, SOAK_SECONDS=1800; one line per minute
#
# VCHAN_FAULTS_SEED=N reproduces the random numbers of an earlier run, which printed it.

OUT := $(or $(CARGO_TARGET_DIR),target)/release
FAULTS := $(OUT)/faults/faults
SOAK_SECONDS ?= 1800

.PHONY: build-faults check-faults check-load soak soak-quick

build-faults: build-capi
	$(MAKE) -C tests-c/faults OUT='$(abspath $(OUT))/faults' LIB='$(abspath $(LIBRARY))'
	ln -sf ../$(LIBRARY:$(OUT)/%=%) '$(OUT)/faults/'

check-faults: build-faults
	'$(FAULTS)' limits
	'$(FAULTS)' signals
	'$(FAULTS)' syscalls
	'$(FAULTS)' killed 550

check-load: build-faults
	'$(FAULTS)' load

soak: build-faults cats-c
	$(CARGO) build --release -p vchan-cats
	'$(FAULTS)' soak '$(SOAK_SECONDS)' '$(OUT)/unixcat' '$(OUT)/unixcat-c'

# A short soak.
soak-quick:
	$(MAKE) soak SOAK_SECONDS=15

check-slow: check-faults check-load soak-quick
