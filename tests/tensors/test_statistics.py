"""Statistics formed on a device are those of the kernels: of integers to the bit."""

import numpy as np
import pytest
from _data.estimators import TARGETS, make_data, weights_of
from _data.tensors import assert_same_sums, engine, rows_of, tensor_of, values_of
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ridge import TorchBackend, sufficient_statistics
from parallel_ridge.torch import _statistics

INTEGERS = ("uint8", "int8", "bool", "int16")
TOLERANCES = {"float64": 1e-13, "float32": 3e-7, "float16": 3e-7, "bfloat16": 3e-7}


def both(X, values, y, device, weights=None, **options):
    """Statistics on the device, and those of the kernels."""
    found = sufficient_statistics(X, y, sample_weight=weights, backend=engine(device, **options))
    return found, sufficient_statistics(values, y, sample_weight=weights)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_have_the_same_bits(dtype, target, device):
    X, values, y = rows_of(dtype, device, target=target)
    for rows in (X, values, X[::3], X.T.contiguous().T):
        found = sufficient_statistics(rows, y[: len(rows)], backend=engine(device))
        expected = sufficient_statistics(
            values[::3] if len(rows) < 3000 else values, y[: len(rows)]
        )
        assert expected.exact
        assert_same_sums(found, expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1003, 17), (300, 40)])
def test_integer_units_give_the_same_bits(shape, dtype, target, device, integer_units):
    n, d = shape
    rng = np.random.default_rng(n)
    high = {"uint8": 256, "int8": 128, "bool": 2}[dtype]
    values = rng.integers(-128 if dtype == "int8" else 0, high, (n, d)).astype(dtype)
    values[0] = high - 1
    _, y = make_data(n + 10, 2, target)
    found, expected = both(tensor_of(values, device), values, y[:n], device)
    assert_same_sums(found, expected)


def test_the_largest_bytes_do_not_overflow(device, integer_units):
    rows = _statistics.BYTE_ROWS + 100
    for value in (0, 255):
        values = np.full((rows, 3), value, np.uint8)
        y = np.arange(rows) % 2
        found, expected = both(tensor_of(values, device), values, y, device)
        assert_same_sums(found, expected)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 400),
    d=st.integers(1, 30),
    k=st.integers(2, 9),
    block=st.integers(10, 20),
    seed=st.integers(0, 9),
)
def test_blocks_of_any_size_give_the_same_bits(n, d, k, block, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (n, d)).astype(np.uint8)
    y = rng.integers(0, k, n)
    found, expected = both(tensor_of(values), values, y, "cpu", block_bytes=2**block)
    assert_same_sums(found, expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_floats_have_the_same_sums(dtype, target, weighted, device):
    X, values, y = rows_of(dtype, device, target=target)
    weights = weights_of(len(y)) if weighted else None
    for rows in (X, values):
        found, expected = both(rows, values, y, device, weights, block_bytes=2**16)
        assert_same_sums(found, expected, TOLERANCES[dtype])
        if dtype != "float64":
            assert np.all(found.rounding >= expected.rounding)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_halves_are_multiplied_about_zero_and_moved(dtype, mean, device, half_units):
    rng = np.random.default_rng(0)
    X = tensor_of(rng.normal(mean, 1.0, (9000, 20)), device, dtype)
    y = rng.integers(0, 3, 9000)
    found, expected = both(X, values_of(X), y, device)
    exact = sufficient_statistics(values_of(X).astype(np.float64), y)
    assert np.array_equal(found.shift, expected.shift)
    assert_same_sums(found, expected, 1e-5)
    error = np.abs((found.gram - exact.reshift(found.shift).gram).diagonal())
    assert (error <= 4 * found.rounding).all()


def test_halves_keep_their_digits_in_columns_far_from_zero(device, half_units):
    rng = np.random.default_rng(1)
    X = rng.normal(0.0, 1.0, (5000, 6))
    X[:, 0] += 1000.0
    X = tensor_of(X, device, "float16")
    y = rng.integers(0, 2, 5000)
    found, _ = both(X, values_of(X), y, device)
    exact = sufficient_statistics(values_of(X).astype(np.float64), y)
    away = np.abs(np.triu(found.reshift(exact.shift).gram - exact.gram))
    scale = np.sqrt(exact.gram.diagonal())
    assert (away <= 1e-4 * np.outer(scale, scale)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "float16", "bfloat16"])
def test_small_integers_in_wide_rows_are_summed_exactly(dtype, device):
    rng = np.random.default_rng(2)
    values = rng.integers(0, 200, (5000, 7))
    y = rng.integers(0, 3, 5000)
    X = tensor_of(values, device, dtype)
    bytes_of = sufficient_statistics(values.astype(np.uint8), y)
    found = sufficient_statistics(X, y, backend=engine(device))
    assert found.exact and np.array_equal(np.triu(found.gram), np.triu(bytes_of.gram))
    # Halves of one block of rows break the rule, and only there are sums rounded.
    mixed = values_of(X).copy()
    if mixed.dtype.kind == "f":
        mixed[4000, 3] += 0.5
        found, expected = both(tensor_of(mixed, device), mixed, y, device, block_bytes=2**17)
        assert_same_sums(found, expected, 3e-7 if mixed.dtype != np.float64 else 1e-13)


def test_columns_far_from_zero_are_shifted(device):
    rng = np.random.default_rng(3)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
        values = rng.normal(1e4, 1.0, (4000, 5)).astype(dtype)
        y = rng.integers(0, 2, 4000)
        found, expected = both(tensor_of(values, device), values, y, device)
        assert np.array_equal(found.shift, expected.shift)
        assert_same_sums(found, expected, tolerance)


def test_many_columns_are_summed_in_tiles(device, monkeypatch):
    monkeypatch.setattr(_statistics, "TILES", ((1000, 16),))
    for dtype in ("float64", "uint8"):
        X, values, y = rows_of(dtype, device, n=500, d=75)
        found, expected = both(X, values, y, device)
        assert_same_sums(found, expected, 1e-13)


def test_labels_may_be_in_a_tensor(device):
    X, values, _ = rows_of("float64", device, n=500)
    rng = np.random.default_rng(4)
    for labels in (
        rng.integers(-5, 5, 500).astype(np.int8),
        rng.integers(0, 2, 500).astype(bool),
        rng.integers(0, 3, 500) * 2**40,
        rng.integers(0, 3, 500).astype(np.uint8),
    ):
        found, expected = both(X, values, tensor_of(labels, device), device), None
        expected = sufficient_statistics(values, labels)
        assert_same_sums(found[0], expected, 1e-13)
        assert found[0].classes.dtype == expected.classes.dtype
    classes = [0, 1, 2, 3]
    y = tensor_of(labels, device)
    found = sufficient_statistics(X, y, classes=classes, backend=engine(device))
    assert found.class_counts.tolist()[3] == 0
    with pytest.raises(ValueError, match="not in classes"):
        sufficient_statistics(X, y, classes=[0, 1], backend=engine(device))


def test_tensors_on_the_cpu_are_read_by_the_kernels():
    for dtype in ("float64", "float32", "uint8", "bfloat16"):
        X, values, y = rows_of(dtype, "cpu")
        assert sufficient_statistics(X, y) == sufficient_statistics(values, y)
    assert TorchBackend()._device_of(X) is None
    assert str(TorchBackend(device="cpu")._device_of(X)) == "cpu"


def test_read_only_and_odd_arrays_are_read(device):
    X, y = make_data(200, 5)
    expected = sufficient_statistics(X, y)
    fixed = X.copy()
    fixed.flags.writeable = False
    for rows in (fixed, X[::-1][::-1], X.astype(">f8"), np.asfortranarray(X), X[:, ::-1][:, ::-1]):
        found = sufficient_statistics(rows, y, backend=engine(device))
        assert_same_sums(found, expected, 1e-13)


def test_no_rows_have_sums_of_zero(device):
    X = tensor_of(np.empty((0, 3)), device)
    found = sufficient_statistics(X, np.empty(0), classes=[0, 1], backend=engine(device))
    assert found == sufficient_statistics(np.empty((0, 3)), np.empty(0), classes=[0, 1])
