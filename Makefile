# The verbs of this repository; `make` or `make help` lists them. People and CI use the same ones.
# Needs Python 3.11, 3.12 or 3.13 with venv, and make; everything else is installed into .venv.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
COVERAGE_ARGS ?=

.PHONY: help setup demo up down test bench-ingestion bench-engagement bench-quality bench-evidence bench-warehouse soak coverage-study check lint types imports protos protos-release protos-check lock clean

help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) \
	  | while IFS='|' read -r verb what; do printf '  make %-16s %s\n' "$$verb" "$$what"; done

setup: ## Make .venv as requirements.lock says; nothing to do when it is so already
	@bash infra/setup.sh

demo: setup ## Start everything, post real and synthetic data, print the evidence (KEEP=1: leave it running)
	@$(BIN)/circles demo

up: setup ## Start the stack: Kafka, PostgreSQL, services, Dagster
	@$(BIN)/circles up

down: ## Stop the stack; the data stay
	@$(BIN)/circles down

test: setup check ## All checks and tests, as CI runs them (PYTEST_ARGS="-k name")
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

bench-ingestion: setup ## What an acknowledged event costs, beside peers (needs Go; BENCH_ARGS="--rounds 1")
	@$(BIN)/python -m tests.benchmarks.ingestion $(BENCH_ARGS)

bench-engagement: setup ## What rolling figures cost, beside peers (the first time it installs one; BENCH_ARGS=--full)
	@$(BIN)/python -m tests.benchmarks.engagement $(BENCH_ARGS)

bench-quality: setup ## What the suites of the marts cost (BENCH_ARGS="--events 1000000")
	@$(BIN)/python -m tests.benchmarks.quality $(BENCH_ARGS)

bench-evidence: setup ## What pools, models and all tables of evidence cost (BENCH_ARGS="--only tables")
	@$(BIN)/python -m tests.benchmarks.evidence $(BENCH_ARGS)

bench-warehouse: setup ## What lake, builds and questions cost, beside plain DuckDB and dlt (BENCH_ARGS=--quick)
	@$(BIN)/python -m tests.benchmarks.warehouse $(BENCH_ARGS)

soak: setup ## Fuzzing and kill -9 at random, an hour or two; goes on where it was (SOAK_ARGS="--fresh")
	@$(BIN)/python -m tests.soak $(SOAK_ARGS)

coverage-study: setup ## How often intervals cover, against bands written down before, twenty-five minutes (COVERAGE_ARGS=--fresh)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.coverage_study $(COVERAGE_ARGS)

check: setup lint types imports protos-check ## What needs no running: style, types, import direction, protos

lint:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types:
	@$(BIN)/mypy

imports:
	@$(BIN)/lint-imports

protos: setup ## Write the Python stubs anew after a change of protos/
	@bash protos/generate.sh

protos-release: setup ## With a release: what is in protos/ from now on must not break
	@$(BIN)/buf build protos --exclude-source-info -o protos/released.binpb

protos-check:
	@$(BIN)/buf lint protos
	@$(BIN)/buf breaking protos --against protos/released.binpb \
	  || { echo "The contract breaks what partners of the last release send or read (protos/README.md)."; exit 1; }
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; cp -R protos "$$copy"; \
	  CIRCLES_BIN="$(CURDIR)/$(BIN)" bash "$$copy/protos/generate.sh"; \
	  diff -r -x __pycache__ protos/gen "$$copy/protos/gen" \
	    || { echo "protos/gen is not what protos/ says: run \`make protos\` and commit the result."; exit 1; }

# Needs `uv` on the PATH. The lock names no index, so that a mirror serves as well.
lock: ## Resolve pyproject.toml anew into requirements.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock

clean: ## Remove .venv and what tools left behind; the data folder stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dbt/target dbt/logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
