# What there is to do. CARGO_TARGET_DIR is respected; nothing is written outside it but by `schema`, and by `manifests` where
# LETOPIS_MANIFEST_TOOLS names a folder.

CARGO ?= cargo
# Set for one command only: the server refuses settings that it does not know.
LOG_KILLS ?= 200
SERVER_KILLS ?= 20
FAULT_ROUNDS ?= 20

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt clippy quick corpus kill durability engines faults manifests bench bench-kafka schema asyncapi

help: ## Show this list.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "%-12s %s\n", $$1, $$2 }'

demo: ## Serve a bilingual story of a few hundred customers; prints addresses, a token and queries.
	$(CARGO) run --locked -- demo

test: ## Everything hermetic: no network, no services, no settings.
	$(CARGO) test --workspace --locked

check: fmt clippy quick ## Before every commit: formatting, lints, quick tests.

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --locked --test lanes -- -D warnings
	$(CARGO) clippy --workspace --locked --features events/testing,projections/testing --test engines -- -D warnings

quick:
	$(CARGO) test --workspace --locked --lib --test tidy

corpus: ## Real updates and mails through the running server; LETOPIS_CORPUS_DIR names their folder.
	$(CARGO) test --locked --test lanes corpus::

kill: ## Kill the log and the server at random moments under load; nothing acknowledged may be lost.
	LETOPIS_KILLS=$(LOG_KILLS) $(CARGO) test --locked -p events --test kill
	LETOPIS_KILLS=$(SERVER_KILLS) $(CARGO) test --locked --test lanes kill::

durability: ## Show by a trace of system calls that nothing is acknowledged before its sync; needs strace.
	$(CARGO) test --locked --test lanes trace::
	$(CARGO) test --locked --test lanes durability::

engines: ## Start Kafka, PostgreSQL and the double of EventStoreDB; run contracts and stories on them.
	CARGO="$(CARGO)" tests/engines/run.sh

faults: ## Kill brokers, PostgreSQL and processes under traffic; nothing may be lost.
	CARGO="$(CARGO)" LETOPIS_FAULT_ROUNDS=$(FAULT_ROUNDS) tests/engines/faults.sh

manifests: ## Render and validate k8s/, Dockerfile and docker-compose.yml; needs python3, go, npm, maven.
	k8s/validation/validate.sh "$${LETOPIS_MANIFEST_TOOLS:-$${CARGO_TARGET_DIR:-target}/manifest-tools}"

bench: ## Measure; use a quiet machine.
	$(CARGO) bench --workspace --locked

bench-kafka: ## Measure what goes by Kafka, on a broker that is started for it; use a quiet machine.
	CARGO="$(CARGO)" tests/engines/bench.sh

asyncapi: ## Write docs/asyncapi.json anew after a change of the events.
	LETOPIS_WRITE_ASYNCAPI=1 $(CARGO) test --locked -p events asyncapi

schema: ## Write graphql/schema.graphql anew after a change of the schema.
	LETOPIS_WRITE_SCHEMA=1 $(CARGO) test --locked -p graphql schema
