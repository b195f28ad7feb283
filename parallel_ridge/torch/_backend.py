"""Passes over rows in tensors, where they are, and over other rows through a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from parallel_ridge.backends import Backend, OpenMPBackend, Request, reduce_blocks
from parallel_ridge.reductions import (
    GroupedReduction,
    Reduction,
    RowProductReduction,
    RowsReduction,
    StatisticsReduction,
    Value,
)
from parallel_ridge.solvers import factorising
from parallel_ridge.sources import (
    ArraySource,
    Block,
    Source,
    Target,
    check_weights,
    encode_labels,
    plain,
)
from parallel_ridge.torch._answers import answer
from parallel_ridge.torch._decisions import SCORES, TensorAccuracy, knows
from parallel_ridge.torch._device import (
    LEAST_ROWS,
    as_device,
    default_device,
    faithful_products,
    free_memory,
    has_float64,
    out_of_memory,
    release_memory,
)
from parallel_ridge.torch._products import PRODUCTS
from parallel_ridge.torch._row_products import TensorRowProducts
from parallel_ridge.torch._rows import (
    TensorBlocks,
    TensorRows,
    as_array,
    as_tensor,
    check_tensor,
    encode_tensor,
    is_integer_tensor,
    is_tensor,
    selected,
)
from parallel_ridge.torch._solves import DeviceCholesky
from parallel_ridge.torch._statistics import NotFinite, TensorStatistics, TooFewDigits

S = TypeVar("S")
T = TypeVar("T")
V = TypeVar("V", bound=Value)
# Memory for a block: a sixteenth of what is free, within these bounds.
LEAST_BYTES, MOST_BYTES = 2**28, 2**31
# The same for blocks that come from the host through pinned memory, which is dear to get.
STAGED_BYTES = 2**27


@dataclass
class TorchBackend(Backend):
    """Run passes over tensors on the device where they are, and over arrays on a GPU.

    Rows on a GPU are used in place; rows in the memory of this process are copied to the device in
    blocks, while earlier blocks are multiplied. Where all of this happens on the CPU, the kernels of
    :class:`~parallel_ridge.OpenMPBackend` read the tensors' memory, because they are faster there.

    Parameters
    ----------
    device : str or torch.device, default=None
        Where to multiply. None is the device of a tensor, and for arrays the GPU if there is one, else
        the CPU. Rows on one GPU are not moved to another.
    block_bytes : int, default=None
        Memory on the device for each block and what is formed of it. None: a sixteenth of what is free,
        256 MiB to 2 GiB. Halved as often as necessary where the device has less.
    n_jobs : int, default=None
        Threads of solves and of passes on the CPU, as of :class:`~parallel_ridge.OpenMPBackend`.
    process : int, default=0
        Number of this process among those on this machine, which share its GPUs: see
        :class:`~parallel_ridge.MPIBackend`.

    Notes
    -----
    Formed on the device are statistics, their products for refinement and conjugate gradients, the
    products of all pairs of rows if there are fewer rows than features, leave-one-out values, and all
    scores. The QR of ``solver="svd"`` and sparse rows are left to the CPU, block by block, and so are
    all passes but float32 and integer statistics where a device has no float64.

    Products of float32 rows are IEEE float32 (never TF32), and their sums are float64 beyond 1,024 rows;
    cards that multiply float64 as fast (A100, H100, H200) form them in float64.
    Rows of half precision are multiplied as they are with sums in float32, which are float64 beyond 4,096
    rows. Integers of up to 16 bits are summed exactly.
    """

    device: Any = None
    block_bytes: int | None = None
    n_jobs: int | None = None
    process: int = field(default=0, repr=False)

    def for_process(self, number: int) -> TorchBackend:
        """The backend of a process on a machine whose GPUs the processes share."""
        return replace(self, process=number)

    def reduce(self, reduction: Reduction[Any, V], source: Source) -> V:
        """Run `reduction` over `source` on its device; on the CPU what a device does not do."""
        rows: Any = getattr(source, "X", None)
        if isinstance(reduction, RowsReduction) and isinstance(rows, TensorRows):
            rows_of_all: Any = _rows_of(source)
            return rows_of_all
        device = self._device_of(rows)
        block_bytes, halves = self._block_bytes(device), True
        within_reach = isinstance(rows, TensorRows) and is_within_reach(rows.tensor, device)
        if not within_reach:
            block_bytes = min(block_bytes, STAGED_BYTES)
        while device is not None and not source.sparse:
            there = on_device(reduction, source, device, block_bytes, halves)
            if there is None:
                break
            try:
                with faithful_products(device):
                    blocks: Any = TensorBlocks(source, device)  # all that a fold needs of a source
                    return reduce_blocks(there, blocks, 1)
            except NotFinite:
                break  # the kernels find the row and the column
            except TooFewDigits:
                halves = False
                continue
            except out_of_memory() as error:
                if there.block_rows <= LEAST_ROWS:
                    raise MemoryError(_too_large(source, device, there.block_rows)) from error
            # Out here nothing holds the block that was too large.
            release_memory(device)
            block_bytes //= 2
        return self._kernels().reduce(reduction, source)

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Call `function` on independent items in threads; the device factorises large systems."""
        device = default_device(self.process) if self.device is None else self._chosen()
        if device is None or not has_float64(device):
            return self._kernels().map(function, items)

        def call(item: T) -> S:
            with factorising(DeviceCholesky(device)):
                return function(item)

        return self._kernels().map(call, items)

    def can_read(self, X: Any) -> bool:
        """Whether X is a tensor, or an array that DLPack can hand over."""
        return is_tensor(X) or hasattr(X, "__dlpack_device__")

    def as_array(self, values: Any) -> Any:
        """Labels, weights or groups as an array in the memory of this process."""
        return plain(as_array(values))

    def source(self, request: Request) -> tuple[Source, Target]:
        """A source of a tensor, or of an array."""
        request = self.prepared(request, keep_labels=True)
        if not isinstance(request.X, TensorRows):
            return super().source(request)
        X, y = request.validate(request.X, request.y, False)
        encode: Any = encode_tensor if is_tensor(y) else encode_labels
        labels, target = encode(y, request.classes)
        return ArraySource(X, labels, check_weights(request.sample_weight, len(X))), target

    def prepared(self, request: Request, keep_labels: bool = False) -> Request:
        """A request whose rows are an array or `TensorRows`, with labels and weights in arrays.

        Parameters
        ----------
        keep_labels : bool, default=False
            Whether integer labels may stay in a tensor on a GPU.
        """
        X, y = as_tensor(request.X), as_tensor(request.y)
        weights = as_array(request.sample_weight)
        if not is_tensor(X):
            return replace(request, X=X, y=as_array(y), sample_weight=weights)
        check_tensor(X)
        self._device_of(X)
        if is_tensor(y) and y.device != X.device and y.device.type != "cpu":
            raise ValueError(f"X is on {X.device} and y on {y.device}: put both on one device.")
        if not (keep_labels and is_integer_tensor(y) and y.device.type != "cpu"):
            y = as_array(y)
        rows: Any = TensorRows(X) if X.ndim == 2 else as_array(X)  # the checks refuse others

        def validate(X: Any, y: Any, empty: bool) -> tuple[Any, Any]:
            if not isinstance(X, TensorRows):
                return request.validate(X, y, empty)
            if not is_tensor(y):
                return X, request.validate(X.stand_in(), y, empty)[1]
            request.validate(X.stand_in(), np.broadcast_to(np.int64(0), y.shape), empty)
            return X, y

        return replace(request, X=rows, y=y, sample_weight=weights, validate=validate)

    def predict(self, model: Any, method: str, X: Any, column: str) -> Any:
        """Answers to a tensor in a tensor on its device (strings in an array); to arrays, an array."""
        X = as_tensor(X)
        if not is_tensor(X):
            return super().predict(model, method, X, column)
        check_tensor(X)
        device = self._device_of(X)
        if device is None or X.ndim != 2:
            return answer(model, method, X)
        with faithful_products(device):
            return answer(model, method, X, device, self._block_bytes(device))

    def solve_threads(self) -> int:
        """Threads that a solve in this process may use."""
        return self._kernels().solve_threads()

    def _kernels(self) -> OpenMPBackend:
        """The CPU's kernels."""
        return OpenMPBackend(self.n_jobs)

    def _chosen(self) -> Any:
        return as_device(self.device, self.process)

    def _block_bytes(self, device: Any) -> int:
        """Memory for a block: many short kernels leave a large device waiting for the next one."""
        if self.block_bytes is not None:
            return self.block_bytes
        memory = None if device is None else free_memory(device)
        return LEAST_BYTES if memory is None else min(max(LEAST_BYTES, memory[0] // 16), MOST_BYTES)

    def _device_of(self, rows: Any) -> Any:
        """The device for rows: a tensor, `TensorRows` or others; None for the CPU's kernels."""
        tensor = rows.tensor if isinstance(rows, TensorRows) else rows
        chosen = None if self.device is None else self._chosen()
        if not is_tensor(tensor):
            return default_device(self.process) if chosen is None else chosen
        if tensor.device.type == "cpu":
            return chosen
        if chosen is not None and chosen != tensor.device:
            raise ValueError(
                f"X is on {tensor.device} and the backend's device is {chosen}: leave device=None, or "
                "move X."
            )
        return tensor.device


def is_within_reach(tensor: Any, device: Any) -> bool:
    """Whether a device reads a tensor without the help of the CPU."""
    if device is None or tensor.device == device:
        return True
    return bool(device.type == "cuda" and tensor.is_pinned())


def on_device(
    reduction: Any, source: Source, device: Any, block_bytes: int, halves: bool = True
) -> Reduction[Any, Any] | None:
    """The reduction for blocks on a device; None if the CPU has to do it.

    Rows of half precision may be multiplied as they are if ``halves`` is set.
    """
    kind = type(reduction)
    found: Any = None
    if kind is GroupedReduction:
        parts = [
            on_device(one, source, device, block_bytes, halves) for one in reduction.reductions
        ]
        return GroupedReduction(parts) if all(parts) else None  # type: ignore[arg-type]
    if kind is StatisticsReduction:
        # NumPy's float16 stands for both types of half precision.
        halves = halves and source.dtype == np.float16 and not source.weighted
        half = halves and reduction.work_dtype == np.float32
        n_rows = source.local_rows.stop - source.local_rows.start
        found = TensorStatistics(reduction, device, block_bytes, half, n_rows)
    elif kind is RowProductReduction:
        found = TensorRowProducts(reduction, device, block_bytes)
    elif kind in PRODUCTS:
        found = PRODUCTS[kind](reduction, device, block_bytes)
    elif kind in SCORES and knows(reduction.decisions):
        found = SCORES[kind](reduction, device, block_bytes, source.n_features)
    if found is None or has_float64(device) or _single(found):
        return found
    return None


def _single(found: Any) -> bool:
    """Whether a reduction on a device needs no float64 there."""
    if isinstance(found, TensorStatistics):
        work = found.reduction.work_dtype
        return work == np.float32 or (found.reduction.exact and work.itemsize == 1)
    accuracy = isinstance(found, TensorAccuracy) and not found.reduction.weighted
    return accuracy and found.reduction.decisions.linear.intercepts.dtype == np.float32


def _rows_of(source: Any) -> list[Block]:
    """All rows of a source of a tensor, still in it."""
    rows = source.X
    if source.rows is not None:
        rows = TensorRows(selected(rows.tensor, source.rows))
    return [Block(slice(0, len(rows)), rows, source.row_labels(), source.row_weights())]


def _too_large(source: Source, device: Any, n_rows: int) -> str:
    d = source.n_features
    memory = free_memory(device)
    there = (
        ""
        if memory is None
        else (f", which has {memory[0] / 2**30:.1f} GiB free of {memory[1] / 2**30:.1f} GiB")
    )
    return (
        f"A block of {n_rows} rows x {d} columns beside sums of {d} x {d} numbers "
        f"({8 * d**2 / 2**30:.2f} GiB) does not fit into the memory of {device}{there}. Free memory "
        "there, use fewer features, or choose backend='openmp' with X.cpu().numpy()."
    )
