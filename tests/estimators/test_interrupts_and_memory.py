"""Interrupts, memory, real data and examples."""

import doctest
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from _data.estimators import assert_close, run_python

import parallel_ridge
from parallel_ridge import (
    ParallelRidgeClassifier,
)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT as POSIX does")
@pytest.mark.parametrize(
    ("solver", "dtype"), [("auto", "f8"), ("auto", "u1"), ("svd", "f8"), ("cg", "f8")]
)
def test_an_interrupt_stops_a_fit_within_a_second_and_leaves_it_unfitted(solver, dtype):
    code = """
        import signal, sys
        import numpy as np
        from parallel_ridge import ParallelRidgeClassifier
        signal.signal(signal.SIGINT, signal.default_int_handler)
        row = np.random.default_rng(0).integers(0, 99, 1500).astype(sys.argv[2])
        X = np.broadcast_to(row, (4_000_000, 1500))  # minutes of work in little memory
        y = np.arange(len(X), dtype=np.uint32) % 3
        model = ParallelRidgeClassifier(n_jobs=1, solver=sys.argv[1])
        print("fitting", flush=True)
        try:
            model.fit(X, y)
        except KeyboardInterrupt:
            print("stopped", sorted(vars(model)) == sorted(model.get_params()), flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code), solver, dtype],
        stdout=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(60, child.kill)
    guard.start()
    try:
        assert child.stdout.readline() == "fitting\n"
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        start = time.perf_counter()
        assert child.stdout.readline() == "stopped True\n"
        assert time.perf_counter() - start < 3  # one second on a machine with nothing else to do
    finally:
        guard.cancel()
        child.kill()
        child.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_neither_fit_nor_predict_copies_the_rows():
    code = """
        import numpy as np
        from parallel_ridge import ParallelRidgeClassifier

        def mebibytes(name):
            with open("/proc/self/status") as status:
                (line,) = (line for line in status if line.startswith(name + ":"))
            return int(line.split()[1]) / 1024

        X = np.random.default_rng(0).integers(0, 256, (60_000, 784), dtype=np.uint8)
        y = np.arange(60_000) % 10
        model = ParallelRidgeClassifier()
        before = mebibytes("VmRSS")
        model.fit(X, y)
        print(mebibytes("VmHWM") - before)
        model.predict(X)
        print(mebibytes("VmHWM") - before)
    """
    by_fit, by_predict = map(float, run_python(code).split())
    assert by_fit < 60  # as float64 the rows take 359
    assert by_predict < 60


def test_mnist_is_as_accurate_as_with_scikit_learn(mnist):
    model = ParallelRidgeClassifier(alpha=1).fit(mnist.data, mnist.target)
    assert model.score(mnist.data_test, mnist.target_test) >= 0.8602
    floats = ParallelRidgeClassifier(alpha=1).fit(mnist.data.astype(np.float64), mnist.target)
    assert_close(floats.coef_, model.coef_)
    assert_close(floats.intercept_, model.intercept_)


def test_the_demonstration_runs_on_the_digits_of_scikit_learn(tmp_path):
    pytest.importorskip("matplotlib")
    demo = Path(__file__).parents[2] / "examples" / "demo.py"
    if not demo.exists():
        pytest.skip("the examples are not beside the tests")
    (tmp_path / "run").mkdir()
    (tmp_path / "empty").mkdir()
    printed = run_python(
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')",
        demo,
        cwd=tmp_path / "run",
        PARALLEL_RIDGE_DATA=str(tmp_path / "empty"),
        SCIKIT_LEARN_DATA=str(tmp_path / "empty"),
    )
    assert "Digits of scikit-learn (MNIST was not found" in printed
    assert "ParallelRidgeClassifier" in printed and "Hands: skipped" in printed
    for name in ("class_weights.png", "confusion_matrix.png"):
        picture = tmp_path / "run" / "demo_output" / name
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5000


MODULES = [m.name for m in pkgutil.walk_packages(parallel_ridge.__path__, "parallel_ridge.")]


@pytest.mark.parametrize("name", ["parallel_ridge", *MODULES])
def test_examples_in_docstrings_are_true(name):
    if name.endswith("plotting"):
        pytest.importorskip("matplotlib").use("Agg")
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_sparse_float32_columns_far_from_zero_are_no_constants():
    rng = np.random.default_rng(0)
    X = (2000 + rng.choice([-1, 1], size=(300, 4))).astype(np.float32)
    y = (X[:, 0] > 2000) * 1
    sparse = ParallelRidgeClassifier().fit(sp.csr_matrix(X), y)
    assert sparse.solver_ == "cholesky"
    assert_close(sparse.coef_, ParallelRidgeClassifier().fit(X.astype("d"), y).coef_, 1e-6)
