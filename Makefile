# make demo and make test do all the set-up themselves. PYTHON is any Python >= 3.10.
PYTHON ?= python3
RUN ?= runs/demo
BIN := .venv/bin
DEMO_DATA := build/embedded
# A small network, short windows, and v in place of eps, to hear music after three minutes of training. The
# signal rates are the paper's tuned ones.
DEMO_OPTIONS := --window-seconds 1.28 --window-hop-seconds 0.64 --windows-per-track 45 \
  --widths 16 32 64 96 --block-depth 1 --attention none --prediction v \
  --min-signal-rate 0.195 --max-signal-rate 0.933 --learning-rate 2e-3 --ema 0.99 --epochs 28

.PHONY: help demo test lint parity clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed ## music from noise in six minutes: data, training, sampling, sound, numbers
	rm -rf $(RUN)
	$(BIN)/python -m ddim_from_scratch.audio.synth $(DEMO_DATA)
	$(BIN)/python -m ddim_from_scratch.train --data $(DEMO_DATA)/genres/plucked --run $(RUN) $(DEMO_OPTIONS)
	$(BIN)/python -m ddim_from_scratch.sample --run $(RUN) --num 12 --seconds 5.12 --steps 40
	$(BIN)/python -m ddim_from_scratch.experiments compare --run $(RUN)

test: .venv/.installed-test ## the tests, with TensorFlow, Keras and SciPy as references
	$(BIN)/python -m pytest --ignore=tests/parity

lint: .venv/.installed-test ## ruff's checks and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

parity: .venv-parity/.installed ## the comparisons with PyTorch and diffusers, in an environment of their own
	.venv-parity/bin/python -m pytest tests/parity

clean: ## remove environments, built data and runs
	rm -rf .venv .venv-parity build runs *.egg-info

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

.venv-parity/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --editable '.[parity]'
	touch $@
