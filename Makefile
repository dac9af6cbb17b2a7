PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
# A file's tests share one worker, and with it what the file sets up once. WORKERS=0 runs all of them in one process.
WORKERS ?= auto
PYTEST_OPTIONS := -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help venv demo test check unit test-image-python lint types imports format lock bench bench-docs soak image programs e2e e2e-cert-manager e2e-measure chart-docs kustomize map clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(RUNTIME): requirements.txt requirements-build.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-build.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

venv: $(RUNTIME) ## Set up .venv, leaving .venv/bin/anchore-admission

demo: $(RUNTIME) ## Show the product working: sandbox, controller, Pods in each mode (ONCE=1 exits at the end)
	$(BIN)/anchore-admission demo $(if $(ONCE),--once)

test: $(DEV) ## Run every test (COVERAGE=on: in depth, and fail when they reach too little of the code)
ifeq ($(COVERAGE),on)
	$(BIN)/coverage erase
	HYPOTHESIS_PROFILE=thorough $(BIN)/coverage run -m pytest $(PYTEST_OPTIONS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
else
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)
endif

check: $(DEV) lint types imports unit ## Lint, types, import law, unit and contract tests

unit: $(DEV)
	$(BIN)/python -m pytest $(PYTEST_OPTIONS) tests/unit tests/contract

test-image-python: ## Run unit and contract tests on the Python that the image ships, where there is one
	@python=$$(./tools/image/python) || { echo "SKIPPED: the tests on the image's Python" >&2; exit 0; }; \
	$(MAKE) unit VENV=.venv-image PYTHON="$$python"

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

imports: $(DEV)
	$(BIN)/lint-imports --no-cache

format: $(DEV) ## Format the code and fix lint errors where possible
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(DEV) ## Compile requirements*.txt from pyproject.toml, with hashes and without addresses
	./tools/lock

bench: $(DEV) ## Measure speed, calls to Anchore and memory against floors, goals and the last result
	$(BIN)/python -m bench.run $(CASES)

bench-docs: $(DEV) ## Write the figures of docs/performance.md and its plot from bench/result.json
	$(BIN)/python -m bench.run --write-docs

soak: $(DEV) ## Drive the controller against an Anchore with faults and check every verdict (SECONDS=60, SEED, REPLICAS, STORE=on)
	$(BIN)/python -m bench.soak --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) --replicas $(or $(REPLICAS),1) $(if $(STORE),--store)

image: $(DEV) ## Build the container image and prove it (IMAGE=required: fail where that cannot be done)
	./tools/image/check
	./tools/image/build
	./tools/image/sbom
	IMAGE=$(or $(IMAGE),optional) $(BIN)/python -m pytest tests/image

programs: $(DEV) ## Build kubectl, helm and the cluster that tests run, once per version (cold: 20 minutes)
	PYTHONPATH=tests $(BIN)/python -m e2e.cluster build $(or $(E2E_BUILD_SECONDS),2700)

e2e: $(DEV) ## Prove it on a real Kubernetes (E2E_KUBECONFIG: on that one; E2E=required: fail where it cannot run)
	./tools/e2e

e2e-cert-manager: $(DEV) ## Prove chart and kustomize with a real cert-manager there (built for minutes; E2E as above)
	E2E_CERT_MANAGER=on ./tools/e2e -k cert_manager

e2e-measure: $(DEV) ## Measure there how long reviews hold up the creation of Pods, on an otherwise idle machine
	E2E_MEASURE=on ./tools/e2e -s -k "speed or cluster_crowd"

chart-docs: $(DEV) ## Write the chart's README and schema from its values and the configuration's schema
	$(BIN)/python tools/chart_docs.py

kustomize: $(DEV) ## Write deploy/kustomize from the chart (needs helm)
	$(BIN)/python tools/kustomize.py

map: $(DEV) ## Write the map of the source in CONTRIBUTING.md from the docstrings of the modules
	$(BIN)/python tools/source_map.py

clean: ## Remove what the targets made
	rm -rf $(VENV) .venv-image .venv-anchorecli .coverage* dist .mypy_cache .ruff_cache .hypothesis
