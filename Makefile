# Every target works from a fresh clone: the first one run makes the environment in .venv.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
WORKERS ?= 2
READY := .venv/.ready
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

.PHONY: help demo test check lint soak fuzz chaos bench docs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf 'make %-6s %s\n' "$$name" "$$what"; done

demo: $(READY) ## see it work: embedded broker, receivers, real events, and an account of every one
	@$(BIN)/hookline demo $(ARGS)

# Lint trouble does not hide what the tests say: one run tells everything. Most tests with a Kafka wait more than they
# compute, so WORKERS processes share the files, each with a Kafka of its own; WORKERS=0 is one after the other.
test: $(READY) ## all checks and all tests, with a real Apache Kafka
	@$(MAKE) lint; lint=$$?; $(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS) && exit $$lint

check: $(READY) ## the fast part: lint, types, import contracts, unit tests
	@$(MAKE) lint; lint=$$?; $(BIN)/pytest tests/unit $(ARGS) && exit $$lint

lint: $(READY) ## lint, format, types, import contracts
	@status=0; \
	$(BIN)/ruff check --quiet --output-format=concise . || status=1; \
	$(BIN)/ruff format --quiet --check . || { status=1; echo 'Not formatted; run: .venv/bin/ruff format .'; }; \
	$(BIN)/mypy --no-error-summary || status=1; \
	$(BIN)/lint-imports > .venv/contracts.log || { status=1; cat .venv/contracts.log; }; \
	if [ $$status = 0 ]; then echo 'Lint, format, types and import contracts: good.'; fi; exit $$status

soak: $(READY) ## the whole CDNOW data through a real Kafka and two workers
	@HOOKLINE_SOAK=1 HOOKLINE_REQUIRE_KAFKA=1 $(BIN)/pytest --capture=no --timeout=3600 -m soak tests/integration $(ARGS)

fuzz: $(READY) ## ten minutes of looking for bytes that upset a reader (ARGS="--seconds 60 yaml")
	@$(BIN)/python -m tests.fuzz $(ARGS)

chaos: $(READY) ## kill, stop, cut and slow everything under load; figures go to docs/guarantees.md
	@HOOKLINE_CHAOS=1 $(BIN)/pytest --capture=no tests/chaos $(ARGS)

bench: $(READY) ## deliveries per second and CPU-second, memory
	@$(BIN)/python -m tests.bench.run $(ARGS)

docs: $(READY) ## build the documentation into site/
	@$(BIN)/mkdocs build --quiet --strict --config-file docs/_mkdocs/mkdocs.yml
	@echo 'Documentation: site/index.html'

clean: ## remove everything these targets made, downloads included
	@rm -rf .venv .cache site build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find pipeline tests docs deploy -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when pyproject.toml or constraints.txt changed, or when its Python is gone. The system's Python is asked first:
# distributions build it with profiles of real work, version managers mostly do not, and then everything takes longer.
$(READY): pyproject.toml constraints.txt $(shell test -x $(BIN)/python || echo no-python)
	@if ! { test -x $(BIN)/python && $(BIN)/python -c '$(SUPPORTED)'; }; then \
		for python in $(PYTHON) /usr/bin/python3 python3 python3.13 python3.12 python3.11 python3.14; do \
			if $$python -c '$(SUPPORTED)' 2> /dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo 'Hookline needs Python 3.11, 3.12, 3.13 or 3.14 with its venv module (Debian, Ubuntu: apt install python3-venv).' >&2; \
			echo 'If you have one under another name: make PYTHON=/path/to/python' >&2; \
			exit 1; \
		fi; \
		echo "Making .venv with $$($$found --version) ..."; \
		rm -rf .venv && $$found -m venv .venv || exit 1; \
	fi
	@echo 'Installing Hookline and its tools into .venv (a minute or so the first time) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

.PHONY: no-python
no-python:
