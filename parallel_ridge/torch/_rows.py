"""Rows and labels in tensors, as sources hold them, and blocks of them on a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.sources import ArraySource, Block, Labels, Source, Target, as_labels, places
from parallel_ridge.torch._device import copied_ahead, from_numpy, import_torch

# NumPy's dtypes of rows; float16 stands for bfloat16, too, of which slices are float32.
DTYPES = {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "f2", "bool": "?",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
}  # fmt: skip
# Types of the same size for what torch does not do with unsigned ones.
SIGNED = {"uint16": "int16", "uint32": "int32", "uint64": "int64"}
# Tensors up to this size come from a GPU to pinned memory, at the speed of the bus, and stay there.
PINNED_BYTES = 2**25
# Labels whose range is wider than this are sorted to find the distinct ones.
LABEL_RANGE = 2**16


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch; imports nothing."""
    return any(base.__module__ == "torch" for base in type(value).__mro__)


def as_tensor(value: Any) -> Any:
    """A tensor, or an array of another library on a device (by DLPack) as one, without a copy.

    Anything else stays as it is.
    """
    if is_tensor(value):
        return value.detach()
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack_device__"):
        return value
    kind = int(value.__dlpack_device__()[0])
    return value if kind == 1 else import_torch().from_dlpack(value)  # 1 is the CPU


def as_array(value: Any) -> Any:
    """A tensor as an array in the memory of this process; anything else as it is."""
    value = as_tensor(value)
    return numpy_of(value) if is_tensor(value) else value


def numpy_of(tensor: Any) -> NDArray[Any]:
    """Values of a dense tensor; those of bfloat16 as float32."""
    torch = import_torch()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    if tensor.device.type == "cuda" and tensor.nbytes <= PINNED_BYTES:
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        tensor = host.copy_(tensor)
    array: NDArray[Any] = tensor.cpu().resolve_neg().numpy()
    return array


def check_tensor(tensor: Any, name: str = "X") -> None:
    """Raise unless a tensor holds real numbers at every place."""
    torch = import_torch()
    if tensor.layout != torch.strided:
        raise TypeError(
            f"{name} is a sparse tensor ({tensor.layout}): convert it to SciPy's CSR, as by "
            f"scipy.sparse.csr_matrix of its values, indices and crow_indices, or call {name}.to_dense()."
        )
    if tensor.is_complex():
        raise ValueError(f"Complex data not supported: {name} is a tensor of {tensor.dtype}.")
    if dtype_name(tensor) not in DTYPES:
        raise ValueError(
            f"{name} is a tensor of {tensor.dtype}, which is not supported: convert it, as by "
            f"{name}.float()."
        )


def dtype_name(tensor: Any) -> str:
    """Name of a tensor's dtype without the package."""
    return str(tensor.dtype).removeprefix("torch.")


class TensorRows:
    """Rows of a tensor; parts of it are NumPy arrays.

    That is all that `ArraySource` needs, so all code that reads arrays reads tensors, too, block by
    block. Code for devices takes the tensor.

    Parameters
    ----------
    tensor : torch.Tensor of shape (n, d)
    """

    ndim = 2

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.shape = tuple(tensor.shape)
        self.dtype = np.dtype(DTYPES[dtype_name(tensor)])

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return numpy_of(selected(self.tensor, rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(numpy_of(self.tensor), dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self.tensor.__dlpack__(**options)  # also says that the rows are in memory

    def stand_in(self) -> NDArray[Any]:
        """An array for checks that look at shape and dtype only; takes no memory."""
        dtype = np.float32 if self.dtype == np.float16 else self.dtype
        return np.broadcast_to(np.zeros((1, 1), dtype), self.shape)

    @property
    def T(self) -> TensorRows:
        """The columns, as rows."""
        return TensorRows(self.tensor.T)


class _Views:
    """Rows of a tensor; parts of it are tensors."""

    def __init__(self, rows: TensorRows) -> None:
        self.tensor, self.shape, self.dtype = rows.tensor, rows.shape, rows.dtype

    def __getitem__(self, rows: Any) -> Any:
        return selected(self.tensor, rows)


class TensorLabels(Labels):
    """Codes of single labels in a tensor, which become an array when one is asked for."""

    def __init__(self, tensor: Any) -> None:
        object.__setattr__(self, "tensor", tensor)  # the base is frozen
        object.__setattr__(self, "indptr", None)

    @cached_property
    def codes(self) -> NDArray[np.int32]:
        """Positions in the classes."""
        return numpy_of(self.tensor)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.tensor)  # type: ignore[attr-defined]

    def __getitem__(self, rows: Any) -> TensorLabels:
        return TensorLabels(selected(self.tensor, rows))  # type: ignore[attr-defined]


def selected(tensor: Any, rows: Any) -> Any:
    """Rows of a tensor by a slice or by an array of positions; a slice does not copy."""
    if isinstance(rows, slice):
        return tensor[rows]
    places = from_numpy(np.asarray(rows, np.int64)).to(tensor.device)
    signed = SIGNED.get(dtype_name(tensor))
    if signed is not None:  # torch selects no rows of wide unsigned integers
        torch = import_torch()
        return tensor.view(getattr(torch, signed)).index_select(0, places).view(tensor.dtype)
    return tensor.index_select(0, places)


def is_integer_tensor(value: Any) -> bool:
    """Whether a value is a tensor of one integer per row, of a type that torch sorts."""
    return (
        is_tensor(value)
        and value.ndim == 1
        and dtype_name(value) in ("int8", "int16", "int32", "int64", "uint8")
    )


def encode_tensor(y: Any, classes: Any = None) -> tuple[TensorLabels, Target]:
    """Encode integer labels in a one-dimensional tensor where they are: see `encode_labels`."""
    torch = import_torch()
    if not len(y):
        raise ValueError("y has no rows, so its classes are unknown: pass classes.")
    low, high = torch.stack(torch.aminmax(y)).tolist()
    if high - low < LABEL_RANGE:
        away = y.long() - low if low else y
        present = numpy_of(torch.bincount(away, minlength=high - low + 1)) > 0
        found = (np.flatnonzero(present) + low).astype(DTYPES[dtype_name(y)])
        codes = away.int()
        if not present.all():
            codes = from_numpy(np.cumsum(present, dtype=np.int32) - 1).to(y.device)[away.long()]
    else:
        found, codes = torch.unique(y, return_inverse=True)
        found, codes = numpy_of(found), codes.int()
    if classes is not None:
        known = as_labels(classes)
        table = from_numpy(places(found, known)).to(y.device)
        return TensorLabels(table[codes.long()]), Target(known, multilabel=False)
    return TensorLabels(codes), Target(found, multilabel=False)


@dataclass
class TensorBlock:
    """A block of rows on a device.

    Attributes
    ----------
    host : Block
        Positions, labels and weights of the rows, in the memory of this process.
    X : torch.Tensor of shape (m, d)
    codes : torch.Tensor of shape (m,), or None
        Codes of single labels; None for multilabel targets.
    weights : torch.Tensor of shape (m,), float64, or None
    """

    host: Block
    X: Any
    codes: Any
    weights: Any

    @property
    def group(self) -> int:
        """Group that all of the rows belong to."""
        return self.host.group

    def members(self, n_classes: int) -> Any:
        """Which classes each row has, shape (m, n_classes), bool."""
        if self.codes is None:
            has = self.host.labels.indicator(n_classes) > 0
            return from_numpy(has).to(self.X.device)
        classes = import_torch().arange(n_classes, dtype=self.codes.dtype, device=self.X.device)
        return self.codes[:, None] == classes


class TensorBlocks:
    """Blocks of a source on a device, as a fold asks for them.

    Parameters
    ----------
    source : Source
        Of this process's rows.
    device : torch.device
    """

    def __init__(self, source: Source, device: Any) -> None:
        self.source = source
        self.device = device

    def blocks(self, n_rows: int) -> Iterator[TensorBlock]:
        """Blocks of ``n_rows``; the last of each group may be shorter."""
        source: Any = self.source
        rows = getattr(source, "X", None)
        if isinstance(rows, TensorRows):
            # Tensors stay tensors.
            source = ArraySource(
                _Views(rows), source.labels, source.weights, source.rows, source.edges
            )
        return copied_ahead(source.blocks(n_rows), self._sent, self.device)

    def _sent(self, block: Block, copy: Any) -> TensorBlock:
        X = block.X if is_tensor(block.X) else from_numpy(block.X)
        labels, codes = block.labels, None
        if isinstance(labels, TensorLabels):
            codes = copy(labels.tensor)  # type: ignore[attr-defined]
        elif labels.indptr is None:
            codes = copy(from_numpy(labels.codes))
        weights = None if block.weights is None else copy(from_numpy(block.weights))
        return TensorBlock(block, copy(X), codes, weights)
