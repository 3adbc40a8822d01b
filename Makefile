# Two commands for a new machine, each doing its own set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
LINT = $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

.PHONY: setup demo paper paper-smoke test test-pythons lint bench bench-peers docs clean
setup:
	@PYTHON=$(PYTHON) bash scripts/setup.sh

demo: setup  ## the whole loop on this machine's CPU, from the student's traces to the table
	$(BIN)/drp demo

paper: setup  ## every method of the paper on the embedded student, and docs/reproduction.md
	$(BIN)/drp experiment paper_tiny -o paper-run --jobs 2
	$(BIN)/python scripts/reproduction.py paper_tiny paper-run

paper-smoke: setup  ## a few rows of each method: whether all of it runs
	$(BIN)/drp experiment paper_smoke -o paper-smoke --jobs 2

test: setup  ## lint, types and every test; the true frameworks run, nothing is downloaded
	$(LINT)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-pythons: setup  ## the light tests on the other supported Pythons that are found here
	@PYTHONS="$(PYTHONS)" bash scripts/test_pythons.sh

lint: setup  ## style, types, and that each package imports from the floors below it alone
	$(LINT)

bench: setup  ## speed, memory and token figures, as ratios measured side by side
	$(BIN)/python -m benchmarks

bench-peers: setup  ## the teacher pipeline beside curator and distilabel, each in an environment
	@bash scripts/peers.sh
	$(BIN)/python benchmarks/_peers.py

docs: setup  ## the documentation as a site, in site/
	$(BIN)/mkdocs build --strict
	@echo "To read it: $(BIN)/mkdocs serve, then http://127.0.0.1:8000"

clean:  ## what demo and tests made, not the environments
	rm -rf demo-run paper-run paper-smoke bench-out site .pytest_cache .ruff_cache .mypy_cache \
		.hypothesis
