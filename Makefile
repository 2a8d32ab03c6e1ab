# The commands of this project. `make` alone lists them.
#
# Everything is installed into .venv; the checkout itself is installed there (editable), so that demo, tests and checks run
# what lies here. Native modules are built again when csrc/, setup.py or pyproject.toml change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NATIVE := setup.py pyproject.toml $(wildcard csrc/*/*.cpp csrc/*/*.hpp csrc/*/*.pyx csrc/*/*.pxd)
PYTEST_ARGS ?=
# --install: test-arm64 may install its compiler and its emulator (as root).
ARM64_ARGS ?=

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test test-arm64 check format bench clean preflight

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name what; do printf '%-19s %s\n' "$$name" "$$what"; done
	@echo
	@echo "Another Python: make PYTHON=python3.13 demo.  Part of the tests: make test PYTEST_ARGS='tests/test_cli.py -x'."

demo: $(VENV)/.installed ## install, identify the bundled sample photos, write annotated copies to demo-output/
	$(BIN)/cardrec identify cardrec/data/samples --max-cards 9 --annotate demo-output

test: $(VENV)/.dev ## install, run the whole test suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# PyTorch has an environment of its own: what users get is checked without it. One release of it, since others may be built
# for GPUs alone, and are then gigabytes. Ray, half a gigabyte, is tested there as well.
TORCH ?= torch==2.13.0
TORCH_TESTS := $(addprefix tests/test_,augment_torch.py bulk_ray.py cloud_entry.py outline_training.py pipeline_parts.py training_evaluation.py training_model.py training_run.py training_teacher.py)

.PHONY: test-training
test-training: $(VENV)-training/.dev ## install PyTorch and Ray, run the tests of the trainings and of building with Ray
	$(VENV)-training/bin/python -m pytest $(TORCH_TESTS) $(PYTEST_ARGS)

# So has the cloud: SageMaker's library is a gigabyte with what it needs, and a training logs to a part of that (MLflow).
CLOUD_TESTS := $(addprefix tests/test_cloud_,launch.py registry.py upload.py)

.PHONY: test-cloud
test-cloud: $(VENV)-cloud/.dev ## install boto3 and SageMaker's library, run the tests of training.cloud
	CARDREC_TEST_CLOUD=1 $(VENV)-cloud/bin/python -m pytest $(CLOUD_TESTS) $(PYTEST_ARGS)

test-arm64: $(VENV)/.dev ## cross-compile for arm64, run the tests of the native modules under emulation (on Debian)
	tests/arm64/run $(ARM64_ARGS) $(PYTEST_ARGS)

check: $(VENV)/.dev ## formatting, lint, types, stubs of the native modules, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml cardrec._search cardrec._image cardrec._detect
	$(BIN)/codespell

# Tests of native code under AddressSanitizer and UBSan, of g++. Both are loaded first, since Python itself is built without;
# libstdc++ as well, whose exceptions they watch. What is tested lies in build/sanitized, not in place (tests/sanitized.py).
SANITIZED := build/sanitized
SANITIZE_ENV = CARDREC_SANITIZE=1 PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(SANITIZED)/lib:$(CURDIR)/tests \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$(foreach library,libasan.so libubsan.so libstdc++.so,$$($${CXX:-g++} -print-file-name=$(library)))"
SANITIZED_TESTS := $(addprefix tests/test_,search.py rectify.py detect_native.py catalog_bad_files.py catalog_bad_manifest.py fuzz.py native.py)

.PHONY: test-sanitized fuzz
test-sanitized: $(VENV)/.dev ## the tests of native code with AddressSanitizer and UBSan
	CARDREC_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base $(SANITIZED) --build-lib $(SANITIZED)/lib
	$(SANITIZE_ENV) $(BIN)/pytest -p sanitized $(SANITIZED_TESTS) --deselect tests/test_native.py::test_kernels_of_arm64 --deselect tests/test_native.py::test_image_kernels_of_arm64 $(PYTEST_ARGS)

FUZZ_SECONDS ?= 300
fuzz: $(VENV)/.dev ## fuzz the search, then catalogs, FUZZ_SECONDS=300 each; what crashes is kept in build/fuzz
	$(BIN)/python tests/native_build.py fuzz $(FUZZ_SECONDS) build/fuzz/search
	$(BIN)/python tests/fuzz/fuzz_catalog.py --seconds $(FUZZ_SECONDS) --seed $$(date +%s) --keep build/fuzz/catalog

format: $(VENV)/.dev ## put the formatting right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## time each stage beside its peers, with its accuracy: a table, and build/bench.json
	@mkdir -p build
	$(BIN)/python -m pytest benchmarks -p no:cacheprovider --benchmark-json=build/bench.json $(PYTEST_ARGS)

.PHONY: counts
counts: $(VENV)/.dev ## count the instructions of the hot kernels, compare with those on file
	$(BIN)/python -m benchmarks.counts

# After 3, the machine was too busy to tell, CI goes on; benchmarks/gate.py says why.
GATE_ARGS ?=
.PHONY: gate
gate: $(VENV)/.dev ## build the last commit of main and this one, time their stages in turn
	$(BIN)/python -m benchmarks.gate $(GATE_ARGS) || [ $$? -eq 3 ]

clean: ## remove all that the other commands made
	rm -rf $(VENV) $(VENV)-cloud $(VENV)-training build dist demo-output *.egg-info cardrec/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

preflight:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not there. Install Python 3.11 or newer, or name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old: cardrec needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: this Python has no venv module. On Debian and Raspberry Pi OS: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo "make: Python.h is missing. On Debian and Raspberry Pi OS: apt install python3-dev" >&2; exit 1; }
	@echo '#include <string_view>' | $${CXX:-c++} -std=c++17 -x c++ -fsyntax-only - 2>/dev/null || { echo "make: no C++17 compiler ($${CXX:-c++}). On Debian and Raspberry Pi OS: apt install g++; or name one: CXX=clang++ make ..." >&2; exit 1; }

$(BIN)/python:
	@$(MAKE) --no-print-directory preflight
	$(PYTHON) -m venv $(VENV)

# A build with the optional libraries counts as one without them as well.
$(VENV)/.installed: $(BIN)/python $(NATIVE)
	$(PIP) --editable .
	@touch $@

$(VENV)-training/.dev: $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)-training
	$(VENV)-training/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) --editable '.[training,ray]' pytest pytest-timeout hypothesis
	@touch $@

$(VENV)-cloud/.dev: $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)-cloud
	$(VENV)-cloud/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cloud]' 'moto[s3]>=5.1' flask flask-cors onnx pytest pytest-timeout hypothesis
	@touch $@

$(VENV)/.dev: $(BIN)/python $(NATIVE)
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@
