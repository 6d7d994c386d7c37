# One command, both kinds of machine: needs python3 (>= 3.11) and a package index, nothing else.
SHELL := /bin/bash
# Some machines set this; without byte code every start recompiles torch (10 s instead of 4 s).
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# In the order of the files: xdist's own, most tests first, ends with those of one or two tests, the whole soaks among them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo check test fuzz bench bench-baseline docs format clean
setup: $(STAMP)

# uv reads neither pip.conf nor PIP_FIND_LINKS: hand the wheel folder over, so that a local CPU torch is found.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" VIRTUAL_ENV=$(VENV) \
	  $(BIN)/uv pip install --quiet -c constraints.txt -e '.[all]' --group dev
	@touch $@

demo: setup  ## the main job on an embedded cohort: slides -> report
	$(BIN)/asmil demo --out runs/demo

test: setup
	$(PYTEST) tests

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/house

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

CASES ?= 500
fuzz: setup  ## damaged inputs for every reader, CASES of each format; `python -m fuzz --help` replays one
	$(BIN)/python -m fuzz $(CASES)

# One thread: then time is that of the CPU, which other work on the machine does not lengthen.
bench: setup  ## what got worse since benchmarks/baseline.json; `make bench-baseline` renews that file
	OMP_NUM_THREADS=1 $(BIN)/asmil bench --quick --against benchmarks/baseline.json

bench-baseline: setup
	OMP_NUM_THREADS=1 $(BIN)/asmil bench --quick --baseline benchmarks/baseline.json

docs: setup  ## the documentation as a site that needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site  # opens from the disk: build/site/index.html

clean:
	rm -rf $(VENV) build runs
