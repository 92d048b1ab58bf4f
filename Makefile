# Every target sets up what it needs in .venv; the first call downloads packages (some minutes).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.edgepack-installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types check audit reference docs bench coverage picture wheel clean

help:  ## say what each target does
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"edgepack needs CPython 3.11 to 3.13; {sys.executable} is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(SETUP)  ## make .venv with edgepack and everything it needs

demo: $(SETUP)  ## compress the bundled model, measure it on this machine, compare
	$(BIN)/edgepack demo

test: $(SETUP)  ## run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(SETUP)  ## style and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(SETUP)  ## static types
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test  ## what has to pass before a change lands

audit: $(SETUP)  ## hold the locked requirements against known vulnerabilities (needs the network)
	@$(BIN)/python -c 'import pip_audit' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7'
	$(BIN)/python -m pip_audit --strict --require-hashes --disable-pip -r requirements.lock

reference: $(SETUP)  ## write docs/reference/ from the code
	$(BIN)/python docs/reference.py

docs: $(SETUP)  ## build the documentation into site/, broken links are errors
	@$(BIN)/python -c 'import material' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/mkdocs build --quiet --strict --site-dir site

coverage: $(SETUP)  ## lines that the tests run, children and agents too; TESTS=tests/unit adds one folder
	$(if $(TESTS),,$(BIN)/coverage erase)
	COVERAGE_PROCESS_START= $(BIN)/coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)
	find . -maxdepth 1 -name '.coverage.*' -empty -delete  # of children killed before they wrote
	$(BIN)/coverage combine --append --quiet
	$(BIN)/coverage report --fail-under=$(if $(TESTS),0,90)

bench: $(SETUP)  ## run every benchmark beside its peers (hours), write docs/benchmarks.md; ONLY=NAME one
	$(BIN)/python -m benchmarks $(addprefix --only ,$(ONLY))

picture: $(SETUP)  ## take the README's pictures of a real demo (needs chromium)
	$(BIN)/python docs/pictures.py

wheel: $(SETUP)  ## build the wheel and the sdist into dist/
	$(BIN)/python -m build --outdir dist .

clean:  ## remove .venv and everything built
	rm -rf $(VENV) dist build site
