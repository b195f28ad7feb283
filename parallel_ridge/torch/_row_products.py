"""Products of all pairs of rows, from columns on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from parallel_ridge.numerics import EPSILON
from parallel_ridge.reductions import RowProductReduction, RowProducts
from parallel_ridge.torch._device import import_torch
from parallel_ridge.torch._rows import TensorBlock
from parallel_ridge.torch._statistics import NotFinite, Sums, TensorStatistics


class TensorRowProducts:
    """`RowProductReduction` for blocks of columns on a device.

    Parameters
    ----------
    reduction : RowProductReduction
    device : torch.device
    block_bytes : int
    """

    shares_blocks = True

    def __init__(self, reduction: RowProductReduction, device: Any, block_bytes: int) -> None:
        self.reduction = reduction
        self.sums = TensorStatistics(reduction.sums, device, block_bytes)
        self.block_rows = self.sums.block_rows

    def zero(self, n_threads: int) -> Sums:
        """Products of no columns."""
        return self.sums.zero(n_threads)

    def add(self, total: Sums, block: TensorBlock) -> None:
        """Add the products of a block of columns."""
        if not self.reduction.exact:
            block.X = self._formed(block.X)
        self.sums.add(total, block)

    def finish(self, total: Sums) -> RowProducts:
        """The products."""
        reduction = self.reduction
        sums = self.sums.finish(total)
        K = sums.gram.astype(np.float64, copy=False)
        products = "float64" if reduction.exact else str(reduction.sums.work_dtype)
        return RowProducts(K, sums.rounding, reduction.kind, products)

    def _formed(self, X: Any) -> Any:
        """Columns, as rows, centred and scaled: see `ColumnForm`."""
        torch = import_torch()
        how = self.reduction.how
        X = X.double()
        weights = torch.as_tensor(how.weights / how.weights.sum(), device=X.device)
        # Counted from the heaviest row: if one row has nearly all of the weight, the mean is there.
        away = X - X[:, int(np.argmax(how.weights)), None]
        moved = away @ weights
        means = X[:, int(np.argmax(how.weights))] + moved
        away -= moved[:, None]
        variances = away.square() @ weights
        if not bool(torch.isfinite(variances).all()):
            raise NotFinite
        # Values that differ by their rounding only are constant.
        constant = variances <= (8.0 * EPSILON * means).square()
        if how.centre:
            X = torch.where(constant[:, None], 0.0, away)
        if how.standardize:
            X = X / torch.where(constant, 1.0, variances).sqrt()[:, None]
        single = self.reduction.sums.work_dtype == np.float32
        return X.float() if single else X
