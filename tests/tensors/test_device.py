"""Settings of the process are put back, and copies keep their order."""

import threading

import numpy as np
import pytest

from parallel_ridge import ParallelRidgeClassifier
from parallel_ridge.torch._device import copied_ahead, faithful_products, from_numpy


@pytest.fixture
def cpu():
    import torch

    return torch.device("cpu")


def precision():
    import torch

    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cuda.matmul.allow_fp16_accumulation,
    )


@pytest.mark.parametrize("chosen", ["highest", "high", "medium"])
def test_precision_is_put_back(chosen, cpu):
    import torch

    before = precision()
    try:
        torch.set_float32_matmul_precision(chosen)
        own = precision()
        with faithful_products(cpu):
            with faithful_products(cpu):
                assert torch.backends.cuda.matmul.fp32_precision in ("ieee", "none")
            assert torch.backends.mkldnn.matmul.fp32_precision in ("ieee", "none")
        assert precision() == own
        with pytest.raises(ZeroDivisionError), faithful_products(cpu):
            raise ZeroDivisionError
        assert precision() == own
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert precision() == before


def test_precision_waits_for_the_last_thread(cpu):
    import torch

    torch.set_float32_matmul_precision("high")
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with faithful_products(cpu):
            inside.set()
            leave.wait(10)

    try:
        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait(10)
        with faithful_products(cpu):
            pass
        assert torch.backends.cuda.matmul.fp32_precision in ("ieee", "none")
        leave.set()
        thread.join()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_autocast_does_not_reach_in(device):
    import torch

    X = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
    y = np.arange(500) % 3
    rows = torch.from_numpy(X).to(device)
    from _data.tensors import engine

    expected = ParallelRidgeClassifier(backend=engine(device)).fit(rows, y)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = ParallelRidgeClassifier(backend=engine(device)).fit(rows, y)
        values = found.decision_function(rows)
    assert np.array_equal(found.coef_, expected.coef_)
    assert values.dtype == torch.float32


@pytest.mark.parametrize("size", [0, 1, 2, 5, 9])
def test_blocks_arrive_in_order(size, device):
    import torch

    arrays = [np.full((1000, 50), i, np.float32) for i in range(size)]
    there = torch.device(device, 0) if device == "cuda" else torch.device(device)
    sent = copied_ahead(arrays, lambda array, copy: copy(from_numpy(array)), there)
    for i, tensor in enumerate(sent):
        assert tensor.device == there
        assert bool((tensor == i).all())
    assert size == 0 or i == size - 1
