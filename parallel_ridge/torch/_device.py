"""What depends on the device: precision, memory, and copies that overlap with work."""

from __future__ import annotations

import re
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import BackendUnavailable

T = TypeVar("T")
S = TypeVar("S")

LEAST_VERSION = (2, 6)
# Rows of the smallest block that is tried where a device is short of memory.
LEAST_ROWS = 64
# Compute capabilities of cards with matrix units for float64: A100, and H100 or H200.
FAST_DOUBLES = ((8, 0), (9, 0))
# Blocks whose copies and work may be under way at a time: one that arrives while one is worked on, and
# one that is staged.
IN_FLIGHT = 3


def import_torch() -> Any:
    """The package torch.

    Raises
    ------
    BackendUnavailable
        If it is missing, broken or too old.
    """
    try:
        import torch
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"backend='torch' could not import torch ({error}). Install parallel-ridge[torch], or "
            "choose backend='openmp'."
        ) from error
    found = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if found is not None and (int(found[1]), int(found[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise BackendUnavailable(
            f"backend='torch' needs torch {least} or later, and {torch.__version__} is installed. "
            "Install parallel-ridge[torch]."
        )
    return torch


def as_device(device: Any, process: int = 0) -> Any:
    """A torch.device, with its number if there may be several.

    The first process on a machine takes the current device if none is named, the next the next one.
    """
    torch = import_torch()
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is no device of torch: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable(
            f"device={str(device)!r}: this torch ({torch.__version__}) finds no CUDA device here. Choose "
            "device='cpu', or leave it None."
        )
    if device.type == "cuda" and device.index is None:
        number = (torch.cuda.current_device() + process) % torch.cuda.device_count()
        device = torch.device("cuda", number)
    return device


def default_device(process: int = 0) -> Any:
    """The GPU of a process if there is one, else None."""
    torch = import_torch()
    return as_device("cuda", process) if torch.cuda.is_available() else None


def has_float64(device: Any) -> bool:
    """Whether the device computes in float64."""
    return str(device.type) != "mps"


def multiplies_halves(device: Any) -> bool:
    """Whether the device multiplies matrices of half precision into float32 ones."""
    return device.type == "cuda" and hasattr(import_torch().ops.aten.bmm, "dtype")


def multiplies_doubles(device: Any) -> bool:
    """Whether the device multiplies float64 matrices as fast as float32 ones."""
    if device.type != "cuda":
        return False
    return import_torch().cuda.get_device_capability(device) in FAST_DOUBLES


def multiplies_bytes(device: Any) -> bool:
    """Whether the device multiplies matrices of int8 into int32 ones quickly."""
    torch = import_torch()
    return (
        device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) >= (7, 5)
    )


class _Precision:
    """Settings of the process that change products, and how many callers hold them."""

    lock = threading.Lock()
    holders = 0
    undo: list[Callable[[], None]] = []  # noqa: RUF012  # the lock guards it


@contextmanager
def faithful_products(device: Any) -> Iterator[None]:
    """Form products in the dtype of their operands, with float32 sums of halves; restored at the end.

    TF32, bfloat16 in place of float32 and float16 sums are settings of the whole process, so callers
    share one count. Autocast and gradients are off in this thread.
    """
    torch = import_torch()
    with _Precision.lock:
        if not _Precision.holders:
            _Precision.undo = _set_precision(torch)
        _Precision.holders += 1
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False), on_stream_of(device):
            yield
    finally:
        with _Precision.lock:
            _Precision.holders -= 1
            if not _Precision.holders:
                for undo in reversed(_Precision.undo):
                    undo()
                _Precision.undo = []


def _set_precision(torch: Any) -> list[Callable[[], None]]:
    """Set what is not as it must be; return what undoes it.

    What is as it must be stays untouched, because reading a setting does not tell whether it was
    inherited. Sums of halves in less than float32 concern results of half precision only.
    """
    undo: list[Callable[[], None]] = []

    def put(place: Any, name: str, value: Any) -> None:
        before = getattr(place, name)
        setattr(place, name, value)
        undo.append(lambda: setattr(place, name, before))

    matmul = torch.backends.cuda.matmul
    if hasattr(torch._C, "_get_fp32_precision_getter"):  # since torch 2.9, one for each library
        for place in (matmul, torch.backends.mkldnn.matmul):
            if place.fp32_precision not in ("ieee", "none"):
                put(place, "fp32_precision", "ieee")
    elif torch.get_float32_matmul_precision() != "highest":
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        undo.append(lambda: torch.set_float32_matmul_precision(before))
    if getattr(matmul, "allow_fp16_accumulation", False):
        put(matmul, "allow_fp16_accumulation", False)
    return undo


def on_stream_of(device: Any) -> Any:
    """Make a device the current one."""
    torch = import_torch()
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def out_of_memory() -> type[BaseException]:
    """The error that says that the device is out of memory."""
    error: type[BaseException] = import_torch().OutOfMemoryError
    return error


def release_memory(device: Any) -> None:
    """Return memory that torch keeps for later to the device."""
    if device.type == "cuda":
        import_torch().cuda.empty_cache()


def free_memory(device: Any) -> tuple[int, int] | None:
    """Bytes of the device that are free, and all of them; None if it does not say."""
    if device.type != "cuda":
        return None
    free, total = import_torch().cuda.mem_get_info(device)
    return int(free), int(total)


def from_numpy(array: NDArray[Any]) -> Any:
    """A tensor on the CPU, without a copy where torch reads the array as it is."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == np.longdouble and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        # Nobody writes to the tensor.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return import_torch().from_numpy(array)


def copied_ahead(
    items: Iterable[T], send: Callable[[T, Callable[[Any], Any]], S], device: Any
) -> Iterator[S]:
    """``send(item, copy)`` for each item, one item ahead, so that copies overlap with work.

    ``copy`` starts the copy of a tensor on the CPU to the device. On a GPU copies run in a stream of
    their own, from pinned memory; the work that the caller has given to the device by the time it asks
    for the next item counts as the work on this one. Elsewhere copies are done at once.
    """
    if device.type != "cuda":
        for item in items:
            yield send(item, lambda tensor: tensor.to(device))
        return
    torch = import_torch()
    work, copies = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    copies.wait_stream(work)
    sent: deque[tuple[S, Any]] = deque()
    worked: deque[Any] = deque()

    def copy(tensor: Any) -> Any:
        if tensor.device == device:
            return tensor
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        with torch.cuda.stream(copies):
            moved = pinned.to(device, non_blocking=True)
        moved.record_stream(work)  # whose memory the work may still read when it is freed
        return moved

    def handed() -> S:
        item, arrived = sent.popleft()
        work.wait_event(arrived)
        return item

    for item in items:
        if len(worked) >= IN_FLIGHT - 1:
            worked.popleft().synchronize()  # else the host would copy everything in advance
        moved = send(item, copy)
        sent.append((moved, copies.record_event()))
        if len(sent) > 1:
            yield handed()
            worked.append(work.record_event())
    while sent:
        yield handed()
