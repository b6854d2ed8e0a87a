# Targets install what they need into .venv. PYTHON is any Python >= 3.10.
PYTHON ?= python3
RUN ?= runs/demo
BIN := .venv/bin
DEMO_DATA := build/embedded
TUNE := ddim_from_scratch/notes/band/jingle_bells.mid
# A small network with short windows that predicts v, to hear music after three minutes of training. Noise levels and
# guidance are those that came nearest to the recordings: docs/results.md.
DEMO_OPTIONS := --window-seconds 1.28 --window-hop-seconds 0.64 --windows-per-track 45 \
  --widths 16 32 64 96 --block-depth 1 --attention none --prediction v \
  --schedule log-snr --min-signal-rate 0.003 --max-signal-rate 0.95 --learning-rate 2e-3 --ema 0.99 --epochs 28

.PHONY: help demo lessons student-copy test test-gpu lint parity bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { sub("%", "NN", $$1); printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed ## synthesise data, train, generate music and measure it, play a tune: in six minutes
	rm -rf $(RUN)
	$(BIN)/python -m ddim_from_scratch.audio.synth $(DEMO_DATA)
	$(BIN)/python -m ddim_from_scratch.train --data $(DEMO_DATA)/genres/plucked --run $(RUN) $(DEMO_OPTIONS)
	$(BIN)/python -m ddim_from_scratch.sample --run $(RUN) --num 12 --seconds 5.12 \
	  --sampler dpm++2m --steps 20 --spacing log-snr --guidance 2
	$(BIN)/python -m ddim_from_scratch.experiments compare --run $(RUN)
	$(BIN)/python -m ddim_from_scratch.sample --notes $(TUNE) --out $(RUN)/tune --sampler dpm++2m --steps 20

lesson-%: .venv/.installed-lessons ## run lesson NN in the terminal and write build/lessons/NN.html
	$(BIN)/python -m lessons run $*

lessons: .venv/.installed-lessons ## run all lessons and write the course's pages, build/lessons/index.html
	$(BIN)/python -m lessons run

notebook-%: .venv/.installed-lessons ## write lesson NN as a Jupyter notebook, build/lessons/NN.ipynb
	$(BIN)/python -m lessons notebook $*

check-%: .venv/.installed-lessons ## check your answers to the exercises of lesson NN
	@$(BIN)/python -m lessons check $*

student-copy: .venv/.installed-lessons ## copy the repository without the solutions to OUT=FOLDER
	$(BIN)/python -m lessons student-copy $(OUT)

test: .venv/.installed-test ## run the tests, with TensorFlow, Keras and SciPy as references
	$(BIN)/python -m pytest --ignore=tests/parity

# With the PYTHON of the machine if it has what the tests import: there may be no network to install it from.
test-gpu: ## compare results on a CUDA device with NumPy's
	@set -e; python=$(BIN)/python; \
	if $(PYTHON) -c 'import cupy, pytest, ddim_from_scratch.train' 2>/dev/null; then python=$(PYTHON); \
	else $(MAKE) .venv/.installed-gpu; fi; \
	DDIM_TEST_GPU=1 $$python -m pytest tests/test_gpu.py tests/test_cupy_rules.py

lint: .venv/.installed-test ## run ruff (checks and format) and mypy (types)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

parity: .venv-parity/.installed ## run the comparisons with PyTorch and diffusers, in .venv-parity
	.venv-parity/bin/python -m pytest tests/parity

bench: .venv-parity/.installed-bench ## measure time and memory beside PyTorch, Keras and librosa: build/bench.json
	.venv-parity/bin/python -m bench $(BENCH_OPTIONS)

clean: ## remove environments, built data and runs
	rm -rf .venv .venv-parity build runs *.egg-info

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

# The .pth file lets notebooks and editors import lessons from anywhere; it is not part of the package.
.venv/.installed-lessons: .venv/.installed
	$(BIN)/pip install --quiet --editable '.[lessons]'
	$(BIN)/python -c "import site; open(site.getsitepackages()[0] + '/lessons.pth', 'w').write('$(CURDIR)')"
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps musicnn==0.1.0  # for its checkpoint; it asks for NumPy of 2019
	$(BIN)/pip install --quiet --no-deps basic-pitch==0.4.0 tinysoundfont==0.3.7  # see pyproject.toml
	touch $@

.venv/.installed-gpu: .venv/.installed-test
	$(BIN)/pip install --quiet --editable '.[gpu]'
	touch $@

.venv-parity/.installed-bench: .venv-parity/.installed
	.venv-parity/bin/pip install --quiet --editable '.[bench]'
	touch $@

.venv-parity/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --editable '.[parity]'
	# Their requirements would bring other builds of PyTorch; their distances need none of those.
	.venv-parity/bin/pip install --quiet --no-deps fadtk==1.1.0 frechet-audio-distance==0.3.4
	touch $@
