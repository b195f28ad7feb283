"""Decision values of rows on a device, and what scores are made from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import CLOSE_TO_ONE, LARGEST_ROUNDED
from parallel_ridge.reductions import (
    AccuracyReduction,
    BandLeverages,
    Confusion,
    ConfusionReduction,
    DecisionReduction,
    Decisions,
    HeldOut,
    LeaveOneOutDecisions,
    PathDecisions,
    SquaredErrorReduction,
    answer_dtype,
)
from parallel_ridge.torch._device import LEAST_ROWS, import_torch
from parallel_ridge.torch._rows import TensorBlock, numpy_of
from parallel_ridge.torch._statistics import NotFinite

# How often a decision value, or a row, is in memory as float64 while it is scored, about.
VALUE_COPIES = 4
ROW_COPIES = 3
# Coordinates of a row that leverages of a penalty take at a time.
BANDWIDTH = 32


class PathValues:
    """`PathDecisions` on a device: products with the coefficients of all penalties.

    Parameters
    ----------
    decisions : PathDecisions
    device : torch.device
    """

    def __init__(self, decisions: PathDecisions, device: Any) -> None:
        self.shape = decisions.shape
        coefs = decisions.linear.coefs
        if coefs is None:  # combinations of a few: here all of them are multiplied
            few: Any = decisions.few.coefs
            assert decisions.combination is not None
            by_penalty = few.reshape(decisions.combination.shape[1], -1)
            coefs = (decisions.combination @ by_penalty).reshape(-1, few.shape[1])
        self.linear = LinearValues(coefs, decisions.linear.intercepts, device)

    def __call__(self, block: TensorBlock) -> Any:
        """Values of shape (m, p, t)."""
        return self.linear(block.X).unflatten(1, self.shape)


class LinearValues:
    """Decision values of rows: products with coefficients, plus intercepts.

    Parameters
    ----------
    coefs : ndarray of shape (v, d)
    intercepts : ndarray of shape (v,)
    device : torch.device
    """

    def __init__(self, coefs: NDArray[Any], intercepts: NDArray[Any], device: Any) -> None:
        self.coefs = import_torch().as_tensor(coefs, device=device)
        self.intercepts = import_torch().as_tensor(intercepts, device=device)

    def __call__(self, X: Any) -> Any:
        """Values of shape (m, v), in the dtype of `answer_dtype`."""
        torch = import_torch()
        single = X.is_floating_point() and X.dtype.itemsize <= 4
        rows = np.dtype(np.float32 if single else np.float64)
        found = answer_dtype(rows, np.dtype(str(self.coefs.dtype).removeprefix("torch.")))
        dtype = torch.float32 if found == np.float32 else torch.float64
        return torch.addmm(self.intercepts.to(dtype), X.to(dtype), self.coefs.to(dtype).T)


class LeaveOneOutValues:
    """`LeaveOneOutDecisions` on a device.

    Parameters
    ----------
    decisions : LeaveOneOutDecisions
    device : torch.device
    """

    def __init__(self, decisions: LeaveOneOutDecisions, device: Any) -> None:
        torch = import_torch()
        self.decisions = decisions
        self.shape = decisions.shape
        self.double = torch.float64
        single = np.dtype(np.float32)
        self.dtype = torch.float32 if decisions.dtype == single else torch.float64
        of_leverages = decisions.leverage_dtype == single
        self.leverage_dtype = torch.float32 if of_leverages else torch.float64

        def there(array: Any) -> Any:
            return torch.as_tensor(array, dtype=self.double, device=device)

        double = np.dtype(np.float64)
        self.axes = there(decisions.coordinates.maps[double].coefs)
        self.coefs = there(decisions.fitted.maps[double].coefs)
        self.left_out = None if decisions.left_out is None else there(decisions.left_out)
        leverages: Any = decisions.leverages
        self.diagonal: Any = None
        self.blocks: Any = None
        if self.left_out is not None:
            self.filtered = there(decisions.filtered.coefs)
        elif isinstance(leverages, BandLeverages):
            self.blocks = [there(blocks) for blocks in leverages.blocks]
        else:
            self.diagonal = there(leverages.fitted)
        self.means = there(decisions.means)
        self.target_means = there(decisions.target_means)

    def __call__(self, block: TensorBlock) -> Any:
        """Values of shape (m, p, t), float64."""
        torch = import_torch()
        members = block.members(self.decisions.n_classes)[:, self.decisions.targets]
        y = (2 * members.to(self.double) - 1)[:, None]
        values, left = self._values(block.X, block.weights, y, self.dtype, self.leverage_dtype)
        if self.leverage_dtype != self.double and len(left):
            least = CLOSE_TO_ONE if self.dtype != self.double else 1.0 - LARGEST_ROUNDED
            (close,) = torch.nonzero(left.amin(1) < least, as_tuple=True)
            if len(close):
                weights = None if block.weights is None else block.weights[close]
                values[close], _ = self._values(
                    block.X[close], weights, y[close], self.double, self.double
                )
        if self.left_out is not None and block.weights is not None:
            # Rows with zero weight take no part in the interpolation.
            (none,) = torch.nonzero(block.weights == 0.0, as_tuple=True)
            rows = block.X[none].to(self.double) - self.means
            values[none] = (rows @ self.coefs.T).unflatten(1, self.shape) + self.target_means
        return values

    def _values(self, X: Any, weights: Any, y: Any, dtype: Any, leverage_dtype: Any) -> Any:
        """Values of left-out rows, and one minus the leverages."""
        torch = import_torch()
        rows = X.to(self.double) - self.means
        a = rows.to(leverage_dtype) @ self.axes.to(leverage_dtype).T
        if self.left_out is None:
            part = self._leverages(a).to(self.double) + self.decisions.mean_leverage
        else:
            part = a.square() @ self.left_out.T
        if weights is not None:
            part *= weights[:, None]
        if self.left_out is not None:
            left = torch.where(part > 0.0, part, torch.ones_like(part))
            errors = (a @ self.filtered.T).unflatten(1, self.shape)
        else:
            # A row that alone determines its own value has leverage 1, up to rounding.
            left = (1.0 - part).clamp(min=float(np.finfo(np.float64).eps))
            fitted = (rows.to(dtype) @ self.coefs.to(dtype).T).to(self.double)
            errors = fitted.unflatten(1, self.shape) + self.target_means - y
        return errors / left[:, :, None] + y, left

    def _leverages(self, a: Any) -> Any:
        """Leverages of rows with coordinates of shape (n, m), without the mean's; shape (n, p)."""
        torch = import_torch()
        if self.blocks is None:
            return a.square() @ self.diagonal.to(a.dtype).T
        # Squared lengths of what the factors' inverses make of rows, block by block.
        inverses, before = (blocks.to(a.dtype) for blocks in self.blocks)
        p, n_blocks, b, _ = inverses.shape
        squares = torch.zeros((p, len(a)), dtype=a.dtype, device=a.device)
        last: Any = None
        for k in range(n_blocks):
            z = torch.matmul(a[:, k * b : (k + 1) * b], inverses[:, k].mT)
            if k:
                z -= torch.matmul(last, before[:, k].mT)
            squares += z.square().sum(2)
            last = z
        return squares.T


VALUES: dict[type, Any] = {PathDecisions: PathValues, LeaveOneOutDecisions: LeaveOneOutValues}


def knows(decisions: Decisions) -> bool:
    """Whether decision values can be formed on a device."""
    return type(decisions) in VALUES


class TensorScores:
    """A reduction of decision values for blocks on a device.

    Parameters
    ----------
    reduction : Reduction
        Has ``decisions``.
    device : torch.device
    block_bytes : int
    n_features : int
    """

    shares_blocks = True

    def __init__(self, reduction: Any, device: Any, block_bytes: int, n_features: int) -> None:
        self.reduction = reduction
        self.device = device
        p, t = reduction.decisions.shape
        self.block_rows = max(
            LEAST_ROWS,
            block_bytes // (8 * (VALUE_COPIES * p * (t + BANDWIDTH) + ROW_COPIES * n_features)),
        )

    def values(self, total: dict[str, Any], block: TensorBlock) -> Any:
        """Decision values of shape (m, p, t); remembers whether they are finite."""
        torch = import_torch()
        values = total["values"](block)
        total["finite"] &= torch.isfinite(values).all()
        return values

    def zero(self, n_threads: int) -> dict[str, Any]:
        """What a fold has so far; the coefficients come to the device only now."""
        torch = import_torch()
        decisions = self.reduction.decisions
        return {
            "values": VALUES[type(decisions)](decisions, self.device),
            "finite": torch.ones((), dtype=torch.bool, device=self.device),
        }

    def finished(self, total: dict[str, Any]) -> dict[str, Any]:
        """The fold; raises `NotFinite` if a value was not finite."""
        if not bool(total["finite"]):
            raise NotFinite
        return total


class TensorAccuracy(TensorScores):
    """`AccuracyReduction` for blocks on a device."""

    reduction: AccuracyReduction

    def add(self, total: dict[str, Any], block: TensorBlock) -> None:
        """Count a block of rows."""
        values = self.values(total, block)
        if block.codes is not None:
            right = classes_of(values) == block.codes[:, None]
        else:
            right = ((values > 0) == block.members(values.shape[2])[:, None]).all(2)
        weighted = self.reduction.weighted and block.weights is not None
        weights = block.weights
        sums = weights @ right.to(weights.dtype) if weighted else right.sum(0)
        total["right"] = total["right"] + sums if "right" in total else sums
        m = float(block.host.weights.sum()) if weighted else len(right)  # type: ignore[union-attr]
        total["rows"] = total.get("rows", 0) + m

    def finish(self, total: dict[str, Any]) -> NDArray[Any]:
        """The counts."""
        counts = self.reduction.zero(1)
        if "right" in total:
            self.finished(total)
            counts[:-1], counts[-1] = numpy_of(total["right"]), total["rows"]
        return counts


class TensorConfusion(TensorScores):
    """`ConfusionReduction` for blocks on a device."""

    reduction: ConfusionReduction

    def add(self, total: dict[str, Any], block: TensorBlock) -> None:
        """Count a block of rows."""
        torch = import_torch()
        codes = classes_of(self.values(total, block))
        p, k = self.reduction.decisions.shape[0], self.reduction.n_classes
        penalties = torch.arange(p, device=codes.device)
        cells = (penalties * k + block.codes.long()[:, None]) * k + codes
        found, where, counts = torch.unique(cells, return_inverse=True, return_counts=True)
        numbers = numpy_of(counts)
        if self.reduction.weighted:
            # Here, in the order of the rows: sums of atomic additions differ from time to time.
            weights = block.host.weights
            weights = np.ones(len(codes)) if weights is None else weights
            numbers = np.bincount(numpy_of(where.ravel()), np.repeat(weights, p), len(found))
        shape = (p, k, k)
        total.setdefault("counts", []).append(Confusion(shape, numpy_of(found), numbers))

    def finish(self, total: dict[str, Any]) -> Confusion:
        """The counts."""
        counts = self.reduction.finish(self.reduction.zero(1))
        for some in self.finished(total).get("counts", ()):
            counts += some
        return counts


class TensorErrors(TensorScores):
    """`SquaredErrorReduction` for blocks on a device."""

    reduction: SquaredErrorReduction

    def add(self, total: dict[str, Any], block: TensorBlock) -> None:
        """Add the errors of a block of rows."""
        torch = import_torch()
        values = self.values(total, block).double()
        members = block.members(self.reduction.n_classes)[:, self.reduction.targets]
        y = 2.0 * members.double() - 1.0
        weights = block.weights
        if weights is None:
            weights = torch.ones(len(y), dtype=torch.float64, device=y.device)
        squares = (values - y[:, None]).square() * weights[:, None, None]
        sums = torch.cat([squares.sum(0), squares.mean(2).square().sum(0)[:, None]], dim=1)
        last = torch.cat([(y * weights[:, None]).sum(0), weights.sum()[None]])[None]
        sums = torch.cat([sums, last])
        total["sums"] = total["sums"] + sums if "sums" in total else sums

    def finish(self, total: dict[str, Any]) -> NDArray[np.float64]:
        """The errors."""
        self.finished(total)
        return numpy_of(total["sums"]) if "sums" in total else self.reduction.zero(1)


class TensorDecisions(TensorScores):
    """`DecisionReduction` for blocks on a device: the values come here."""

    reduction: DecisionReduction

    def add(self, total: dict[str, Any], block: TensorBlock) -> None:
        """Add the values of a block of rows."""
        values = numpy_of(self.values(total, block))
        held = HeldOut(values, block.host.labels, block.host.weights)
        total.setdefault("held", []).append(held)

    def finish(self, total: dict[str, Any]) -> list[HeldOut]:
        """The values."""
        held: list[HeldOut] = self.finished(total).get("held", [])
        return held


def classes_of(values: Any) -> Any:
    """Codes of predicted classes for values of shape (m, p, t): the first largest, or a sign."""
    return values.argmax(2) if values.shape[2] > 1 else (values[..., 0] > 0).long()


SCORES = {
    AccuracyReduction: TensorAccuracy,
    ConfusionReduction: TensorConfusion,
    SquaredErrorReduction: TensorErrors,
    DecisionReduction: TensorDecisions,
}
