"""Pages, notebooks and the backend of the pages do what they say."""

import doctest
import json
import os
import pickle
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    sufficient_statistics,
)
from parallel_ridge.backends import Backend, Request, get_backend
from parallel_ridge.datasets import find_data

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

if not PAGES:
    pytest.skip("the pages are not beside the tests", allow_module_level=True)


@pytest.fixture(autouse=True)
def no_screen():
    """Pages draw without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def sessions(page):
    """The Python sessions of a page as one text, whose lines keep their numbers."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for fence in FENCE.finditer(text):
        if fence[1].startswith(">>>"):
            start = text.count("\n", 0, fence.start(1))
            code = fence[1].splitlines()
            lines[start : start + len(code)] = code
    return "\n".join(lines)


@pytest.mark.parametrize("page", [p for p in PAGES if ">>>" in sessions(p)], ids=lambda p: p.stem)
def test_sessions_of_pages_are_true(page):
    for package in ("torch", "aeon"):
        if re.search(rf"(import|from) {package}\b", sessions(page)) and find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make test-torch installs it")
    test = doctest.DocTestParser().get_doctest(sessions(page), {}, page.name, str(page), 0)
    assert test.examples
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test)
    assert runner.failures == 0


def test_the_code_of_the_readme_runs(capsys):
    blocks = FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks
    exec("\n".join(blocks), {})
    assert capsys.readouterr().out


def test_links_between_pages_lead_somewhere():
    for page in [*PAGES, *ROOT.glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            generated = link.startswith("gallery/")  # by the build, from the examples
            target = page.parent / link
            if generated:
                target = ROOT / "examples" / Path(link).with_suffix(".py").name
            assert target.exists(), f"{page.name} links to {link}"


# ------------------------------------------------------------------------------------------------
# Examples and notebooks
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run_where_there_is_no_data(example, tmp_path):
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "PARALLEL_RIDGE_DATA": str(tmp_path / "empty"),
        "SCIKIT_LEARN_DATA": str(tmp_path / "empty"),
    }
    command = [sys.executable, "-W", "ignore", str(example)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "not found" in run.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_kept_without_outputs(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.parametrize("data", ["real", "none"])
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_run(notebook, data, tmp_path):
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    folder = find_data("hands" if notebook.stem == "photographs" else "mnist")
    if data == "real" and folder is None:
        pytest.skip("its data is not on this machine (PARALLEL_RIDGE_DATA)")
    program = (
        "import sys, nbformat, nbclient\n"
        "notebook = nbformat.read(sys.argv[1], 4)\n"
        "nbclient.NotebookClient(notebook, timeout=300).execute()\n"
        "nbformat.write(notebook, 'run.ipynb')\n"
    )
    home = tmp_path / "empty" if data == "none" else folder.parent
    environment = {
        **os.environ,
        "PARALLEL_RIDGE_DATA": str(home),
        "SCIKIT_LEARN_DATA": str(tmp_path / "empty"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    command = [sys.executable, "-W", "ignore", "-c", program, str(notebook)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    outputs = [
        output
        for cell in json.loads((tmp_path / "run.ipynb").read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", [])
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not any(output.get("name") == "stderr" for output in outputs), outputs


# ------------------------------------------------------------------------------------------------
# The backend of "Writing a backend", on Dask
# ------------------------------------------------------------------------------------------------


@pytest.fixture
def backend():
    """The backend of the page, with more than one task for few rows."""
    pytest.importorskip("dask.array")
    from dask_backend import DaskBackend

    return DaskBackend(n_parts=3)


def rows_of(kind, n=900, d=6, seed=0):
    """Rows of a kind, with labels and weights."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 100, size=(n, d))
    y = np.array(["a", "b", "c"])[(X @ rng.normal(size=(d, 3)) + rng.normal(size=(n, 3))).argmax(1)]
    if kind in ("bytes", "integers"):
        X = X.astype(np.uint8 if kind == "bytes" else np.float64)
    else:
        X = X + rng.normal(size=(n, d))
    X = X.astype(np.float32) if kind == "float32" else X
    if kind == "csr":
        X = sp.csr_matrix(X * (X > 60))
    return X, y, rng.uniform(0.5, 2.0, size=n)


def in_dask(X):
    """The rows as a Dask array, in chunks that are no blocks of ours."""
    import dask.array

    return dask.array.from_array(X, chunks=(170, -1))


def small_blocks(monkeypatch):
    """Let few rows be many blocks."""
    from parallel_ridge.reductions import QRReduction

    monkeypatch.setattr(QRReduction, "block_rows", 64, raising=False)


def test_the_backend_of_the_page_is_one(backend):
    assert isinstance(backend, Backend)
    assert get_backend(backend) is backend
    again = pickle.loads(pickle.dumps(backend))
    assert vars(again) == vars(backend)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["bytes", "integers", "float32", "float64", "csr"])
def test_dask_folds_to_the_statistics_of_threads(backend, kind, weighted, lazy, monkeypatch):
    small_blocks(monkeypatch)
    X, y, weights = rows_of(kind)
    if lazy and kind == "csr":
        return  # Dask arrays are dense
    weights = weights if weighted else None
    expected = sufficient_statistics(X, y, sample_weight=weights)
    rows = in_dask(X) if lazy else X
    found = sufficient_statistics(rows, y, sample_weight=weights, backend=backend)
    if kind in ("bytes", "integers") and not weighted:
        assert found == expected
        assert found.exact
    tolerance = 1e-5 if kind == "float32" else 1e-12
    upper = np.triu_indices(X.shape[1])
    for name in ("gram", "feature_sums", "class_sums", "class_counts", "class_weights"):
        a, b = (np.asarray(getattr(s, name), dtype=float) for s in (found, expected))
        if name == "gram":
            a, b = a[upper], b[upper]
        assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()), err_msg=name)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("solver", ["cholesky", "eigen", "svd", "dual", "cg"])
def test_dask_fits_as_threads_do(backend, solver, lazy):
    X, y, weights = rows_of("float64", n=60)
    model = ParallelRidgeClassifier(solver=solver, standardize=True, class_weight="balanced")
    expected = clone(model).fit(X, y, sample_weight=weights)
    found = clone(model).set_params(backend=backend)
    found.fit(in_dask(X) if lazy else X, y, sample_weight=weights)
    assert_allclose(found.coef_, expected.coef_, rtol=1e-9, atol=1e-12)
    assert_allclose(found.intercept_, expected.intercept_, rtol=1e-9, atol=1e-12)
    assert_array_equal(found.predict(in_dask(X) if lazy else X), expected.predict(X))
    assert found.score(in_dask(X) if lazy else X, y) == expected.score(X, y)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("options", [{"cv": None}, {"cv": 4}, {"cv": 4, "scoring": "r2"}], ids=str)
def test_dask_searches_as_threads_do(backend, options, lazy):
    X, y, _ = rows_of("bytes")
    search = ParallelRidgeClassifierCV(np.logspace(0, 6, 7), probability=True, **options)
    expected = clone(search).fit(X, y)
    found = clone(search).set_params(backend=backend).fit(in_dask(X) if lazy else X, y)
    assert found.alpha_ == expected.alpha_
    for name in ("mean_test_score", "std_test_score"):
        a, b = found.cv_results_[name], expected.cv_results_[name]
        assert_allclose(a, b, rtol=1e-10, equal_nan=True)
    assert_allclose(found.coef_, expected.coef_, rtol=1e-10)
    assert_allclose(found.probability_scale_, expected.probability_scale_, rtol=1e-6)


def test_dask_goes_on_from_batches(backend):
    X, y, _ = rows_of("bytes")
    model = ParallelRidgeClassifier(backend=backend)
    for some in np.array_split(np.arange(len(X)), 4):
        model.partial_fit(in_dask(X)[some], y[some])
    assert_array_equal(model.coef_, ParallelRidgeClassifier().fit(X, y).coef_)


@pytest.mark.parametrize("lazy", [False, True])
def test_dask_names_the_row_that_is_bad_and_changes_nothing(backend, lazy, monkeypatch):
    small_blocks(monkeypatch)
    X, y, _ = rows_of("float64")
    X[777, 2] = np.nan
    model = ParallelRidgeClassifier(backend=backend)
    with pytest.raises(ValueError, match=r"row 777, column 2"):
        model.fit(in_dask(X) if lazy else X, y)
    assert not hasattr(model, "coef_")
    with pytest.raises(ValueError, match=r"X has 900 rows|inconsistent numbers of samples|labels"):
        model.fit(in_dask(X) if lazy else X, y[:-1])


def test_dask_folds_no_rows_to_zero(backend):
    X, y, _ = rows_of("bytes")
    empty = sufficient_statistics(X[:0], y[:0], classes=["a", "b", "c"], backend=backend)
    assert empty.n_samples == 0 and not empty.gram.any()


def test_dask_gives_a_value_to_groups_without_rows(backend):
    from parallel_ridge.reductions import GroupedReduction, StatisticsReduction

    X, y, _ = rows_of("bytes")
    source, target = backend.source(Request(X, y))
    reduction = GroupedReduction([StatisticsReduction.of(source, target)] * 3)
    source = source.grouped(np.arange(len(X)) % 2, [0, 2])  # nothing in the middle
    values = backend.reduce(reduction, source)
    expected = get_backend("openmp").reduce(reduction, source)
    assert [value.n_samples for value in values] == [450, 0, 450]
    assert all(a == b for a, b in zip(values, expected, strict=True))
