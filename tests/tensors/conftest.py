"""Devices of tensors. This folder is not named torch: without torch, `import torch` would find it."""

import pytest

try:
    import torch

    DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
except ImportError:
    DEVICES = ["cpu"]


def pytest_collection_modifyitems(items):
    try:
        import torch  # noqa: F401
    except ImportError as error:
        reason = f"torch cannot be imported ({error}): make test-torch installs it"
        for item in items:
            if "tensors" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=DEVICES)
def device(request):
    """A device that multiplies: the CPU takes the paths of a GPU, too."""
    return request.param


@pytest.fixture
def integer_units(monkeypatch):
    """Integer matrix units, as GPUs have them: torch multiplies bytes on the CPU, too."""
    monkeypatch.setattr("parallel_ridge.torch._statistics.multiplies_bytes", lambda device: True)


@pytest.fixture
def half_units(monkeypatch, device):
    """Products of halves with float32 sums: on the CPU they are formed of float32 copies."""
    if device != "cpu":
        return
    import torch

    def multiply(self, a, b):
        return torch.bmm(a.float(), b.float())

    monkeypatch.setattr("parallel_ridge.torch._statistics.multiplies_halves", lambda device: True)
    monkeypatch.setattr("parallel_ridge.torch._statistics.TensorStatistics._multiply", multiply)
