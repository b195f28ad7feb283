"""Sufficient statistics of rows on a device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.numerics import EXACT_LIMIT, FAR, LARGEST_SUM, ROUNDING
from parallel_ridge.reductions import PartialSums, StatisticsReduction
from parallel_ridge.statistics import SufficientStatistics, fold_rounding
from parallel_ridge.torch._device import (
    LEAST_ROWS,
    has_float64,
    import_torch,
    multiplies_bytes,
    multiplies_doubles,
    multiplies_halves,
)
from parallel_ridge.torch._rows import TensorBlock, TensorLabels, numpy_of

# Rows whose products are summed in float32 before the sum joins a float64 total. Halves are summed by
# tensor cores, and each sum must be worth the time to write it: 4,096 rows of 768 features take seven
# times as long to multiply as their sum takes to write and to add. Sums of float64 products are as long
# as a GPU needs to have work for all of its processors.
FLOAT_ROWS = (64, 1024)
HALF_ROWS = 4096
DOUBLE_ROWS = 2048
# Rows of bytes per product: 2^16 products of at most 2^14 fit in int32.
BYTE_ROWS = 2**16
# Columns per tile by the number of columns: only tiles on and above the diagonal are formed.
TILES = ((512, 512), (1024, 256), (2048, 512))
LARGEST_TILE = 1024


class TooFewDigits(Exception):
    """Sums of halves about zero that leave too few digits about the shift of a column."""


class NotFinite(Exception):
    """Sums that are not finite: the kernels of the CPU find the row, or hold the sum after all."""


@dataclass
class Sums:
    """Accumulator of `TensorStatistics`.

    Attributes
    ----------
    sums : torch.Tensor of shape (d + s, d), int64 or float64
        The Gram matrix, tiles on and above the diagonal, above the sums of classes; for multilabel
        targets the last row is that of all rows.
    counts : torch.Tensor of shape (k,), int64
        Rows of each class, as far as they were counted on the device.
    class_counts, class_weights : ndarray of shape (k,)
        Those that were counted here.
    n_samples : int
    weight_sum : float
    exact : Sums, or None
        Sums of blocks that hold small integers only, if others were summed, too.
    bound : int
        The largest that elements of exact sums of these can be.
    """

    sums: Any
    counts: Any
    class_counts: NDArray[np.int64]
    class_weights: NDArray[np.float64]
    n_samples: int = 0
    weight_sum: float = 0.0
    exact: Sums | None = None
    bound: int = 0

    @property
    def gram(self) -> Any:
        """The Gram matrix."""
        return self.sums[: self.sums.shape[1]]

    @property
    def class_sums(self) -> Any:
        """The sums of classes."""
        return self.sums[self.sums.shape[1] :]


class TensorStatistics:
    """`StatisticsReduction` for blocks on a device; gives the same values.

    Integers have the same sums, to the bit. Rows of half precision are multiplied as they are, about
    zero, by devices that sum such products in float32; the sums then move to the shift.

    Parameters
    ----------
    reduction : StatisticsReduction
    device : torch.device
    block_bytes : int
        Memory for what a block needs besides its rows.
    half : bool
        Whether rows are of half precision, and may be multiplied as they are.
    n_rows : int
        About how many rows there will be.
    """

    shares_blocks = True

    def __init__(
        self,
        reduction: StatisticsReduction,
        device: Any,
        block_bytes: int,
        half: bool = False,
        n_rows: int = 2**20,
    ) -> None:
        torch = import_torch()
        self.reduction = reduction
        self.device = device
        self.home = device if has_float64(device) else torch.device("cpu")
        self.coarse = half and not reduction.exact
        self.half = self.coarse and multiplies_halves(device)
        single = reduction.work_dtype == np.float32
        # Float64 products of float32 rows are exact, where they take no longer.
        self.single = single and (self.half or not multiplies_doubles(device))
        d, width = reduction.n_features, reduction.n_features + reduction.n_sums
        if self.half:
            self.sum_rows = HALF_ROWS
        elif self.single:  # so few that their sums round about as much as one float32 operation
            few, many = FLOAT_ROWS
            self.sum_rows = max(few, min(many, 1 << int(4.0 * n_rows**0.5).bit_length() >> 1))
        else:
            self.sum_rows = DOUBLE_ROWS if d <= DOUBLE_ROWS else 4 * DOUBLE_ROWS
        # Halves are read where they are; other rows are converted or moved to the shift first.
        in_bytes = reduction.exact and reduction.work_dtype.itemsize == 1
        itemsize = 2 if in_bytes and multiplies_bytes(device) else 4 if self.single else 8
        row_bytes = 3 * reduction.n_sums + 6 * d * tile_of(d) // self.sum_rows
        row_bytes += 0 if self.half else itemsize * (width + d * tile_of(d) // self.sum_rows)
        rows = max(block_bytes // row_bytes, LEAST_ROWS)
        if rows > self.sum_rows:
            rows = rows // self.sum_rows * self.sum_rows
        bytes_expected = reduction.exact or reduction.integers is not None
        self.block_rows = min(rows, BYTE_ROWS) if bytes_expected else rows

    def zero(self, n_threads: int) -> Sums:
        """Sums of no rows."""
        return self._zero(exact=self.reduction.exact)

    def add(self, total: Sums, block: TensorBlock) -> None:
        """Add a block of rows."""
        X, weights = block.X, block.host.weights
        if self.reduction.exact:
            if weights is not None:
                raise ValueError("Rows with weights cannot be folded into exact sums of integers.")
            self._add_integers(total, block, X, largest_of(X.dtype))
        elif not self._add_exactly(total, block):
            self._add_floats(total, block)

    def finish(self, total: Sums) -> SufficientStatistics:
        """Statistics of the rows added so far."""
        reduction = self.reduction
        if self.half and reduction.shift.any():  # the sums are about zero
            reduction = copy.copy(reduction)
            reduction.shift = np.zeros_like(reduction.shift)
        parts = self._partial(total)
        with np.errstate(invalid="ignore"):
            if not all(np.isfinite(sums.trace()) for sums in parts.grams):
                raise NotFinite
        statistics = reduction.finish(parts)
        if statistics.exact:
            return statistics
        statistics = replace(statistics, rounding=self._rounding(statistics))
        if reduction is not self.reduction:
            about_zero = statistics.gram.diagonal().copy()
            statistics = statistics.reshift(self.reduction.shift.astype(np.float64), overwrite=True)
            if (about_zero > FAR * np.maximum(statistics.gram.diagonal(), 0.0)).any():
                raise TooFewDigits
        return statistics

    def _rounding(self, statistics: SufficientStatistics) -> NDArray[np.float64]:
        """Estimated rounding error of the diagonal.

        A sum of m terms whose roundings are independent is off by about 2^-24 m / 4 per root of the
        number of all terms (2^-53 for float64). Tensor cores round towards zero, and rounded squares of
        halves tend to one side, too: squares are 0 or 1 modulo 4. So the errors of all sums of halves add
        up: measured on an H200, to 2^-24 m / 19 of the whole for bfloat16 and m / 11 for float16.
        """
        n = max(1, statistics.n_samples)
        if not self.single:
            double = np.dtype(np.float64)
            rounding = fold_rounding(statistics.gram, statistics.class_sums, n, double)
            return rounding * max(1.0, min(n, self.sum_rows) ** 0.5 / 8.0)
        relative = 2.0**-24 * self.sum_rows / 4.0 / n**0.5
        if self.coarse:
            relative += 2.0**-24 * self.sum_rows / 10.0
        shared: Any = 0.0
        if self.reduction.repeated is not None:  # however many terms a sum has
            shared = self.reduction.repeated * statistics.gram.diagonal()
        independent = statistics.rounding - shared
        return independent * max(1.0, relative * n**0.5 / ROUNDING["float32"]) + shared

    def _zero(self, exact: bool) -> Sums:
        torch = import_torch()
        d, k = self.reduction.n_features, len(self.reduction.target.classes)
        totals = {"dtype": torch.int64 if exact else torch.float64, "device": self.home}
        return Sums(
            torch.zeros((d + self.reduction.n_sums, d), **totals),
            torch.zeros(k, dtype=torch.int64, device=self.device),
            np.zeros(k, np.int64),
            np.zeros(k),
        )

    def _partial(self, total: Sums) -> PartialSums:
        """The sums in the memory of this process."""
        there, sums = numpy_of(total.counts), numpy_of(total.sums)
        d = sums.shape[1]
        return PartialSums(
            grams=[sums[:d]],
            class_sums=sums[d:][None],
            class_counts=total.class_counts + there,
            class_weights=total.class_weights + there,  # of those counted there, all are ones
            n_threads=1,
            n_samples=total.n_samples,
            weight_sum=total.weight_sum,
            exact=None if total.exact is None else self._partial(total.exact),
        )

    # ---------------------------------------------------------------------------------------- floats

    def _add_floats(self, total: Sums, block: TensorBlock) -> None:
        """Add the products of rows about the shift."""
        torch = import_torch()
        X, shift = block.X, self.reduction.shift
        if not self.half:
            dtype = torch.float32 if self.single else torch.float64
            if shift.any():
                there = torch.as_tensor(shift.astype(np.float64), dtype=dtype, device=X.device)
                X = X.to(dtype) - there if self.single else X - there  # in one pass over the rows
            X = X.to(dtype)
        left = X
        if block.weights is not None:
            left = X * block.weights.to(X.dtype)[:, None]
        self._add_products(total, left, X, self._members(block).to(X.dtype))
        self._count(total, block)

    def _add_products(self, total: Sums, left: Any, X: Any, members: Any) -> None:
        """Add ``left^T X``, tiles on and above the diagonal, and ``members^T left``."""
        for A, B, M in zip(
            *(batches(part, self.sum_rows) for part in (left, X, members)), strict=True
        ):
            for columns in tiles(X.shape[1]):
                products = self._multiply(A[..., : columns.stop].mT, B[..., columns])
                add_up(total.gram[: columns.stop, columns], products, self.half)
            add_up(total.class_sums, self._multiply(M.mT, A), self.half)

    def _multiply(self, a: Any, b: Any) -> Any:
        torch = import_torch()
        return torch.bmm(a, b, out_dtype=torch.float32) if self.half else torch.bmm(a, b)

    # -------------------------------------------------------------------------------------- integers

    def _add_exactly(self, total: Sums, block: TensorBlock) -> bool:
        """Add a block to the exact sums if it holds small integers only; return whether it does."""
        if self.reduction.integers is None or block.host.weights is not None:
            return False
        found = small_integers(block.X)
        if found is None:
            return False
        X, largest = found
        if total.exact is None:
            total.exact = self._zero(exact=True)
        bound = total.exact.bound + len(X) * largest**2
        if bound >= LARGEST_SUM:
            return False
        total.exact.bound = bound
        self._add_integers(total.exact, block, X, largest)
        return True

    def _add_integers(self, total: Sums, block: TensorBlock, X: Any, largest: int) -> None:
        """Add products of integers, all of which are exact."""
        if X.dtype.itemsize == 2:
            self._check_bound(total, X, largest)
        if X.dtype.itemsize == 1 and multiplies_bytes(self.device):
            self._add_bytes(total, replace(block, X=X))
        else:
            torch = import_torch()
            dtype = torch.float64 if has_float64(self.device) else torch.float32
            digits = 53 if dtype == torch.float64 else 24
            X = X.to(dtype)
            members = self._members(block).to(dtype)
            rows = max(1, min(len(X), 2**digits // max(1, largest) ** 2))
            for A, M in zip(batches(X, rows), batches(members, rows), strict=True):
                for columns in tiles(X.shape[1]):
                    products = torch.bmm(A[..., : columns.stop].mT, A[..., columns])
                    add_up(total.gram[: columns.stop, columns], products)
                add_up(total.class_sums, torch.bmm(M.mT, A))
        self._count(total, block)

    def _add_bytes(self, total: Sums, block: TensorBlock) -> None:
        """Add products of bytes by integer matrix units, which read columns and int8.

        Unsigned bytes ``u`` become ``v = u - 128``; then ``sum u u^T = sum v v^T + 128 (s 1^T + 1 s^T)
        + 128^2 m`` for m rows and the sums ``s`` of ``v``. The members of classes are further rows.
        """
        torch = import_torch()
        X, members = block.X, self._members(block)
        (m, d), s = X.shape, members.shape[1]
        unsigned = X.dtype == torch.uint8
        height, wide, depth = padded(max(d + s, 24)), padded(d), padded(m)  # as cuBLAS wants them
        T = torch.empty((height, depth), dtype=torch.int8, device=X.device)
        T[:, m:] = 0
        T[d + s :] = 0
        if unsigned:
            torch.bitwise_xor(X.T, 128, out=T.view(torch.uint8)[:d, :m])
        else:
            T[:d, :m] = X.T
        T[d : d + s, :m] = members.T
        products = torch._int_mm(T, T[:wide].T)[: d + s, :d]
        class_sums = products[d:].long()
        if not unsigned:
            total.sums[:d] += products[:d].to(total.sums.device)
        else:
            sums = class_sums[-1] if self.reduction.target.multilabel else class_sums.sum(0)
            moved = 128 * sums + 64 * 128 * m
            gram = products[:d] + (moved[:, None] + moved)
            total.sums[:d] += gram.to(total.sums.device)
            class_sums += 128 * members.sum(0)[:, None]
        total.sums[d:] += class_sums.to(total.sums.device)

    def _check_bound(self, total: Sums, X: Any, largest: int) -> None:
        """Raise before sums of 16-bit integers can overflow, as the kernels do."""
        total.bound += len(X) * largest**2
        if total.bound >= LARGEST_SUM:
            raise ValueError(
                f"Sums over more than {LARGEST_SUM // 2**32} rows of {self.reduction.work_dtype} may "
                "overflow: add the rows in batches (partial_fit), whose sums continue in float64, or "
                "pass float64."
            )

    # ---------------------------------------------------------------------------------------- labels

    def _members(self, block: TensorBlock) -> Any:
        """Which classes each row has, with a column for all rows if targets are multilabel."""
        members = block.members(len(self.reduction.target.classes))
        if not self.reduction.target.multilabel:
            return members
        return import_torch().cat([members, members.new_ones((len(members), 1))], dim=1)

    def _count(self, total: Sums, block: TensorBlock) -> None:
        """Count rows and weights."""
        labels, weights = block.host.labels, block.host.weights
        m, k = block.X.shape[0], len(total.class_counts)
        total.n_samples += m
        total.weight_sum += m if weights is None else float(weights.sum())
        if weights is None and isinstance(labels, TensorLabels):
            total.counts += block.members(k).sum(0)
            return
        counts = labels.counts(k)
        total.class_counts += counts
        total.class_weights += counts if weights is None else labels.counts(k, weights)


def tile_of(n_columns: int) -> int:
    """Columns per tile of a product of this many columns."""
    return next((tile for most, tile in TILES if n_columns <= most), LARGEST_TILE)


def tiles(n_columns: int) -> list[slice]:
    """Columns of each tile."""
    size = tile_of(n_columns)
    return [slice(i, min(i + size, n_columns)) for i in range(0, n_columns, size)]


def batches(X: Any, n_rows: int) -> Iterator[Any]:
    """Views of shape (b, n_rows, d) of whole batches, and one of shape (1, r, d) of the other rows."""
    whole = len(X) // n_rows
    if whole:
        yield X[: whole * n_rows].unflatten(0, (whole, n_rows))
    if whole * n_rows < len(X):
        yield X[whole * n_rows :][None]


def add_up(total: Any, products: Any, single: bool = False) -> None:
    """Add a batch of products to a total, in its dtype and on its device.

    With ``single`` the products of the batch are first added up in their own dtype: torch converts all of
    them otherwise. Halves have lost more already.
    """
    products = products.to(total.device)
    if len(products) > 1:
        products = products.sum(0, dtype=None if single else total.dtype)
    else:
        products = products[0]
    total += products.to(total.dtype)


def padded(size: int) -> int:
    """The next multiple of 16."""
    return -(-size // 16) * 16


def largest_of(dtype: Any) -> int:
    """Largest magnitude of integers of a dtype."""
    torch = import_torch()
    if dtype == torch.bool:
        return 1
    limits = torch.iinfo(dtype)
    return max(-int(limits.min), int(limits.max))


def small_integers(X: Any) -> tuple[Any, int] | None:
    """Rows in a type whose products are summed exactly, and their largest magnitude; else None.

    The rule is that of the CPU: float32 rows and halves must fit in bytes.
    """
    torch = import_torch()
    if not X.numel():
        return None
    if X.dtype in (torch.uint16, torch.uint32, torch.uint64):
        X = X.to(torch.float64)
    low, high = torch.aminmax(X)
    whole = (X.round() == X).all() if X.is_floating_point() else torch.ones_like(low)
    ends = torch.stack([one.float() for one in (low, high, whole)])  # comes here in one copy
    least, most, integral = ends.tolist()
    wide = X.dtype in (torch.float64, torch.int32, torch.int64)
    limit = EXACT_LIMIT if wide else 255
    if not (integral and least >= -limit and most <= limit):
        return None
    largest = int(max(most, -least))
    if least >= 0 and most <= 255:
        return X.to(torch.uint8), largest
    if least >= -128 and most <= 127:
        return X.to(torch.int8), largest
    return (X, largest) if wide else None
