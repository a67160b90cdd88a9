# Two commands do everything on a machine that has only Python (>= 3.11) and make:
#   make demo     its own .venv, the install, the main job; the last line is the page's path
#   make test     its own .venv, the install with the test extras, the whole suite

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes run the suite in a little over half the time. Each takes up to 2 GB, so no more by themselves.
WORKERS ?= 2
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "torchviz-layers needs Python 3.11 or newer: make PYTHON=python3.12")'

.PHONY: demo test test-slow test-noise test-wheel test-floors lint clean

demo: $(VENV)/.installed
	@$(BIN)/torchviz-layers demo --out demo

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -m slow

# The tests that compute, with the kernels of other processors and with sums in another order.
test-noise: $(VENV)/.installed-test
	@$(BIN)/python -m tests.imitated_processors $(NOISE)

# The suite against the built wheel: a copy of the checkout without the library, the wheel's before every other.
test-wheel: $(VENV)/.installed-dev
	@rm -rf build/wheel && mkdir -p build/wheel/tree
	@$(BIN)/python -m build --wheel --outdir build/wheel . > build/wheel/build.log 2>&1
	@$(BIN)/python -m pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	@git archive HEAD | tar -x -C build/wheel/tree --exclude=torchviz_layers
	@cd build/wheel/tree && PYTHONPATH=../site "$(abspath $(BIN))/python" -m pytest $(PYTEST)

# The suite on the oldest versions that pyproject.toml allows, then on the newest, each in an environment of its own
# (several GB). SET=floors or SET=newest runs one; PYTHON=python3.13 takes another interpreter.
test-floors:
	@command -v $(PYTHON) >/dev/null || { echo "There is no interpreter $(PYTHON) here"; exit 1; }
	@$(NEW_ENOUGH)
	@$(PYTHON) tests/floors.py $(if $(SET),--set $(SET)) -- $(PYTEST)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

$(BIN)/python:
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv $(VENV)

# The stamps stand for "installed as pyproject.toml says now", so that a second call starts at once.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed

clean:
	rm -rf $(VENV) demo dist build
