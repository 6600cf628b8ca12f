# Everything a developer types. Needs Python 3.11 to 3.13 with venv, make and the package registries; no compiler.
#
# Installed things stand in .venv (the portal) and .venv-sandbox (the official MESH sandbox). A stamp file in each says
# which lock it was filled from, so that nothing is installed twice.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.PHONY: help demo demo-check test bench lint lock clean

VENV := .venv
SANDBOX := .venv-sandbox
RUN := $(VENV)/bin/python
DEMO_STAMP := $(VENV)/.filled-for-demo
TEST_STAMP := $(VENV)/.filled-for-tests
SANDBOX_STAMP := $(SANDBOX)/.filled
FRONT_END := static/vendor/.filled
ARGS ?=

help: ## this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(DEMO_STAMP) $(SANDBOX_STAMP) $(FRONT_END) ## a working portal with made-up mail; PORT=8000 chooses the port, Ctrl-C stops it
	@exec $(RUN) -m meshportal.demo $(if $(PORT),--port $(PORT)) $(ARGS)

demo-check: $(DEMO_STAMP) $(SANDBOX_STAMP) $(FRONT_END) ## the same in a folder of its own until all mail is in; one line of JSON
	@exec $(RUN) -m meshportal.demo check $(ARGS)

test: $(TEST_STAMP) $(SANDBOX_STAMP) $(FRONT_END) ## the whole suite on SQLite, then on PostgreSQL; ARGS="tests/core -k lease" goes to pytest
	@exec $(RUN) -m tests.run $(ARGS)

bench: $(TEST_STAMP) $(SANDBOX_STAMP) $(FRONT_END) ## measure; ARGS goes to the bench
	@exec $(RUN) -m tests.bench $(ARGS)

lint: $(TEST_STAMP) ## formatting, types, layers, migrations, deployment checks
	@exec $(RUN) -m tests.lint

# --- Installing -------------------------------------------------------------------------------------------------------
# The sandbox needs Python below 3.14, so the same one serves both environments.
define find_python
found=; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then \
    found=$$candidate; break; fi; done; \
if [ -z "$$found" ]; then \
  echo "meshportal needs Python 3.11, 3.12 or 3.13, and $(if $(PYTHON),$(PYTHON) is none of them,none was found on the PATH)." >&2; \
  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
  exit 1; fi
endef

# $(call fill,folder,lock): makes the virtual environment when it is not there or its Python is gone, and fills it.
define fill
$(find_python); \
if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
  echo "Making the virtual environment $(1) with $$("$$found" --version)."; \
  "$$found" -m venv --clear $(1) || { \
    echo "A virtual environment could not be made. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; fi; \
echo "Installing $$(grep -c '^[a-zA-Z0-9]' $(2)) packages from $(2) into $(1). The first time takes about half a minute."; \
$(1)/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r $(2) || { \
  echo "The packages could not be installed; what pip says above tells why. It reads the usual PIP_ variables." >&2; exit 1; }
endef

$(DEMO_STAMP): requirements/demo.lock
	@$(call fill,$(VENV),requirements/demo.lock)
	@touch $@

# Holds everything that the demonstration needs, in the same versions.
$(TEST_STAMP): requirements/test.lock
	@$(call fill,$(VENV),requirements/test.lock)
	@touch $(DEMO_STAMP) $@

$(SANDBOX_STAMP): requirements/sandbox.lock
	@$(call fill,$(SANDBOX),requirements/sandbox.lock)
	@touch $@

$(FRONT_END): package.json package-lock.json meshportal/web/vendor.py requirements/node.lock | $(DEMO_STAMP)
	@if ! command -v npm >/dev/null 2>&1; then \
	  echo "There is no npm here; installing the one that comes as a Python package."; \
	  $(RUN) -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r requirements/node.lock; fi
	@$(RUN) -u -m meshportal.web.vendor
	@touch $@

# --- Locks ------------------------------------------------------------------------------------------------------------
# One resolution for all: the smaller locks are held to the versions of the largest. No addresses, so that any index serves.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate $(UPGRADE)
lock: $(TEST_STAMP) ## resolve requirements/*.lock anew from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	@[ -x $(VENV)/bin/uv ] || $(RUN) -m pip install -qq --disable-pip-version-check uv==0.13.9
	$(COMPILE) pyproject.toml --group test -o requirements/test.lock
	$(COMPILE) pyproject.toml --group demo -c requirements/test.lock -o requirements/demo.lock
	$(COMPILE) pyproject.toml -c requirements/test.lock -o requirements/app.lock
	$(COMPILE) --group node -o requirements/node.lock
	$(COMPILE) requirements/sandbox.in -o requirements/sandbox.lock
	@! grep -n '://' requirements/*.lock || { echo "A lock holds an address; see above." >&2; exit 1; }

clean: ## remove what was installed and built; the demonstration's data in .demo stays
	rm -rf $(VENV) $(SANDBOX) node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -e .demo ]; then echo "The demonstration's data is still in .demo; remove it with: rm -rf .demo"; fi
