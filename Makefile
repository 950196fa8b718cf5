# Everything below makes its own virtual environment in .venv first.
#   make demo     the main job on the embedded models and corpus, offline: minutes
#   make test     the test suite, without its slow tests
#   make test-slow   the slow ones: kills, whole programs, pretrained weights
#   make check    formatting, lint and types
#   make docs     the documents as a site, in site/
#   make notebooks   the notebooks, executed in place
#   make crypto   Pyfhel, built from source with g++ alone
#   make certificates   an authority, a server and a client for a trial of the service
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
# Through the environment the pins reach the packages that builds are made with, too:
# pip before 25.3 reads the first name there, later ones the second.
PINS = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
PIP = $(PINS) $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
WORKDIR ?= runs/demo
CERTIFICATES ?= certificates
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo demo_start test test-slow check docs notebooks crypto certificates clean

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "helix_jax needs Python 3.11, 3.12 or 3.13, got %d.%d; use: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)

demo_start:
	@[ -f $(VENV)/crypto.stamp ] || echo "First, and once, everything is installed into $(VENV): some minutes, a compiler included. Then the demo runs: about 5 minutes on two cores."

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing helix_jax and what it needs, at the versions of constraints.txt"
	@$(PIP) -e '.[plots]'
	@touch $@

$(VENV)/crypto.stamp: $(VENV)/core.stamp build_tools/seal_offline.cmake
	@echo "Installing the encrypted layer: Microsoft SEAL is compiled by g++"
	@CMAKE_TOOLCHAIN_FILE=$(CURDIR)/build_tools/seal_offline.cmake $(PIP) -e '.[crypto,net]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/crypto.stamp
	@echo "Installing what the tests need"
	@$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/docs.stamp: $(VENV)/core.stamp
	@echo "Installing what the site is made with"
	@$(PIP) -e '.[docs]'
	@touch $@

demo: demo_start $(VENV)/crypto.stamp
	$(VENV)/bin/python -m experiments.demo --workdir=$(WORKDIR)

test: $(VENV)/dev.stamp
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS) -m 'not slow'

test-slow: $(VENV)/dev.stamp
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS) -m slow

check: $(VENV)/dev.stamp
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/python -m mypy

docs: $(VENV)/docs.stamp
	$(VENV)/bin/python -m mkdocs build --strict

notebooks: $(VENV)/dev.stamp
	for one in notebooks/*.ipynb; do \
	  $(VENV)/bin/jupyter-execute --inplace $$one || exit 1; done

crypto: $(VENV)/crypto.stamp

certificates: $(VENV)/crypto.stamp
	$(VENV)/bin/python -m experiments.certificates --folder=$(CERTIFICATES)

clean:
	rm -rf $(VENV) build site *.egg-info
