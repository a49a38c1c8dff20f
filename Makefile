# make demo    sets everything up and runs the bundled study; make demo-behaviour the one of choices
# make test    sets everything up and runs the tests
# make check   what to run before a commit: lint, types and the fast half of the tests, under two minutes
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# what takes long: tests that fit, check or run whole studies; new tests are in the fast half until they are named here
SLOWER := tests/inference tests/studies tests/commands tests/stores tests/checks tests/importance tests/reporting \
	tests/house/test_readme.py tests/house/test_how_to_add.py tests/optimise/test_bptl.py \
	tests/simulators/test_backends.py tests/simulators/test_known_network.py tests/simulators/test_triton.py

.PHONY: demo demo-behaviour test check test-slow test-long test-triton test-browser docs tutorials lint types validate validate-full bench scaling \
	wheel clean

demo: $(VENV)/.user
	$(BIN)/sbirules demo

demo-behaviour: $(VENV)/.user
	$(BIN)/sbirules demo --behaviour

test: $(VENV)/.ready
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(SLOWER:%=--ignore=%)

test-slow: $(VENV)/.ready
	$(BIN)/pytest -m slow --numprocesses 2 --dist loadfile

test-long: $(VENV)/.ready
	$(BIN)/pytest -m long --numprocesses 2 --dist loadfile

# the fused GPU kernel: compiled for GPUs that need not be there, then run in Triton's interpreter
test-triton: $(VENV)/.ready
	$(BIN)/pip install --quiet triton
	$(BIN)/pytest tests/simulators/test_triton.py
	TRITON_INTERPRET=1 $(BIN)/pytest tests/simulators/test_triton.py tests/simulators/test_backends.py -k "triton or tiles"

# the report in a real browser: Chromium of the machine, of Debian, or Playwright's own
test-browser: $(VENV)/.ready
	$(BIN)/pip install --quiet -c constraints.txt playwright axe-playwright-python
	command -v chromium || command -v chromium-browser || command -v google-chrome \
		|| (apt-get update && apt-get install --yes chromium) || $(BIN)/playwright install --with-deps chromium
	$(BIN)/pytest -m browser tests/reporting/test_browser.py

# the documentation into site/; a warning is an error, and so is a section, picture or link that is not there
docs: $(VENV)/.ready
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python docs/check_built.py

# the nine tutorials as notebooks, run into runs/notebooks, about fourteen minutes on two cores
tutorials: $(VENV)/.ready
	$(BIN)/pip install --quiet -c constraints.txt -e '.[notebooks]'
	$(BIN)/python docs/notebooks.py --check
	$(BIN)/python docs/notebooks.py --run

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(MAKE) --no-print-directory types

# on a plain install, where simulators/ and priors/ lie inside the package; what an earlier build left would come along
types: $(VENV)/.ready
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --no-compile --target build/plain .
	cd build/plain && $(abspath $(BIN))/lint-imports --no-logo --no-cache ../../pyproject.toml
	cd build/plain && $(abspath $(BIN))/mypy -p sbirules --strict \
		--config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

# posteriors against exact references and fresh networks, about half an hour on two idle cores; writes docs/validation.md
validate: $(VENV)/.ready
	$(BIN)/python validation/validate.py

# the same, after half an hour of NUTS for the reference draws
validate-full: $(VENV)/.ready
	$(BIN)/python validation/references.py
	$(BIN)/python validation/validate.py

# machine figures and peers in one run; JAX is needed for the peers only
bench: $(VENV)/.ready
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,benchmarks]'
	$(BIN)/python benchmarks/engine.py

# how cost grows with units, steps, trials and batch; memory of a million simulations
scaling: $(VENV)/.ready
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/store.py

wheel: $(VENV)/.ready
	rm -rf build
	$(BIN)/python -m build --wheel
	$(BIN)/python -m zipfile -l dist/sbirules-*.whl

# constraints.txt pins the versions that were tested; pyproject.toml only states floors. Users need less than developers, and of
# what is installed only what studies import is compiled, which takes half the time
$(VENV)/.user: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "sbirules needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/pip install --quiet --no-compile -c constraints.txt torch
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[sensitivity]'
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import arviz, matplotlib.figure, numba, pandas, pyro, sbi.inference, sbirules, zuko'
	touch $@

$(VENV)/.ready: $(VENV)/.user
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
