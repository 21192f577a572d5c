# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Each target makes the virtual environment that it needs, and does nothing twice.

PYTHON ?= python3
# Most tests wait for a lease to run out, so a few more than there are cores pay.
PYTEST_JOBS ?= 4
WHEEL_DIR := dist
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-lowest tck chaos explore check lint types contracts examples downstream bench \
  soak soak-kills soak-seeds docs clean

help:
	@echo "make demo    run a workflow on this repository and kill its leader half-way"
	@echo "make test    all tests, on the installed wheel, with branch coverage"
	@echo "make test-lowest  the same with the lowest versions that pyproject.toml allows"
	@echo "make tck     the conformance kit of DMN below FEDERLIB_DATA, directory by directory"
	@echo "make explore  2,000 fresh seeds of the simulated worlds, and what they have covered"
	@echo "make check   lint, types, import contracts, docs and examples"
	@echo "make bench   measure against named peers; writes benchmarks/results.json"
	@echo "make chaos   break a fleet, in the simulator and on real stores; two minutes"
	@echo "make soak    the long runs: hundreds of kills, a million seeds"
	@echo "make docs    build the documentation into site/"

# One environment a purpose; a stamp says that it is complete.
SOURCES := $(shell find src -name '*.py') pyproject.toml

.venv-%/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "federlib needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python $(PIP) --upgrade 'pip>=25.1'
	@touch $@

.venv-demo/ready: .venv-demo/made $(SOURCES)
	.venv-demo/bin/python $(PIP) '.[cli]'
	@touch $@

.venv-test/ready: .venv-test/made $(SOURCES)
	rm -rf $(WHEEL_DIR)
	.venv-test/bin/python $(PIP) --group test build
	.venv-test/bin/python -m build --wheel --outdir $(WHEEL_DIR) . > .venv-test/build.log 2>&1 || \
	  { cat .venv-test/build.log; exit 1; }
	.venv-test/bin/python $(PIP) --force-reinstall --no-deps $(WHEEL_DIR)/*.whl
	.venv-test/bin/python $(PIP) "$$(ls $(WHEEL_DIR)/*.whl)[cli,dmn,etcd,membership,postgres,servers,testing]"
	@touch $@

.venv-lowest/ready: .venv-lowest/made $(SOURCES) .ci/lowest.py
	.venv-lowest/bin/python .ci/lowest.py pyproject.toml > .venv-lowest/constraints.txt
	.venv-lowest/bin/python $(PIP) --group test '.[cli,dmn,etcd,membership,postgres,servers,testing]' -c .venv-lowest/constraints.txt
	@touch $@

.venv-check/ready: .venv-check/made $(SOURCES)
	.venv-check/bin/python $(PIP) --group lint --group test --group docs
	.venv-check/bin/python $(PIP) --force-reinstall --no-deps .
	.venv-check/bin/python $(PIP) '.[cli,dmn,etcd,membership,postgres,servers,testing]'
	@touch $@

.venv-bench/ready: .venv-bench/made $(SOURCES)
	.venv-bench/bin/python benchmarks/install_peers.py
	.venv-bench/bin/python $(PIP) --force-reinstall --no-deps .
	.venv-bench/bin/python $(PIP) '.[cli,dmn,etcd,membership,postgres,servers,testing]'
	@touch $@

demo: .venv-demo/ready
	.venv-demo/bin/python examples/demo/run.py

test: .venv-test/ready
	.venv-test/bin/python -m pytest -n $(PYTEST_JOBS) --dist worksteal \
	  --cov --cov-report=term:skip-covered --cov-fail-under=80 $(PYTEST_ARGS)

# Not part of CI: as long as `test` again. Run it when a bound in pyproject.toml changes.
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -n $(PYTEST_JOBS) --dist worksteal $(PYTEST_ARGS)

# FEDERLIB_DATA names the folder in which the kit lies as dmn-tck.
tck: .venv-test/ready
	.venv-test/bin/python -m pytest -q -n $(PYTEST_JOBS) --dist worksteal tests/tck $(PYTEST_ARGS)

# Fresh seeds each time; EXPLORE_ARGS="--first N" plays some again.
explore: .venv-test/ready
	.venv-test/bin/python -m federlib.testing.exploring $(EXPLORE_ARGS)

# Kills, replays of old epochs, delays and lost answers; drawn faults in the simulator.
chaos: .venv-test/ready
	.venv-test/bin/federlib chaos --seeds 12
	.venv-test/bin/federlib chaos --target sqlite --preset stale_epoch_replay --seconds 7
	.venv-test/bin/federlib chaos --target file --preset delayed_commands --seconds 7
	.venv-test/bin/federlib chaos --target postgres --seconds 25
	.venv-test/bin/federlib chaos --target etcd --seconds 30

soak: soak-kills soak-seeds

# 300 leaders killed among other things; hours.
soak-kills: .venv-test/ready
	FEDERLIB_SOAK=1 .venv-test/bin/python -m pytest tests/storage/test_kill.py tests/skewclock/test_hlc_history.py \
	  tests/transport/test_fuzz.py tests/transport/test_meeting.py tests/proof
	.venv-test/bin/federlib chaos --target sqlite --kills 150
	.venv-test/bin/federlib chaos --target file --kills 150
	.venv-test/bin/federlib chaos --target postgres --seconds 600
	.venv-test/bin/federlib chaos --target etcd --seconds 600

# SOAK_ARGS="--seconds 3600" ends it in time; the next run goes on where it was.
soak-seeds: .venv-test/ready
	mkdir -p .soak
	.venv-test/bin/python -m federlib.testing.exploring --seeds 1000000 --state .soak/seeds.json $(SOAK_ARGS)

check: lint types contracts docs examples downstream

lint: .venv-check/ready
	.venv-check/bin/ruff format --check src tests examples benchmarks .ci
	.venv-check/bin/ruff check src tests examples benchmarks .ci

types: .venv-check/ready
	.venv-check/bin/mypy src tests
	. .venv-check/bin/activate && cd .venv-check && basedpyright --verifytypes federlib --ignoreexternal

contracts: .venv-check/ready
	.venv-check/bin/lint-imports

docs: .venv-check/ready
	.venv-check/bin/mkdocs build --quiet --strict

examples: .venv-check/ready
	.venv-check/bin/python examples/run_all.py

# A project of a user: its own tests, with our wheel and our pytest plugin as installed.
downstream: .venv-test/ready
	cd examples/downstream && ../../.venv-test/bin/python -m pytest -q

bench: .venv-bench/ready
	.venv-bench/bin/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf .venv-* .soak dist site .coverage* .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
