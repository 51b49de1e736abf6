# `make show` is the first look, `make read` opens the book, `make test` checks it. See README.md.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
CHAPTER ?= 04
EXTRAS := dev,book
# uv does not read pip's find-links by itself
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: setup show read book vendor test notebooks exercises readme grade lint bench clean
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

# scripts that pages need, from npm: equations, widgets. They are kept, since a book is built more often than fetched
NPM = mathjax@3.2.2 requirejs@2.3.8 @jupyter-widgets/html-manager@1.0.15
VENDOR = _build/vendor
vendor: $(VENDOR)/.done       ## fetch the scripts of the site, once (needs npm and a network)
$(VENDOR)/.done: $(VENV)/.done
	@command -v npm >/dev/null || { echo "no npm here: the site needs it once, for MathJax and the widgets"; exit 2; }
	@mkdir -p $(VENDOR) _build/npm
	@npm install --silent --no-save --no-audit --no-fund --prefix _build/npm $(NPM)
	@cp _build/npm/node_modules/mathjax/es5/tex-svg.js $(VENDOR)/mathjax.js
	@cp _build/npm/node_modules/requirejs/require.js $(VENDOR)/
	@# five parts of it look for their fonts where npm had put them
	@sed 's/\.p=`$${[^`]*`/.p=window.__jupyter_widgets_assets_path__/g' \
		_build/npm/node_modules/@jupyter-widgets/html-manager/dist/embed-amd.js > $(VENDOR)/embed-amd.js
	@cp _build/npm/node_modules/@jupyter-widgets/html-manager/dist/*.woff* $(VENDOR)/
	@cp $(VENV)/share/jupyter/nbextensions/anywidget/index.js $(VENDOR)/anywidget.js
	@touch $@

export FLOWLIB_REPOSITORY
book: setup vendor            ## build the site in _build/html from the stored outputs: no kernel, no network when read
	OMP_NUM_THREADS=1 $(BIN)/python site/build.py

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

# torchcfm and torchdyn ask for torchvision, whose presence breaks diffusers; they run without it
PEERS := $(EXTRAS),bench
NODEPS = torchcfm torchdyn torchcde torchsde trampoline
$(VENV)-bench/.done: pyproject.toml constraints.txt
	@$(call INSTALL,$(VENV)-bench,$(PEERS))
	@if command -v uv >/dev/null 2>&1; \
	then uv pip install -q --python $(VENV)-bench/bin/python --no-deps -c constraints.txt $(NODEPS); \
	else $(VENV)-bench/bin/python -m pip install -q --no-deps -c constraints.txt $(NODEPS); fi
	@touch $@
bench: $(VENV)-bench/.done    ## measure speed against the peers, as ratios in one run; SUITES="flows sampling" for some
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(VENV)-bench/bin/python tests/benchmarks $(SUITES)

clean:                        ## remove what make has made
	rm -rf $(VENV) $(VENV)-bench .pytest_cache .mypy_cache .ruff_cache
