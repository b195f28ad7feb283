"""Cholesky factorisations on a device."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from parallel_ridge.torch._device import faithful_products, from_numpy, import_torch, out_of_memory

# Order from which a device factorises sooner than the CPU, although the system travels there and back:
# an H200 solved 768 equations in 8.6 ms, 16 cores in 13.4 ms.
LEAST_ORDER = 640
# Steps of the estimate of a norm, as in LAPACK; two or three are usual.
NORM_STEPS = 5


class DeviceCholesky:
    """Factorise large systems on a device: see `parallel_ridge.solvers.factorising`.

    Parameters
    ----------
    device : torch.device
        With float64.
    """

    def __init__(self, device: Any) -> None:
        self.device = device

    def __call__(self, system: NDArray[Any], norm: float) -> float | None:
        """Overwrite an upper triangle by its factor; return the reciprocal of the condition number."""
        if len(system) < LEAST_ORDER:
            return None
        torch = import_torch()
        here = from_numpy(system)
        try:
            with faithful_products(self.device):
                factor, info = torch.linalg.cholesky_ex(here.to(self.device), upper=True)
                if int(info):
                    return 0.0
                here.copy_(factor)
                return 1.0 / (norm * inverse_norm(factor))
        except out_of_memory():  # the system is as it was
            return None


def inverse_norm(factor: Any) -> float:
    """Estimate the 1-norm of the inverse of ``U^T U``.

    References
    ----------
    Higham (1988), FORTRAN codes for estimating the one-norm of a real or complex matrix, with
    applications to condition estimation, doi:10.1145/50063.214386: what LAPACK does.
    """
    torch = import_torch()
    n = len(factor)

    def solve(x: Any) -> Any:
        return torch.cholesky_solve(x[:, None], factor, upper=True)[:, 0]

    x = torch.full((n,), 1.0 / n, dtype=factor.dtype, device=factor.device)
    largest = 0.0
    for _ in range(NORM_STEPS):
        y = solve(x)
        size = float(y.abs().sum())
        if size <= largest:
            break
        largest = size
        z = solve(torch.where(y >= 0.0, 1.0, -1.0).to(y.dtype))
        place = int(z.abs().argmax())
        if float(z[place].abs()) <= float(z @ x):
            break
        x = torch.zeros_like(x)
        x[place] = 1.0
    steps = torch.arange(n, dtype=factor.dtype, device=factor.device)
    signs = 1.0 - 2.0 * (steps % 2)
    alternating = solve(signs * (1.0 + steps / max(1, n - 1)))
    return max(largest, 2.0 * float(alternating.abs().sum()) / (3.0 * n))
