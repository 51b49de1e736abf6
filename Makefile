# `make show` is the first look, `make read` opens the book, `make test` checks it. See README.md.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
CHAPTER ?= 04
EXTRAS := dev,book
# uv does not read pip's find-links by itself
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: setup show read test notebooks exercises readme grade lint bench clean
.DEFAULT_GOAL := help
help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# an environment, $(1), with an extra, $(2): the peers bring packages of their own, which the book's must not meet
INSTALL = if command -v uv >/dev/null 2>&1; \
	then uv venv -q --allow-existing --python $(PYTHON) $(1) && \
	uv pip install -q --python $(1)/bin/python -c constraints.txt -e '.[$(2)]'; \
	else $(PYTHON) -m venv $(1) && $(1)/bin/python -m pip install -q -c constraints.txt -e '.[$(2)]'; fi

setup: $(VENV)/.done          ## create .venv and install the exact versions
$(VENV)/.done: pyproject.toml constraints.txt
	@$(call INSTALL,$(VENV),$(EXTRAS))
	@touch $@

show: setup                   ## train a small flow, and watch it move
	$(BIN)/flowlib show

read: setup                   ## open the book in JupyterLab, on this machine only, with a token
	$(BIN)/jupyter lab --ServerApp.root_dir=chapters --ServerApp.ip=127.0.0.1 $(LAB)

test: setup lint              ## check everything: style, types, unit tests, every notebook
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST)

lint: setup                   ## style and types
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/mypy

notebooks: setup              ## run every notebook and store its outputs
	OMP_NUM_THREADS=1 $(BIN)/flowlib chapters notebooks

exercises: setup              ## make exercises.ipynb from solutions.ipynb
	$(BIN)/flowlib chapters exercises

readme: setup                 ## make the chapter tables
	$(BIN)/flowlib chapters readme

grade: setup                  ## grade SUBMISSIONS=folder of CHAPTER=04
	@test -n "$(SUBMISSIONS)" || { echo "usage: make grade SUBMISSIONS=folder [CHAPTER=04]"; exit 2; }
	$(BIN)/flowlib chapters grade "$(SUBMISSIONS)" --chapter $(CHAPTER)

$(VENV)-bench/.done: pyproject.toml constraints.txt
	@$(call INSTALL,$(VENV)-bench,bench)
	@touch $@
bench: $(VENV)-bench/.done    ## measure speed, as ratios in one run (the peers get .venv-bench)
	@for file in tests/benchmarks/bench_*.py; do \
	  echo "== $$file"; OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(VENV)-bench/bin/python $$file || exit 1; done

clean:                        ## remove what make has made
	rm -rf $(VENV) $(VENV)-bench .pytest_cache .mypy_cache .ruff_cache
