# difygate: what people and CI run. `make help` lists it.

CARGO ?= cargo
CLIENTS := target/clients
# A changed version here installs the clients anew.
CLIENT_PACKAGES := dify-client==0.1.10

.DEFAULT_GOAL := help
.PHONY: help demo build test lint format unit doc clients tools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Build and run three simulated Difys, two apps and a gateway
	$(CARGO) run --locked -- demo

build: ## Build the release binary, target/release/difygate
	$(CARGO) build --release --locked

test: lint unit doc ## Install what the tests need, then format, lints, all tests, docs

lint: ## Check the format and the lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

format: ## Format the code
	$(CARGO) fmt --all

unit: clients tools ## Run all tests
	$(CARGO) nextest run --workspace --locked
	$(CARGO) test --workspace --doc --locked

doc: ## Build the API documentation, with broken links as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

clients: $(CLIENTS)/$(CLIENT_PACKAGES) ## Install the client libraries that the tests use

$(CLIENTS)/$(CLIENT_PACKAGES):
	rm -rf $(CLIENTS)
	python3 -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check $(CLIENT_PACKAGES)
	touch $@

tools: ## Install cargo-nextest and curl where they are missing
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked
	@command -v curl >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq curl; } || \
	  { echo "curl is missing and could not be installed: install it" >&2; exit 1; }
