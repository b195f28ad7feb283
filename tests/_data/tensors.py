"""Tensors, and comparisons with arrays."""

import numpy as np
from _data.estimators import make_data
from numpy.testing import assert_array_equal

from parallel_ridge import TorchBackend


def tensor_of(array, device="cpu", dtype=None):
    """A tensor on a device with the values of an array."""
    import torch

    tensor = torch.from_numpy(np.array(array)).to(device)
    return tensor if dtype is None else tensor.to(getattr(torch, dtype))


def values_of(tensor):
    """The values of a tensor in an array; those of bfloat16 in float32."""
    import torch

    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()


def rows_of(dtype, device, n=3000, d=9, target="multiclass", seed=0):
    """A tensor of rows, the same values in an array, and labels."""
    stored = {"bfloat16": "float32"}.get(dtype, dtype)
    X, y = make_data(n, d, target, stored, seed)
    X = tensor_of(X, device, dtype)
    return X, values_of(X), y


def engine(device, **options):
    """The backend that multiplies on a device, also on the CPU."""
    return TorchBackend(device=device, **options)


def assert_same_sums(found, expected, tolerance=1e-12):
    """Statistics with the same sums: to the bit if they are exact."""
    assert found.exact == expected.exact
    assert found.n_samples == expected.n_samples and found.dtype == expected.dtype
    assert_array_equal(found.classes, expected.classes)
    assert_array_equal(found.class_counts, expected.class_counts)
    if expected.exact:
        assert found == expected
        return
    if not np.array_equal(found.shift, expected.shift):
        found = found.reshift(expected.shift)
    np.testing.assert_allclose(found.class_weights, expected.class_weights, 1e-14)
    scale = np.sqrt(expected.gram.diagonal())
    for one, other, size in (
        (np.triu(found.gram), np.triu(expected.gram), np.outer(scale, scale)),
        (found.class_sums, expected.class_sums, scale * expected.weight_sum**0.5),
        (found.feature_sums, expected.feature_sums, scale * expected.weight_sum**0.5),
    ):
        assert (np.abs(one - other) <= tolerance * size + 1e-300).all()
