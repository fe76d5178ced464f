# The house's front door. Needs Python 3.11 or later and make, nothing else; everything goes into .venv.
#
#   make demo      train, calibrate and check a small promise detector, and read a speech with it
#   make test      the test suite
#   make install   only make .venv, with whet in it: .venv/bin/whet --help
#   make check     linter, type checker, house rules
#   make docs      write the generated pages of docs/ again
#   make lock      pin what pyproject.toml newly asks for, and keep the other versions
#   make upgrade   choose all pinned versions again

TORCH = torch==2.13.0
BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input

# The first Python on the PATH that is new enough; `make PYTHON=/path/to/python3 install` takes another.
FIT = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c '$(FIT)' 2>/dev/null && { echo $$python; break; }; done)

.PHONY: demo test install check docs lock upgrade clean

demo: install
	$(BIN)/whet demo

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

docs: install
	$(BIN)/python tools/build_docs.py

lock: LOCK = $(TORCH)
upgrade: LOCK = $(TORCH) --upgrade
lock upgrade: install
	$(PIP) install --quiet uv==0.13.9
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/lock.py $(LOCK)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

install: .venv/.installed

# The stamp is written last, so an installation that was broken off is taken up again. A .venv whose Python is gone or was
# moved is made anew. Why torch comes first and without a hash: tools/lock.py.
.venv/.installed: lock.txt pyproject.toml Makefile
	@test -n "$(PYTHON)" || { echo "whet needs Python 3.11 or later with its venv module, and found none on the PATH." \
		"Install it (on Debian or Ubuntu: python3 and python3-venv), or name one: make PYTHON=/path/to/python3 install" >&2; exit 2; }
	@$(BIN)/python -c pass 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "Installing $(TORCH). On Linux that is some gigabytes unless pip is set up to find a CPU-only build."
	@$(PIP) install --quiet $(TORCH)
	@echo "Installing the other libraries at the versions and hashes of lock.txt."
	@$(PIP) install --quiet --require-hashes --requirement lock.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Installed: $(BIN)/whet"
