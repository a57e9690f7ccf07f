# make serve and make test need only Python 3.11+ and make; they install again only after a change of these two files.
PYTHON ?= python3
PORT ?= 8080
INSTALL = install --disable-pip-version-check -c constraints.txt -e
PINS = pyproject.toml constraints.txt

help: ## say what the targets do
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

serve: .venv-serve/installed ## answer POST /v1/score on 127.0.0.1:8080 (PORT=N for another port)
	.venv-serve/bin/firstreply serve --port $(PORT)

test: lint ## lint, check types, run every test
	.venv/bin/python -m pytest -n 2 --dist loadfile

lint: .venv/installed ## style, formatting, types, and code that could be attacked
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	.venv/bin/bandit -qc pyproject.toml -r clients data model training eval serving firstreply.py

audit: .venv/installed ## known weaknesses of the packages that are installed
	.venv/bin/pip-audit -r constraints.txt --no-deps --disable-pip

torture: .venv/torture ## break the server and the bulk scorer in every way, for half an hour
	.venv/bin/python -m pytest tests/torture -v -s

train: .venv/installed ## retrain on the bundled sample, into runs/sample
	.venv/bin/firstreply train --train data/sample/train.csv --brands data/sample/brands.toml --out runs/sample

bench: .venv/installed ## measure speed beside a transformers pipeline; the last line is JSON
	.venv/bin/firstreply bench

docs: .venv/installed ## the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

clean: ## remove the environments and whatever tools left behind
	rm -rf .venv .venv-serve build site *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# Serving has an environment of its own, without torch. Modules are compiled when first imported: most never are.
.venv-serve/installed: $(PINS)
	$(PYTHON) -m venv .venv-serve
	.venv-serve/bin/pip $(INSTALL) . --no-compile && touch $@

.venv/installed: $(PINS)
	$(PYTHON) -m venv .venv
	.venv/bin/pip $(INSTALL) '.[dev]' && touch $@

.venv/torture: .venv/installed
	.venv/bin/pip $(INSTALL) '.[torture]' && touch $@

.PHONY: help serve test lint audit torture train bench docs clean
