# The one door to everything: `make help` lists the targets.

CARGO ?= cargo
# End-to-end tests mostly wait for the group to rebalance: more of them at once than there are cores.
TEST_THREADS ?= 6
CLUSTER_TEST_THREADS ?= 4
# 10,000,000 take up to 8 GB of disk while they are there.
test-backlog: MESSAGES ?= 10000000
bench bench-peers: MESSAGES ?= 5000000
# Those at the origin of the curves; the longest backlog is twenty times as long and takes twice the disk of the above.
bench-growth: MESSAGES ?= 1000000
FUZZ_SECONDS ?= 30
SOAK_MINUTES ?= 60
CARGO_DENY_VERSION := 0.20.2
# Kept for all checkouts: it takes minutes to build.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/names-pipeline/cargo-deny-$(CARGO_DENY_VERSION)
TARGET_DIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
# What is done to the parts, a line each.
test-cluster on-cluster soak: export FAULT_TALLY := $(abspath $(TARGET_DIR))/cluster-tests/tally
READERS_VENV := $(TARGET_DIR)/readers-venv
API_VENV := $(TARGET_DIR)/api-venv
AIRFLOW_VENV := $(TARGET_DIR)/airflow-venv
PEERS_VENV := $(TARGET_DIR)/peers-venv
PEERS_JARS := $(TARGET_DIR)/bench/jars
READERS_FOLDERS := $(TARGET_DIR)/demo \
	$(addprefix $(TARGET_DIR)/e2e/,dead-letters recorded seals only-dead-letters)

.DEFAULT_GOAL := help
.PHONY: help demo test test-readers readers-input lint fmt deny doc ci build build-release clean prerequisites \
	test-api test-airflow test-prometheus test-kubernetes test-compose test-unsafe cluster-up cluster-down test-cluster \
	on-cluster soak test-scale test-backlog fuzz bench bench-freshness bench-growth bench-start bench-peers \
	up down logs ps open scale audit sql

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Run the whole pipeline on embedded parts, audit it, and show the rows
	@$(TARGET_DIR)/debug/demo

test: build ## Run every test: unit, property, model, golden, end-to-end
	$(CARGO) test --workspace --locked -- --test-threads=$(TEST_THREADS)

test-readers: readers-input $(READERS_VENV)/installed ## Read what `demo` and `test` left with pyarrow, DuckDB and Polars
	@$(READERS_VENV)/bin/python tests/readers.py $(READERS_FOLDERS)

readers-input:
	@for folder in $(READERS_FOLDERS); do \
		[ -f "$$folder/messages.ndjson" ] && continue; \
		echo "test-readers: no $$folder/messages.ndjson: run \`make demo\` and \`make test\` first" >&2; \
		exit 1; \
	done

$(READERS_VENV)/installed: tests/readers-requirements.txt
$(API_VENV)/installed: services/ingestor/tests/contract-requirements.txt
$(AIRFLOW_VENV)/installed: tests/airflow-requirements.txt
$(PEERS_VENV)/installed: bench/peers/requirements.txt
$(READERS_VENV)/installed $(API_VENV)/installed $(AIRFLOW_VENV)/installed $(PEERS_VENV)/installed:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "python3 with venv is missing (Debian: apt-get install python3-venv)" >&2; \
		exit 1; \
	}
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

test-unsafe: prerequisites ## Run the tests of what is `unsafe` under valgrind
	@command -v valgrind >/dev/null || { echo "valgrind is missing (Debian: apt-get install valgrind)" >&2; exit 1; }
	$(CARGO) test --workspace --locked --lib \
		--config "target.'cfg(unix)'.runner = 'valgrind --quiet --error-exitcode=9'" \
		-- consume::batch decode::text

test-compose: ## Test the stack in containers: scaling, a broker and a sink killed, metrics, audit
	@python3 tests/compose.py

lint: prerequisites ## Check formatting, lints and the docs
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

fmt: ## Format the sources
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

test-api: build $(API_VENV)/installed ## Check the run API against its contract with schemathesis
	@$(API_VENV)/bin/python services/ingestor/tests/contract.py $(TARGET_DIR)/debug $(TARGET_DIR)/contract

test-airflow: build $(AIRFLOW_VENV)/installed ## Run the DAG with a real Airflow against the embedded stack
	@$(AIRFLOW_VENV)/bin/python -B tests/airflow_units.py
	@$(AIRFLOW_VENV)/bin/python -B tests/airflow_e2e.py

cluster-up: ## Start a real three-broker Kafka and a real S3 server on this machine, without Docker
	@deploy/cluster/cluster.py up

cluster-down: ## Stop them; the data stays (WIPE=1 removes it)
	@deploy/cluster/cluster.py $(if $(WIPE),wipe,down)

test-cluster: build ## Kill, pause, cut off and starve the real parts, and audit what is left
	@rm -f "$$FAULT_TALLY"
	@deploy/cluster/with.sh $(MAKE) --no-print-directory on-cluster

on-cluster:
	@mkdir -p "$$(dirname "$$FAULT_TALLY")"
	$(CARGO) test --workspace --locked --test cluster -- --test-threads=$(CLUSTER_TEST_THREADS)
	$(CARGO) test --workspace --locked --test integration -- cluster::replay
	@sort "$$FAULT_TALLY" | uniq -c

soak: build ## Repeat test-cluster with longer schedules of faults, for SOAK_MINUTES=60 at least
	@rm -f "$$FAULT_TALLY"
	@deploy/cluster/with.sh bash -ec ' \
		export CHAOS_STEPS=$${CHAOS_STEPS:-200}; \
		echo "Counts are sums over all rounds."; \
		while ((SECONDS < 60 * $(SOAK_MINUTES))); do $(MAKE) --no-print-directory on-cluster; done'

test-scale: build ## Audit 100,000 chunks in a real store
	@deploy/cluster/with.sh $(CARGO) test --workspace --locked --test integration -- cluster::scale

test-backlog: build-release ## Store a backlog in bounded memory on the real parts (MESSAGES=10000000)
	@deploy/cluster/with.sh bash -ec ' \
		CHUNK_BYTES_MAX=32MiB $(TARGET_DIR)/release/bench backlog $(MESSAGES) 12; \
		$(TARGET_DIR)/release/bench backlog $(MESSAGES) 300'

bench: build-release ## Measure decode, encode, the sink and the ingestor on the real parts (MESSAGES=5000000)
	@deploy/cluster/with.sh $(TARGET_DIR)/release/bench all $(MESSAGES)

bench-freshness: build-release ## Measure how late objects come after their age limit on the real parts
	@deploy/cluster/with.sh $(TARGET_DIR)/release/bench freshness

bench-growth: build-release ## Measure how CPU and memory grow with sinks, partitions, bytes and messages (MESSAGES=1000000)
	@deploy/cluster/with.sh $(TARGET_DIR)/release/bench growth $(MESSAGES)

bench-start: build-release ## Measure how long a sink takes until it is ready on the real parts
	@deploy/cluster/with.sh $(TARGET_DIR)/release/bench start

bench-peers: build-release $(PEERS_VENV)/installed $(PEERS_JARS)/installed ## Compare the sink with Spark and Python+Arrow on one backlog (MESSAGES=5000000)
	@$(PEERS_VENV)/bin/python -B bench/peers/peers_test.py
	@deploy/cluster/with.sh $(PEERS_VENV)/bin/python -B bench/peers/compare.py $(MESSAGES) $(TARGET_DIR)

$(PEERS_JARS)/installed: bench/peers/pom.xml
	@command -v mvn >/dev/null || { \
		echo "mvn is missing, which fetches Spark's connectors (Debian: apt-get install maven)" >&2; \
		exit 1; \
	}
	rm -rf $(@D)
	mvn -B -q -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(abspath $(@D))
	@touch $@

test-kubernetes: ## Render the Kubernetes manifests and check them, without a cluster
	@deploy/kubernetes/check.sh

test-prometheus: ## Check the alert rules and run their tests
	@deploy/prometheus/check.sh

fuzz: prerequisites ## Fuzz whatever reads bytes from outside (FUZZ_SECONDS=30 for each target)
	@fuzz/run.sh $(FUZZ_SECONDS) $(TARGET_DIR)

deny: $(TOOLS)/bin/cargo-deny ## Check licences, sources, duplicate crates and advisories
	$(TOOLS)/bin/cargo-deny --workspace check bans licenses sources
	@if $(TOOLS)/bin/cargo-deny fetch db >/dev/null 2>&1; then \
		$(TOOLS)/bin/cargo-deny --workspace check advisories; \
	else \
		echo "deny: advisories NOT checked: the advisory database can't be reached from here"; \
	fi

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root $(TOOLS)

doc: ## Build the API docs
	$(CARGO) doc --workspace --no-deps --locked

ci: ## Run what CI runs
	.ci/run

build: prerequisites ## Build every binary
	@echo "building (the first time takes some minutes)"
	$(CARGO) build --workspace --bins --locked

build-release: prerequisites
	$(CARGO) build --workspace --bins --locked --release

clean: ## Remove everything that was built
	$(CARGO) clean

# The stack in containers: docker-compose.yml

COMPOSE := docker compose --profile '*'

up: ## Start the stack in containers (OFFLINE=1 without internet, PROFILES=airflow,registry,connect)
	@deploy/stack.py up

down: ## Stop the stack (VOLUMES=1 removes its data as well)
	$(COMPOSE) down --remove-orphans $(if $(VOLUMES),--volumes)

logs: ## Follow the logs (S=s3-sink for one service)
	@$(COMPOSE) logs --follow --tail 100 $(S)

ps: ## List the containers
	@$(COMPOSE) ps --all

open: ## Print what runs, and where it is reached
	@deploy/stack.py status

scale: ## Run N sinks: make scale N=3
	@deploy/stack.py scale "$(N)"

audit: ## Check that every offset of the stack's topic is stored exactly once (AUDIT=--json)
	@$(COMPOSE) run --rm --no-deps --quiet-pull -T pipectl audit $(or $(AUDIT),--deep)

sql: $(READERS_VENV)/installed ## Ask the stack's bucket in SQL (Q="select count(*) from names_topic")
	@$(READERS_VENV)/bin/python deploy/sql.py $(if $(value Q),'$(subst ','\'',$(value Q))')


# What the C and C++ libraries that are built from source need, each named with its remedy.
prerequisites:
	@missing=""; for tool in cargo cc c++ make cmake perl; do \
		command -v $$tool >/dev/null 2>&1 || missing="$$missing $$tool"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "missing:$$missing - install Rust from https://rustup.rs and a C/C++ compiler, make, cmake and perl" \
			"(Debian: apt-get install build-essential cmake perl)" >&2; \
		exit 1; \
	fi
