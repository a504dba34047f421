# make bench and make test do all their own set-up: a virtual environment in .venv, filled once.
PYTHON ?= python3
VENV   ?= .venv
PY     ?= $(VENV)/bin/python
OUT    ?= xaimed-results
# PY=python3 uses an environment of yours instead, as it is: nothing is installed, the checkout's own code is found by path
READY  := $(if $(filter $(VENV)/bin/python,$(PY)),$(VENV)/.ready)
ifeq ($(READY),)
export PYTHONPATH := .:kernels:reports:bench$(if $(PYTHONPATH),:$(PYTHONPATH))
endif
# the two halves of the kernels' tests cannot share a process: an interpreted kernel cannot be compiled.
# One torch thread a worker: the cores are shared out between tests, not within them.
CORES       := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2
SHARED      := -n auto --dist loadfile
INTERPRETED := TRITON_INTERPRET=1 $(PY) -m pytest tests --timeout 600
COMPILED    := $(CORES) $(PY) -m pytest tests --timeout 600 -m offline $(SHARED)

.PHONY: help bench tradeoff docs test check gpu device test-gpu report profile clean
.DEFAULT_GOAL := help

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'variables: DATA=folder of images, CHECKPOINT=weights, PROFILE=quick|full|gate, OUT=$(OUT), ARGS=more for pytest, PY=your own python'

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or later is needed; set PYTHON='; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV) (a few minutes, some gigabytes, once)'
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,study,peers,docs,dev]'
	@touch $@

MEASURE = @mkdir -p $(OUT) && $(PY) -m pytest --benchmark-json=$(OUT)/$@.json $(if $(DATA),--data $(DATA)) \
	$(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

bench: $(READY) ## measure every method and ROAD beside grad-cam on this machine; DATA=folder for real scans
	$(MEASURE) bench/bench_cam.py bench/bench_road.py bench/bench_kernels.py

tradeoff: $(READY) ## what AblationCAM costs and buys over the cheaper maps; trains a network first, so it takes longer
	$(MEASURE) bench/bench_tradeoff.py

docs: $(READY) ## the site of docs/, into build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

test: check ## check, then all tests: side by side, those that need the machine alone, and kernels compiled for GPUs
	$(CORES) $(INTERPRETED) -m "not offline and not alone and not nightly" $(SHARED) $(ARGS)
	$(INTERPRETED) -m "not offline and alone" $(ARGS)
	$(COMPILED) $(ARGS)

check: $(READY) ## format, lint and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pyright

gpu: OUT = reports/results/$(shell $(PY) -c 'import torch; from xaimed_bench.measure.machine import machine_facts; from xaimed_reports.store.devices import device_folder; print(device_folder(machine_facts(torch.device("cuda"))))')
gpu: device test-gpu profile bench ## on a new GPU (with make -k): its tests, profile card and harness, stored where results are committed

device: $(READY)
	@$(PY) -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "no CUDA device here")'

test-gpu: $(READY) ## the tests that need a CUDA device
	$(PY) -m pytest tests -m gpu $(ARGS)

report: $(READY) ## turn the last bench into a table here and a page beside it
	$(PY) -m xaimed_bench report $(OUT)/bench.json --html $(OUT)/report.html

profile: $(READY) ## the profile card of this device
	$(PY) -m xaimed_bench profile $(ARGS)

clean: ## remove what make left, but not .venv
	rm -rf $(OUT) .pytest_cache .ruff_cache dist build
