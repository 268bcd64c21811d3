# make demo     hear a call: no keys, no PBX (fetches the offline models once)
# make test     all tests, those with Asterisk, sipp and baresip included
# make check    test, and everything that a change has to pass
# make bench    the benchmarks                make bench-media  what a call costs, beside Asterisk
# make fuzz     each fuzz target for SECONDS (60)
# make models   fetch the offline models      make peers   unpack the SIP peers of the tests
# make interop  the tests with those peers alone, and the tables of tests/interop/README.md
# make pipecat  install Pipecat, and hold a call with it: make test-bridge-pipecat
# make sdk      install the vendors' own SDKs; make test-sdk checks the fakes with them and says which version did
# make clean    remove what was built; models and peers stay
#
# Every target installs what it lacks (.ci/setup says what) and does nothing twice.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
SECONDS ?= 60
CARGO ?= cargo
export OFFHOOK_CACHE ?= $(CURDIR)/target/cache

FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_FLAGS := --release --sanitizer none --codegen-units 16
# Several targets at the same time. What they run shares no job server with this make: cargo would build with one core.
BESIDE := $(MAKE) --no-print-directory --jobs=3
ALONE := env --unset=MAKEFLAGS --unset=MFLAGS
BUILT ?= --bins --tests
# Places for tests, four a core: .config/nextest.toml says what for.
export NEXTEST_TEST_THREADS ?= $(shell echo $$((4 * $$(nproc))))
# On a terminal nextest draws a bar and names slow tests; elsewhere it says of each test that it passed, and how many did.
export NEXTEST_STATUS_LEVEL ?= $(shell if [ -t 2 ]; then echo slow; else echo pass; fi)
BENCHES := $(basename $(notdir $(wildcard benches/*.rs)))

.PHONY: help setup models peers pipecat built test-bridge-pipecat sdk test-sdk interop demo test check fmt clippy doc deny fuzz bench bench-ai bench-media clean
help:
	@sed -n '/^# make/s/^# //p' Makefile

setup:
	@.ci/setup

# Release: the latencies that the demo prints are those of the product.
models: setup
	@$(CARGO) build --release --bin offhook
	@target/release/offhook models fetch

demo: models
	@target/release/offhook demo $(DEMO_ARGS)

peers: setup
	@$(ALONE) tests/interop/peers.sh fetch

pipecat: setup
	@$(ALONE) tests/interop/pipecat/fetch.sh

sdk:
	@tests/sdk/fetch.sh

test-sdk: sdk
	@$(CARGO) test --test providers sdk_ -- --ignored --show-output

test-bridge-pipecat: pipecat
	@$(CARGO) nextest run --test calls $(TEST_ARGS) bridge_pipecat

interop:
	@$(BESIDE) peers built BUILT='--bins --test interop'
	@rm -rf target/interop
	@$(CARGO) nextest run --test interop --no-fail-fast $(TEST_ARGS); \
	  result=$$?; tests/interop/table.sh; exit $$result

# The development build fetches the models here: it is the one that the tests need anyway.
built: setup
	@$(ALONE) CARGO='$(CARGO)' .ci/build $(BUILT)

# Fetching waits for the network while building has the processor.
test:
	@$(BESIDE) built peers pipecat
	@if $(CARGO) nextest --version > /dev/null 2>&1; then \
	  $(CARGO) nextest run $(if $(CI),--profile ci) $(TEST_ARGS); \
	else \
	  echo 'cargo-nextest is not installed: running the tests with cargo test'; \
	  $(CARGO) test --lib --bins --tests $(TEST_ARGS); \
	fi

check: setup fmt clippy doc deny test fuzz

fmt:
	@$(CARGO) fmt --all --check

clippy:
	@$(CARGO) clippy --all-targets --all-features -- -D warnings

doc:
	@RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc --no-deps --document-private-items

# The advisory database is a public repository; where that cannot be reached, the rest is checked.
deny:
	@.ci/setup deny
	@$(CARGO) deny --log-level error check bans licenses sources
	@$(CARGO) deny --log-level error fetch db > /dev/null 2>&1 \
	  && $(CARGO) deny --log-level error check advisories \
	  || echo 'deny: the advisory database cannot be reached from here, advisories are NOT checked' >&2

# Stable Rust with the instrumentation flags unlocked; the corpus grows in fuzz/corpus. The targets are safe
# Rust, so an address sanitizer would find nothing and halve the speed.
fuzz:
	@.ci/setup fuzz
	@RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build $(FUZZ_FLAGS)
	@set -e; for target in $(FUZZ_TARGETS); do \
	  echo "fuzz: $$target for $(SECONDS) s"; \
	  mkdir -p fuzz/corpus/$$target; \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $(FUZZ_FLAGS) $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=65535 -print_final_stats=1 \
	    2>&1 | grep -Ev '^[#"]|^INFO|NEW|REDUCE|^$$' || exit 1; \
	done

bench: peers
	@$(CARGO) bench $(addprefix --bench ,$(BENCHES)) $(BENCH_ARGS)

# What vendors cost: make bench-ai AI=stages BENCH_CALLS=200
bench-ai:
	@$(CARGO) bench --bench ai_path -- $(AI)

# A soak: make bench-media MEDIA=soak BENCH_SOAK_MINUTES=30
bench-media: peers
	@$(CARGO) bench --bench media -- $(MEDIA)

clean:
	@$(CARGO) clean --release
	@$(CARGO) clean --profile dev
