# Mutation testing: cargo-mutants (`cargo install --locked cargo-mutants`) applies one small change at a time and runs
# the tests that should fail. Undetected ones are listed as missed, in target/mutants/NAME/mutants.out. Takes hours, so
# by hand.
#
#   make mutants                               ring, channel and the C interface
#   make mutants-ring MUTANTS='--shard 0/8'    an eighth of one of them
#   make mutants-channel MUTANTS='-f src/channel/wait/park.rs'

MUTANTS ?=
MUTANTS_OUT := $(or $(CARGO_TARGET_DIR),target)/mutants
# $(call mutate,NAME,OPTIONS,TESTS). Missed mutants (2) and timeouts (3) are results, not errors.
mutate = mkdir -p '$(MUTANTS_OUT)/$(1)'; \
	nice -n 19 $(CARGO) mutants -j1 --no-shuffle -o '$(MUTANTS_OUT)/$(1)' $(2) $(MUTANTS) -- $(3); \
	case $$? in 0 | 2 | 3) ;; *) exit 1 ;; esac

.PHONY: mutants mutants-ring mutants-channel mutants-capi has-mutants

mutants: mutants-ring mutants-channel mutants-capi

has-mutants:
	@$(CARGO) mutants --version >/dev/null || { echo 'make mutants: run: cargo install --locked cargo-mutants'; exit 1; }

mutants-ring: has-mutants
	$(call mutate,ring,-p vchan-rs $(if $(findstring -f,$(MUTANTS)),,-f 'src/ring/*.rs'),--lib ring::)

mutants-channel: has-mutants
	$(call mutate,channel,-p vchan-rs $(if $(findstring -f,$(MUTANTS)),,-f 'src/channel/**/*.rs'),--lib --test conformance)

# With the C programs, and with the behaviour suite compared with Xen's own library.
mutants-capi: has-mutants
	$(MAKE) -C tests-c original
	export VCHAN_ORIGINAL='$(CURDIR)/tests-c/build/original.txt'; $(call mutate,capi,-p vchan-rs-capi --features c-programs,)
