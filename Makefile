SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.NOTPARALLEL:

BIN := .venv/bin
STAMP := .venv/.made
# What the operator asked of the API servers in a run of all tests.
REQUESTS := build/requests
LOCKS := requirements/build.txt requirements/dev.txt

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(STAMP) ## Set up .venv with the locked dependencies and both distributions in it (the default)

$(STAMP): $(LOCKS) pyproject.toml devcluster/pyproject.toml .python-version tools/find-python.sh
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null; then \
	  python=$$(tools/find-python.sh); \
	  echo "making .venv with $$python"; \
	  "$$python" -m venv --clear .venv; \
	fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --default-pip >/dev/null
	@echo "installing the locked dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . --editable devcluster
	@touch $@
	@echo "done: $(BIN)/kagenti-operator, $(BIN)/kagenti-devcluster"

# Told at once, not after a quarter of an hour of building.
.PHONY: preflight
preflight: $(STAMP)
	@$(BIN)/python -m kagenti_devcluster.toolchain.preflight

.PHONY: binaries
binaries: $(STAMP) ## Build what is missing of etcd, kube-apiserver, kubectl, ..., and get Keycloak, once per user
	@$(BIN)/python tools/build.py

# What judges chart, bundle and workflows is for tests and lint only; Keycloak takes a Maven client.
.PHONY: demo-binaries
demo-binaries: $(STAMP)
	@$(BIN)/python tools/build.py --without kube-score --without actionlint --without bundle-validate \
	  $(if $(KEYCLOAK),,--without keycloak)

.PHONY: envs
envs: $(STAMP) ## Make the Python environments of MLflow and of the weather agent, once per user
	@$(BIN)/python -m kagenti_devcluster.toolchain.environments

.PHONY: all-envs
all-envs: $(STAMP) ## The same for every version of MLflow that platforms ship, for the tests
	@$(BIN)/python -m kagenti_devcluster.toolchain.environments --all

.PHONY: demo
demo: preflight demo-binaries $(if $(PROFILE),all-envs,envs) ## Run the whole job on a local cluster (ONCE=1: and leave nothing; PROFILE=name; KEYCLOAK=1)
	@$(BIN)/kagenti-devcluster demo $(if $(PROFILE),--profile $(PROFILE)) $(if $(KEYCLOAK),--keycloak) $(if $(ONCE),--once)

# In the order in which they are named: what waits long comes first, and the unit tests fill the end.
LONGEST_FIRST := --dist loadfile --no-loadscope-reorder

.PHONY: test
test: preflight binaries all-envs ## Run all tests: unit, integration, end to end, and permissions by what was asked
	@rm -rf $(REQUESTS)
	@$(BIN)/pytest tests/integration tests/simulation tests/unit -n 4 $(LONGEST_FIRST) --requests=$(REQUESTS)
	@$(BIN)/pytest tests/e2e --requests=$(REQUESTS)
	@$(BIN)/pytest tests/permissions --requests=$(REQUESTS)

.PHONY: test-unit
test-unit: $(STAMP) ## Run the unit tests but for the chart's: a minute, and nothing to build
	@$(BIN)/pytest tests/unit -n auto --ignore tests/unit/chart

.PHONY: test-chart
test-chart: $(STAMP) ## Run the unit tests of the chart, with helm and what judges it
	@$(BIN)/python tools/build.py helm kube-score
	@$(BIN)/pytest tests/unit/chart

.PHONY: simulate
simulate: $(STAMP) ## Run the operator in a model cluster where all goes wrong (SEEDS=N, FIRST=N)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.support.simulation --seeds $(or $(SEEDS),300) --first $(or $(FIRST),0)

.PHONY: bench
bench: binaries all-envs ## Measure speed and size into docs/performance.md (11 to 17 min; ONLY=1000x10: that alone)
	@$(BIN)/python -m benchmarks $(ONLY) $(if $(PROFILE),--profile $(PROFILE))

.PHONY: soak
soak: binaries ## Make and delete 10,000 agents, and look at what is left (10 min)
	@$(BIN)/python -m benchmarks soak

.PHONY: lint
lint: $(STAMP) ## Check format, lint rules, types, imports, chart, Go code and workflows (.pre-commit-config.yaml)
	@$(BIN)/pre-commit run --all-files --show-diff-on-failure

.PHONY: hooks
hooks: $(STAMP) ## Have git run the checks of what a commit touches before it is made
	@$(BIN)/pre-commit install

.PHONY: format
format: $(STAMP) ## Format and repair what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: golden
golden: $(STAMP) ## Rewrite the golden files of the unit tests; look at the diff
	@$(BIN)/pytest tests/unit --update-golden

.PHONY: reference
reference: $(STAMP) ## Write docs/reference.md from the code, and the figures of docs/sizing.md
	@$(BIN)/python -m tools.reference

.PHONY: lock
lock: $(STAMP) ## Lock the dependencies anew (UPGRADE=1: to their newest versions)
	@tools/lock.sh

IMAGE ?= kagenti/kagenti-operator:$(shell sed -n 's/^appVersion: //p' charts/kagenti-operator/Chart.yaml)

.PHONY: image
image: ## Build the container image (IMAGE=name:tag), with podman or docker
	@for engine in podman docker; do \
	  if $$engine info >/dev/null 2>&1; then \
	    exec $$engine build --tag "$(IMAGE)" --build-arg VERSION="$(lastword $(subst :, ,$(IMAGE)))" \
	      --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" .; \
	  fi; \
	done; \
	echo "make image: neither podman nor a running docker is here. The same steps without either: tools/image.sh FOLDER" >&2; \
	exit 1

.PHONY: release-prepare
release-prepare: $(STAMP) ## Write VERSION=1.2.3 everywhere, and close its section of the changelog
	@$(BIN)/python tools/release.py prepare "$(VERSION)"

.PHONY: release
release: $(STAMP) ## Build what the release of VERSION=1.2.3 publishes into dist/, as the workflow does on its tag
	@$(BIN)/python tools/release.py build "$(VERSION)" dist

.PHONY: release-dry-run
release-dry-run: $(STAMP) ## Play the next release (or VERSION=1.2.3) on a copy of the last commit, into build/release
	@$(BIN)/python tools/release.py dry-run build/release $(VERSION)

.PHONY: clean
clean: ## Remove .venv and what tools left in the checkout; the user's cache stays
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src devcluster tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
