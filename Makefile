# make run: set up and run the main job.  make test: the whole suite.  make check: lint, types, import contracts, docstrings, notebooks, tests but the long.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# BLAS threads make small products slower and noisier.
export OPENBLAS_NUM_THREADS := 1
# Kept whatever the caller's environment says: some 150 processes of the tests import the package.
unexport PYTHONDONTWRITEBYTECODE

# A process a core, whole files: what the tests of a file share (the paper's layers, a study) is made once, not once a process.
PARALLEL := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
# Every lesson run, and what is stored in it held to what it prints today. First, since it takes longest.
NOTEBOOKS := tests/notebooks_proof.py

.PHONY: run explain fuzz test test-torch noise kill rtl synth verilog browser check gates kernels lint types contracts docstrings notebooks bench zoo zoo-torch mutants freeze clean

# Two thousand mutations of a good file of every kind, every word in every key of every schema, and ten minutes of atheris on the four
# binary formats, where there is one for this Python. What passed is not tried again until a source changes: .fuzz/report.jsonl.
JOBS ?= 1
fuzz: $(VENV)/fuzz.done
	cd tests && PYTHONPATH=.. $(abspath $(BIN))/python -W ignore fuzz_all.py \
	  --times $(or $(FUZZ),2000) --seconds $(or $(ATHERIS_S),600) --jobs $(JOBS) $(PIECES)

run: $(VENV)/run.done
	$(BIN)/eie run models/lenet-300-100.toml

# With `make check` the notebooks run among the tests, so that no core waits for the other between the two. Alone it leaves out what is
# marked long: what Verilog simulators, Yosys and a browser do, kills, the longest studies.
CHECKED := -o "python_files=test_*.py $(notdir $(NOTEBOOKS))" $(if $(filter test,$(MAKECMDGOALS)),,-m "not long")
test: $(VENV)/test.done
	$(BIN)/python -m pytest $(PARALLEL) $(if $(filter check,$(MAKECMDGOALS)),$(CHECKED)) tests eie

# PyTorch is large: its tests are a step of their own. TORCH names the build to install.
TORCH ?= torch==2.13.0
test-torch: $(VENV)/torch.done
	$(BIN)/python -m pytest $$(grep -l 'importorskip("torch"' tests/test_*.py)

check: gates test

# In a new clone types and kernels take half a minute each: side by side, before the tests take both cores.
gates: $(VENV)/check.done $(VENV)/test.done
	+$(MAKE) --jobs 2 --output-sync --no-print-directory kernels lint types contracts docstrings

kernels: $(VENV)/test.done
	$(BIN)/eie warmup

# Icarus, Verilator and Yosys are Debian packages: installed where that can be done, and where not their tests skip.
verilog:
	sh tests/install_verilog.sh

# Likewise the browser that opens pages of --html.
browser:
	sh tests/install_browser.sh

# The proof of the Verilog as a whole: 500 drawn layers, the shipped LeNets on ten images, AlexNet fc8 if it is beside the checkout.
rtl: $(VENV)/test.done verilog
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal tests/rtl_proof.py tests/test_rtl.py

# Area and delay of the Verilog's units over the spec's knobs, beside the area model; renews docs/synthesis.md. Minutes.
synth: $(VENV)/test.done verilog
	cd benchmarks && PYTHONPATH=. $(abspath $(BIN))/python -m synthesis.run

# Statements on measured machines while others keep every core busy: no verdict may change.
noise: $(VENV)/test.done
	$(BIN)/python -m pytest -s tests/noise_proof.py

# Sweep, search, granularity and compress, killed thirty times each while they work; with PyTorch, training too.
kill: $(VENV)/test.done
	$(BIN)/python -m pytest -n auto --maxprocesses 4 tests/kill_proof.py

notebooks: $(VENV)/test.done
	$(BIN)/python -m pytest $(PARALLEL) $(NOTEBOOKS)

lint: $(VENV)/check.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/check.done
	$(BIN)/mypy

contracts: $(VENV)/check.done
	$(BIN)/lint-imports

docstrings: $(VENV)/check.done
	$(BIN)/python docs/check_docstrings.py

# The best advice of eie explain against an exhaustive sweep, 69 layers: twenty minutes of processor time.
explain: $(VENV)/bench.done
	$(BIN)/python benchmarks/explain.py

bench: $(VENV)/bench.done
	$(BIN)/python -m pytest -c benchmarks/pytest.ini benchmarks

# Model files that people ship in packages: fetched by name into $EIE_ZOO (else the user's cache), read, compared with
# onnxruntime and run; renews docs/zoo.md. Minutes, and half a gigabyte: no part of a check. ZOO names some of them.
zoo: $(VENV)/test.done
	cd benchmarks && PYTHONPATH=. $(abspath $(BIN))/python -m zoo.run $(ZOO)

# Exports of common PyTorch blocks by both exporters; renews docs/zoo.md.
zoo-torch: $(VENV)/torch.done
	cd benchmarks && PYTHONPATH=. $(abspath $(BIN))/python -m zoo.exports $(ZOO)

# A hundred one-line faults, planted in copies of this checkout; it takes an hour and more. docs/mutants.md says the rest.
mutants: $(VENV)/mutants.done
	$(BIN)/python tests/mutants/run.py $(MUTANTS)

freeze: $(VENV)/test.done
	$(BIN)/python tests/freeze.py

clean:
	rm -rf $(VENV) build dist .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "eie needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.done: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/test.done: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/check.done: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[test,check]'
	@touch $@

$(VENV)/torch.done: $(VENV)/test.done
	$(INSTALL) '$(TORCH)' onnxscript
	@touch $@

$(VENV)/bench.done: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[bench]'
	@touch $@

$(VENV)/fuzz.done: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[fuzz]'
	@touch $@

$(VENV)/mutants.done: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[mutants]'
	@touch $@
