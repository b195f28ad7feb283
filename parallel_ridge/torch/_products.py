"""Moments of rows on a device, and the products of iterative solvers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.reductions import Moments, MomentsReduction, NormalProductReduction
from parallel_ridge.torch._device import LEAST_ROWS, import_torch
from parallel_ridge.torch._rows import TensorBlock, numpy_of
from parallel_ridge.torch._statistics import DOUBLE_ROWS, NotFinite, add_up, batches


def add_products(total: Any, left: Any, right: Any) -> None:
    """Add ``left^T right`` to a total, in pieces that give all processors of a GPU work."""
    for A, B in zip(batches(left, DOUBLE_ROWS), batches(right, DOUBLE_ROWS), strict=True):
        add_up(total, import_torch().bmm(A.mT, B))


class TensorNormalProduct:
    """`NormalProductReduction` for blocks on a device: products of float64 rows, centred.

    Parameters
    ----------
    reduction : NormalProductReduction
    device : torch.device
    block_bytes : int
    """

    shares_blocks = True

    def __init__(self, reduction: NormalProductReduction, device: Any, block_bytes: int) -> None:
        self.reduction = reduction
        self.device = device
        d, t = reduction.V.shape
        self.block_rows = max(LEAST_ROWS, block_bytes // (8 * 2 * (d + t)))

    def zero(self, n_threads: int) -> dict[str, Any]:
        """Sums of no rows; V and the means come to the device only now."""
        torch = import_torch()
        place = {"dtype": torch.float64, "device": self.device}
        reduction = self.reduction
        total = {
            "V": torch.as_tensor(reduction.V, **place),
            "mean": torch.as_tensor(reduction.mean, **place),
            "sums": torch.zeros_like(torch.as_tensor(reduction.zero(1), **place)),
        }
        if reduction.target_means is not None:
            total["target_means"] = torch.as_tensor(reduction.target_means, **place)
        return total

    def add(self, total: dict[str, Any], block: TensorBlock) -> None:
        """Add a block of rows."""
        centred = self.reduction.centred
        rows = block.X - total["mean"] if centred else block.X.double()
        products = rows @ total["V"]
        if not centred:
            products -= total["mean"] @ total["V"]
        if "target_means" in total:
            members = block.members(self.reduction.n_classes)[:, self.reduction.targets]
            products = 2.0 * members.double() - 1.0 - total["target_means"] - products
        if block.weights is not None:
            products *= block.weights[:, None]
        add_products(total["sums"][:-3], rows, products)
        total["sums"][-3 if centred else -2] += products.sum(0)

    def finish(self, total: dict[str, Any]) -> NDArray[np.float64]:
        """The product, in the scaled features."""
        return self.reduction.finish(numpy_of(total["sums"]))


class TensorMoments:
    """`MomentsReduction` for blocks on a device.

    Parameters
    ----------
    reduction : MomentsReduction
    device : torch.device
    block_bytes : int
    """

    shares_blocks = True

    def __init__(self, reduction: MomentsReduction, device: Any, block_bytes: int) -> None:
        self.reduction = reduction
        self.device = device
        self.block_rows = max(LEAST_ROWS, block_bytes // (8 * 3 * len(reduction.shift)))

    def zero(self, n_threads: int) -> dict[str, Any]:
        """Moments of no rows."""
        torch = import_torch()
        place = {"dtype": torch.float64, "device": self.device}
        d, k = len(self.reduction.shift), self.reduction.n_classes
        return {
            "rows": 0,
            "shift": torch.as_tensor(self.reduction.shift, **place),
            "weights": torch.zeros(k + 1, **place),
            "sums": torch.zeros((k + 2, d), **place),
        }

    def add(self, total: dict[str, Any], block: TensorBlock) -> None:
        """Add a block of rows."""
        torch = import_torch()
        X = block.X - total["shift"]
        members = block.members(self.reduction.n_classes).double()
        members = torch.cat([members, members.new_ones((len(X), 1))], dim=1)
        if block.weights is not None:
            members *= block.weights[:, None]
        total["rows"] += len(X)
        total["weights"] += members.sum(0)
        add_products(total["sums"][:-1], members, X)
        total["sums"][-1] += members[:, -1] @ X.square()

    def finish(self, total: dict[str, Any]) -> Moments:
        """The moments."""
        weights, sums = numpy_of(total["weights"]), numpy_of(total["sums"])
        if not np.isfinite(sums).all():
            raise NotFinite
        return Moments(
            total["rows"], float(weights[-1]), weights[:-1], sums[-2], sums[-1], sums[:-2]
        )


PRODUCTS = {NormalProductReduction: TensorNormalProduct, MomentsReduction: TensorMoments}
