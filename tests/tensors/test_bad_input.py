"""Bad tensors give errors that say what, where and what to do; memory that is short is shared out."""

import numpy as np
import pytest
from _data.estimators import assert_same_state, make_data, run_python, state
from _data.tensors import assert_same_sums, engine, rows_of, tensor_of

from parallel_ridge import (
    BackendUnavailable,
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    TorchBackend,
    get_backend,
    sufficient_statistics,
)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named_by_row_and_column(value, dtype, device):
    X, _, y = rows_of(dtype, device, n=300)
    good = ParallelRidgeClassifier(backend=engine(device)).fit(X, y)
    before = state(good)
    X = X.clone()
    X[217, 4] = value
    for call in (
        lambda: good.fit(X, y),
        lambda: good.predict(X),
        lambda: good.decision_function(X),
        lambda: good.score(X, y),
        lambda: ParallelRidgeClassifierCV(cv=3, backend=engine(device)).fit(X, y),
        lambda: ParallelRidgeClassifierCV(backend=engine(device)).fit(X, y),
        lambda: ParallelRidgeClassifier(backend=engine(device)).fit(X, y, np.ones(300) + 0.5),
        lambda: ParallelRidgeClassifier(backend=engine(device), solver="cg").fit(X, y),
        lambda: ParallelRidgeClassifier(backend=engine(device)).fit(X[210:218].mT.mT, y[210:218]),
    ):
        with pytest.raises(ValueError, match=r"row (217|7), column 4"):
            call()
    assert_same_state(good, before)


def test_values_that_are_too_large_are_named_by_column(device):
    X, _, y = rows_of("float64", device, n=300)
    X = X.clone()
    X[5, 3] = 1e200
    with pytest.raises(ValueError, match="Column 3"):
        ParallelRidgeClassifier(backend=engine(device)).fit(X, y)


def test_gradients_are_left_alone(device):
    X, values, y = rows_of("float64", device, n=100)
    trained = X.clone().requires_grad_()
    model = ParallelRidgeClassifier(backend=engine(device)).fit(trained, y)
    reference = ParallelRidgeClassifier().fit(values, y)
    np.testing.assert_allclose(model.coef_, reference.coef_, 1e-8)
    assert not model.decision_function(trained).requires_grad
    assert trained.grad is None and trained.requires_grad


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_tensors_that_hold_no_rows_of_numbers_are_refused(device):
    import torch

    X, _, y = rows_of("float64", device, n=100)
    model = ParallelRidgeClassifier(backend=engine(device))
    for bad, kind, message in (
        (X.to_sparse_csr(), TypeError, "SciPy's CSR"),
        (X.to_sparse(), TypeError, "SciPy's CSR"),
        (X.to(torch.complex64), ValueError, "Complex data not supported"),
        (X.to(torch.float8_e4m3fn), ValueError, r"float8.*X\.float"),
        (X[:, 0], ValueError, "2D array"),
        (X.reshape(10, 10, 9), ValueError, "dim"),
        (X[:0], ValueError, "0 sample"),
        (X[:50], ValueError, "inconsistent numbers of samples"),
        (X[:, :0], ValueError, "0 feature"),
    ):
        with pytest.raises(kind, match=message):
            model.fit(bad, y)
    model.fit(X, y)
    with pytest.raises(ValueError, match=r"X has 5 features, but .* is expecting 9"):
        model.predict(X[:, :5])
    with pytest.raises(TypeError, match="SciPy's CSR"):
        model.predict(X.to_sparse())


def test_labels_and_weights_are_checked(device):
    X, _, y = rows_of("float64", device, n=100)
    codes = np.unique(y, return_inverse=True)[1]
    model = ParallelRidgeClassifier(backend=engine(device))
    with pytest.raises(ValueError, match="one class only"):
        model.fit(X, tensor_of(np.zeros(100, int), device))
    with pytest.raises(ValueError, match="inconsistent numbers"):
        model.fit(X, tensor_of(codes[:90], device))
    with pytest.raises(ValueError, match="row 7 has -1"):
        model.fit(
            X, tensor_of(codes, device), tensor_of(np.where(np.arange(100) == 7, -1.0, 1), device)
        )
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, tensor_of(np.linspace(0, 1, 100), device))
    with pytest.raises(ValueError, match="y"):
        model.fit(X)


def test_devices_that_do_not_fit_together_are_both_named(monkeypatch):
    import torch

    X, y = (torch.empty((4, 2), device="meta"), torch.zeros(4))
    with pytest.raises(ValueError, match="X is on meta and the backend's device is cpu"):
        TorchBackend(device="cpu")._device_of(X)
    with pytest.raises(ValueError, match="X is on cpu and y on meta"):
        ParallelRidgeClassifier().fit(torch.ones((4, 2)), y.to("meta"))
    with pytest.raises(ValueError, match="is no device of torch"):
        ParallelRidgeClassifier(backend=TorchBackend(device="abacus")).fit(torch.ones((4, 2)), y)
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailable, match="finds no CUDA device"):
            ParallelRidgeClassifier(backend=TorchBackend(device="cuda")).fit(torch.ones((4, 2)), y)


def test_other_backends_say_that_they_read_no_tensors(device):
    X, _, y = rows_of("float64", device, n=100)
    with pytest.raises(ValueError, match=r"X is a Tensor of torch.*'torch' or 'auto'"):
        ParallelRidgeClassifier(backend="openmp").fit(X, y)
    assert type(get_backend("auto", rows=X)).__name__ == "TorchBackend"


def test_a_torch_that_is_too_old_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(BackendUnavailable, match=r"needs torch 2\.6 or later, and 2\.5\.1"):
        ParallelRidgeClassifier(backend="torch").fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_a_device_short_of_memory_gets_smaller_blocks(dtype, device, monkeypatch):
    import torch

    from parallel_ridge.torch import _rows

    X, values, y = rows_of(dtype, device, n=4000)
    largest, given = 500, []
    sent = _rows.TensorBlocks._sent

    def short_of_memory(self, block, copy):
        given.append(len(block.X))
        if len(block.X) > largest:
            raise torch.OutOfMemoryError("the device is full")
        return sent(self, block, copy)

    monkeypatch.setattr(_rows.TensorBlocks, "_sent", short_of_memory)
    found = sufficient_statistics(X, y, backend=engine(device))
    assert max(given) > largest >= given[-1]
    assert_same_sums(found, sufficient_statistics(values, y), 1e-6 if dtype == "float32" else 1e-13)
    largest = 0
    model = ParallelRidgeClassifier(backend=engine(device))
    with pytest.raises(MemoryError, match=r"64 rows x 9 columns .* does not fit"):
        model.fit(X, y)
    assert not hasattr(model, "coef_")


def test_importing_the_library_imports_no_torch():
    code = """
        import sys
        import parallel_ridge
        assert "torch" not in sys.modules
        parallel_ridge.TorchBackend(device="cuda:1")
        assert "torch" not in sys.modules
        parallel_ridge.ParallelRidgeClassifier().fit([[0.0], [1.0]], [0, 1])
        assert "torch" not in sys.modules
    """
    run_python(code)


def test_without_torch_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    X, y = make_data()
    with pytest.raises(BackendUnavailable, match=r"Install parallel-ridge\[torch\]"):
        ParallelRidgeClassifier(backend="torch").fit(X, y)
