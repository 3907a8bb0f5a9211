# The public API of the crate vchan-rs, compared with docs/public-api.txt. Needs cargo-public-api and a nightly Rust, both
# of a pinned version, since the text depends on them.

PUBLIC_API_VERSION := 0.52.0
INSTALL_PUBLIC_API := $(CARGO) install --locked cargo-public-api --version $(PUBLIC_API_VERSION)
PUBLIC_API_TARGET = $(or $(CARGO_TARGET_DIR),target)/public-api
PUBLIC_API = CARGO_TARGET_DIR='$(PUBLIC_API_TARGET)' $(CARGO) +$(NIGHTLY) public-api -p vchan-rs --all-features -ss

.PHONY: check-api update-api install-public-api has-public-api
install-public-api: install-nightly
	$(INSTALL_PUBLIC_API)

has-public-api: has-nightly
	@$(CARGO) public-api --version 2>/dev/null | grep -qw '$(PUBLIC_API_VERSION)' || { \
		echo 'make: needs cargo-public-api $(PUBLIC_API_VERSION); run make install-public-api, which is: $(INSTALL_PUBLIC_API)'; exit 1; }

check-api: has-public-api
	@mkdir -p '$(PUBLIC_API_TARGET)'
	@$(PUBLIC_API) >'$(PUBLIC_API_TARGET)/now.txt'
	@diff -u docs/public-api.txt '$(PUBLIC_API_TARGET)/now.txt' || { \
		echo 'make check-api: the public API differs from docs/public-api.txt. If that is intended, run make update-api and say'; \
		echo 'in CHANGELOG.md what programs have to change.'; exit 1; }
	@echo 'make check-api: the public API is that of docs/public-api.txt'

update-api: has-public-api
	$(PUBLIC_API) >docs/public-api.txt
