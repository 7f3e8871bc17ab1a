# `make` lists the targets. PYTHON=python3.12 chooses the interpreter, TORCH=cpu|cuda torch's build, ARGS=... goes to the program.
VENV := .venv
BIN := $(VENV)/bin
PYTEST = HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest
# More than cores: many tests wait for a server to start or to end.
NUM_TEST_WORKERS ?= 3
NUM_PROOF_WORKERS ?= 2
# Where under docs/proof the results are kept: make proof PROOF=tuning ARGS="tests/proof/test_job_kills.py ..."
PROOF ?= latest
ifdef PYTHON
export PYTHON
endif
ifdef TORCH
export TORCH
endif

.DEFAULT_GOAL := help
.PHONY: help install venv install-dev model clients serve test run-tests lint types proof bench bench-peers screenshots clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Set up .venv with everything that serving needs
	@scripts/install

venv:
	@scripts/install venv

install-dev: venv ## Set up .venv with what tests and checks need, too
	@scripts/install dev

serve: install ## Set up, pull the default model, serve on 127.0.0.1:8000
	@$(BIN)/llmos serve $(ARGS)

model: install-dev ## Pull the default models for the tests
	@$(BIN)/llmos pull smollm2:135m || echo "The default model can't be had now: tests that need it will be skipped."
	@$(BIN)/llmos pull all-minilm-l6-v2 || echo "The default encoder can't be had now: tests that need it will be skipped."

clients: venv ## Set up the clients of other people that the tests run (.venv-clients, node_modules)
	@tests/clients/install

test: ## Set up, lint, check types, run the tests
	@$(MAKE) --no-print-directory -j2 lint model clients
	@$(MAKE) --no-print-directory -j2 types run-tests

run-tests:
	@$(PYTEST) -n $(NUM_TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: install-dev ## Check style and formatting
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Run: $(BIN)/ruff format"; exit 1; }

types: install-dev ## Check types
	@$(BIN)/mypy

proof: model ## Run the long proofs, print and keep what they measured (docs/proof)
	@mkdir -p docs/proof
	@{ echo "make proof, $$(date -u +%Y-%m-%d), $$(git rev-parse --short HEAD 2>/dev/null), $$($(BIN)/python -V), $$(uname -sm)"; \
	   $(PYTEST) -m proof -n $(NUM_PROOF_WORKERS) -v --durations 12 -p no:cacheprovider $(ARGS); echo "exit status $$?"; } \
	   | sed -e '/^rootdir:/d' -e '/^cachedir:/d' -e '/^platform /s, -- /.*,,' | tee docs/proof/$(PROOF).txt
	@tail -n 1 docs/proof/$(PROOF).txt | grep -q 'exit status 0'

bench: install ## Measure a running server (start it first: make serve)
	@$(BIN)/llmos bench $(ARGS)

bench-peers: install ## Measure servers in turns: make bench-peers PEERS="llmos=URL llama.cpp=URL" ARGS="--start NAME='COMMAND'"
	@$(BIN)/python benchmarks/peers.py $(PEERS) $(ARGS)

screenshots: model ## Take the pictures of docs/tui.md, of the real thing under load
	@$(BIN)/python scripts/screenshots.py

clean: ## Remove caches and build products; .venv and pulled models stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
