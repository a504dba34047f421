# make bench and make test do all their own set-up: a virtual environment in .venv, filled once.
PYTHON ?= python3
VENV   ?= .venv
PY     ?= $(VENV)/bin/python
GIVEN  := $(OUT)
OUT    ?= xaimed-results
# PY=python3 uses an environment of yours instead, as it is: nothing is installed, the checkout's own code is found by path
READY  := $(if $(filter $(VENV)/bin/python,$(PY)),$(VENV)/.ready)
ifeq ($(READY),)
export PYTHONPATH := .:kernels:reports:bench$(if $(PYTHONPATH),:$(PYTHONPATH))
endif
# the kernels' tests cannot share a process: an interpreted kernel cannot be compiled. The last of the three executes PTX.
# One torch thread a worker: the cores are shared out between tests, not within them.
CORES       := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=2
SHARED      := -n auto --dist loadfile
EACH        := -n auto --dist worksteal
INTERPRETED := TRITON_INTERPRET=1 $(PY) -m pytest tests --timeout 600
COMPILED    := $(CORES) $(PY) -m pytest tests --timeout 600

# on a GPU: what a machine held for minutes at a time can do in one go each, the most valuable first
STEPS := gpu-kernels gpu-tests gpu-profile gpu-speed gpu-road gpu-cam
LIMIT ?= 570

.PHONY: help bench tradeoff docs test nightly check gpu device $(STEPS) report profile clean
.DEFAULT_GOAL := help

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'variables: DATA=folder of images, CHECKPOINT=weights, PROFILE=quick|full|gate, OUT=$(OUT), ARGS=more for pytest, PY=your own python, LIMIT=seconds of a gpu- step'

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or later is needed; set PYTHON='; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV) (a few minutes, some gigabytes, once)'
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench,study,lite0,peers,docs,dev]'
	@touch $@

MEASURE = @mkdir -p $(OUT) && $(PY) -m pytest --benchmark-json=$(OUT)/$@.json $(if $(DATA),--data $(DATA)) \
	$(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

bench: $(READY) ## measure every method and ROAD beside grad-cam on this machine; DATA=folder for real scans
	$(MEASURE) bench/bench_cam.py bench/bench_road.py bench/bench_kernels.py

tradeoff: $(READY) ## what AblationCAM costs beside the cheaper maps, in xaimed and in grad-cam; takes longer
	$(MEASURE) bench/bench_tradeoff.py

docs: $(READY) ## the site of docs/, into build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

test: check ## check, then all tests: side by side, those that need the machine alone, kernels compiled, and executed as PTX
	$(CORES) $(INTERPRETED) -m "not offline and not ptx and not alone and not nightly" $(SHARED) $(ARGS)
	$(INTERPRETED) -m "not offline and not ptx and alone and not nightly" $(ARGS)
	$(COMPILED) -m offline $(EACH) $(ARGS)
	$(COMPILED) -m ptx $(EACH) $(ARGS)

nightly: $(READY) ## what takes many minutes and rarely breaks, such as grad-cam's own tests run on xaimed's mirror of it
	$(CORES) TRITON_INTERPRET=1 $(PY) -m pytest tests -m 'nightly and not ptx' $(ARGS)

check: $(READY) ## format, lint and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pyright

gpu: ## on a new GPU: all of the steps below in turn, whatever the others do; files go to OUT, else where results are committed
	@failed=; for step in $(STEPS); do $(MAKE) $$step || failed="$$failed $$step"; done; \
		test -z "$$failed" || { echo "failed or ran out of time:$$failed"; exit 1; }

device: $(READY)
	@$(PY) -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "no CUDA device here")'

$(STEPS): SHELL := bash
$(STEPS): OUT = $(or $(GIVEN),reports/results/$(shell PYTHONPATH=$(PYTHONPATH) $(PY) -c 'import torch; from xaimed_bench.measure.machine import machine_facts; from xaimed_reports.store.devices import device_folder; print(device_folder(machine_facts(torch.device("cuda"))))'))
# LIMIT seconds, then Ctrl-C: what has finished by then is kept, and the rest of the step counts as failed
STEP     = @mkdir -p $(OUT) && set -o pipefail && timeout --foreground --signal=INT --kill-after=20 $(LIMIT) $(PY)
LOGGED   = 2>&1 | tee $(OUT)/$@.txt
MEASURED = $(ARGS) --benchmark-json=$(OUT)/$@.json --device cuda $(if $(PROFILE),--profile $(PROFILE)) $(LOGGED)

gpu-kernels: device ## GPU tests of the kernels
	$(STEP) -m pytest tests/kernels -m gpu $(ARGS) $(LOGGED)

gpu-tests: device ## all other GPU tests
	$(STEP) -m pytest tests --ignore tests/kernels -m gpu $(ARGS) $(LOGGED)

gpu-profile: device ## the profile card, quick
	$(STEP) -m xaimed_bench profile --quick --device cuda --out $(OUT) $(LOGGED)

gpu-speed: device ## the kernels and the solver beside a copy, caches cold
	$(STEP) -m pytest bench/bench_kernels.py bench/bench_solver.py --cold $(MEASURED)

gpu-road: device ## ROAD beside grad-cam
	$(STEP) -m pytest bench/bench_road.py $(MEASURED)

gpu-cam: device ## every method beside grad-cam; made again, it goes on where its time ran out
	$(STEP) -m pytest bench/bench_cam.py --resume $(MEASURED)

report: $(READY) ## turn the last bench into a table here and a page beside it
	$(PY) -m xaimed_bench report $(OUT)/bench.json --html $(OUT)/report.html

profile: $(READY) ## the profile card of this device
	$(PY) -m xaimed_bench profile $(ARGS)

clean: ## remove what make left, but not .venv
	rm -rf $(OUT) .pytest_cache .ruff_cache dist build
