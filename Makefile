# `make demo` and `make test` need Python 3.11 or later with its venv module, and make. Nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.bench
RESULTS := .benchmarks
RUN_BENCH := $(BIN)/python -m pytest benchmarks -p no:xdist -m bench -o python_files='bench_*.py' --benchmark-only \
  --benchmark-columns=median,stddev,rounds
WORKERS ?= 2
# Tests start processes, dozens of them: each loads what the first one compiled, also where the environment forbids to
# keep that.
TESTS = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test thorough simulate lint bench bench-full bench-report bench-compare check help-text lock clean

help: ## show these lines
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(INSTALLED) ## a record's whole life, on bundled files with invented data
	@rm -rf demo-vault
	@$(BIN)/trafficvault demo --directory demo-vault

test: lint check ## what CI runs: lint, types, import layers, tests with coverage, documentation

lint: $(INSTALLED) ## ruff, mypy and the import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: $(INSTALLED) ## the tests alone, with coverage; WORKERS=4 for more processes
	$(TESTS) --cov --cov-report=term

thorough: $(INSTALLED) ## the tests with every step, long histories and ten times as many examples: hours
	CRASH_STEPS=all SIMULATION=long EXAMPLES=10 $(TESTS) -o timeout=7200

simulate: $(INSTALLED) ## 200 days of a provider in minutes, held against an oracle; .simulation/simulation.md tells; SIMULATE='--seed 2 --zone America/Havana'
	$(BIN)/python -m tests.simulation $(SIMULATE)

bench: $(PEERS) ## every suite beside its peers, in minutes; SUITES='-k lookup' for one
	@mkdir -p $(RESULTS)
	BENCH_SCALE=bench $(RUN_BENCH) -o timeout=1800 --benchmark-json=$(RESULTS)/bench.json $(SUITES)

bench-full: $(PEERS) ## 180 days, 207 M rows and more: most of a day, and it says first how much disk it needs
	@mkdir -p $(RESULTS)
	BENCH_SCALE=full $(RUN_BENCH) -o timeout=0 --benchmark-json=$(RESULTS)/full.json $(SUITES)

bench-report: $(INSTALLED) ## write the last run's figures into benchmarks/README.md
	$(BIN)/python -m benchmarks.report $(RESULTS)/bench.json

bench-compare: $(INSTALLED) ## the last run beside benchmarks/baseline.json; fails on a regression
	$(BIN)/python -m benchmarks.compare $(RESULTS)/bench.json

help-text: $(INSTALLED) ## write the help text of every verb into README.md
	$(BIN)/python docs/help.py

lock: ## requirements.txt anew from pyproject.toml; needs uv
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet --upgrade -o requirements.new
	{ printf '%s\n' '# Everything `make` installs, by hash. Written by `make lock` from pyproject.toml.' && cat requirements.new; } > requirements.txt
	uv pip compile pyproject.toml --extra bench --constraint requirements.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.new
	{ printf '%s\n' '# What `make bench` adds to requirements.txt, by hash. Written by `make lock` from pyproject.toml.' && cat requirements.new; } > requirements-bench.txt
	rm requirements.new

clean: ## remove the environment, caches and the demonstration's vault
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks .simulation .coverage .coverage.* demo-vault

# The stamp is the last step: an installation that was cut short is done again.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or later is needed; name it: make PYTHON=python3.12'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV) (once)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PEERS): $(INSTALLED) requirements-bench.txt
	@echo 'installing the peers of the benchmarks (once)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo 'PostgreSQL is not installed and will be left out: apt-get install postgresql'
	@touch $@
