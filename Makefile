# `make demo` and `make test` need Python 3.11 or newer, a C++20 compiler and make; all else is installed into
# .venv (VENV=FOLDER for another) from constraints.txt. A second run does only what changed.

VENV ?= .venv
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
    $$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
PYTEST_ARGS ?=
SECONDS ?= 60
BENCHMARKS ?= $(addprefix benchmarks/,$(addsuffix .py,startup memory opening lossless codes determinism quality ablation peers pruning low_rank structured recipes ner damage interrupt)) \
   $(if $(TERSOR_DECODER),benchmarks/decoder.py)

venv := $(abspath $(VENV))
bin := $(venv)/bin
pip := $(bin)/python -m pip --disable-pip-version-check --quiet
install := PATH="$(bin):$$PATH" $(pip) install -c constraints.txt
editable := --no-build-isolation -C build-dir="$(venv)/.build" -e
project := pyproject.toml constraints.txt
native := CMakeLists.txt $(shell find cpp/include cpp/src bindings -type f)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint format cpp-test fuzz docs bench constraints clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(venv)/.installed-demo $(venv)/.built  ## compress the real MiniLM that pip installs, print before and after
	HF_HUB_OFFLINE=1 $(bin)/python examples/demo.py

test: $(venv)/.installed-test $(venv)/.built  ## all Python tests
	HF_HUB_OFFLINE=1 $(bin)/python -m pytest $(PYTEST_ARGS)

lint: $(venv)/.installed-test $(venv)/.built  ## ruff and mypy --strict
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

format: $(venv)/.installed-test  ## let ruff mend what it can
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

cpp-test: $(venv)/.build-tools  ## C++ tests under ASan and UBSan; needs doctest (Debian: doctest-dev)
	PATH="$(bin):$$PATH" cmake -S cpp/tests -B $(venv)/.cpp-tests -G Ninja
	PATH="$(bin):$$PATH" cmake --build $(venv)/.cpp-tests
	PATH="$(bin):$$PATH" ctest --test-dir $(venv)/.cpp-tests --output-on-failure

fuzz: $(venv)/.installed-fuzz $(venv)/.built  ## libFuzzer on every decoder and parser for SECONDS=60 each; needs clang (Debian: clang-14 libclang-rt-14-dev)
	PATH="$(bin):$$PATH" sh cpp/fuzz/run.sh $(venv)/.fuzz $(SECONDS)
	$(bin)/python tests/fuzz/drive.py --seconds $(SECONDS) --work $(venv)/.fuzz/python

docs: $(venv)/.installed-docs  ## HTML pages in docs/_build/html; a warning is an error
	$(bin)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(venv)/.installed-test $(venv)/.built  ## all figures of benchmarks/README.md, hours; needs TERSOR_DATA=FOLDER; TERSOR_DECODER=FOLDER adds a decoder (BENCHMARKS="..." for some)
	failed=0; for script in $(BENCHMARKS); do HF_HUB_OFFLINE=1 $(bin)/python $$script || failed=1; done; exit $$failed

constraints:  ## pin the newest releases that work together, in a fresh environment
	$(PYTHON) -m venv --clear build/pins
	build/pins/bin/python -m pip install --quiet '.[torch,eval,report,track,demo,build,test,docs,fuzz]'
	{ sed -n '/^#/p' constraints.txt; build/pins/bin/python -m pip list --format=freeze \
	  | sed 's/+cpu$$//' | grep -viE '^(pip|tersor)=='; } > build/constraints.new
	mv build/constraints.new constraints.txt

clean:  ## remove everything that make made here
	rm -rf .venv build docs/_build

# Stamps. `.installed-X`: tersor, editable, with the extras of X. `.built`: the extension is newer than its sources.
$(venv)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv found; name one with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(venv)

$(venv)/.build-tools: $(project) | $(venv)/bin/python
	$(install) scikit-build-core nanobind cmake ninja
	touch $@

$(venv)/.installed-demo: $(project) $(venv)/.build-tools
	$(install) $(editable) '.[torch,demo]'
	touch $@ $(venv)/.built

$(venv)/.installed-test: $(project) $(venv)/.build-tools
	$(install) seqeval  # comes as sources whose build needs packages of its own, which --no-build-isolation leaves out
	$(install) $(editable) '.[torch,eval,report,track,demo,test]'
	touch $@ $(venv)/.built

$(venv)/.installed-fuzz: $(project) $(venv)/.build-tools
	$(install) $(editable) '.[torch,fuzz]'
	touch $@ $(venv)/.built

$(venv)/.installed-docs: $(project) $(venv)/.build-tools
	$(install) $(editable) '.[docs]'
	touch $@ $(venv)/.built

$(venv)/.built: $(native) $(venv)/.build-tools
	$(install) --no-deps $(editable) .
	touch $@
