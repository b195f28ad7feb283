"""Arrow arrays as rows, labels and weights; views of Arrow's memory where its layout allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.reductions import DENSE_FROM
from parallel_ridge.sources import Labels, Target, encode_labels

if TYPE_CHECKING:
    import pyarrow as pa


KINDS = (
    "binary (raw bytes), an array of numbers, a tensor, a vector (VectorUDT), or a number in each of "
    "several columns"
)
# Fields of a VectorUDT.
VECTOR_FIELDS = {"type", "size", "indices", "values"}


def read_features(arrays: list[pa.Array], names: tuple[str, ...], start: int = 0) -> Any:
    """Rows of features: an array of shape (n, d), or CSR where vectors are sparse enough.

    Parameters
    ----------
    arrays : list of pyarrow.Array
        One array of whole rows (binary, lists of numbers, tensors, vectors of Spark ML), or one array
        of numbers per feature.
    names : tuple of str
        Names of the arrays, for messages.
    start : int, default=0
        Position of the first row, for messages.

    Returns
    -------
    ndarray or CSR matrix
        uint8 for bytes and booleans; read-only views of Arrow's memory for bytes and lists.

    Raises
    ------
    ValueError
        For nulls, rows of different lengths and other types; the message names column and row.
    """
    arrays = [_plain(array) for array in arrays]
    for array, name in zip(arrays, names, strict=True):
        _check_nulls(array, name, start)
    if len(arrays) == 1 and not holds_numbers(arrays[0].type):
        X = _whole_rows(arrays[0], names[0], start)
    else:
        X = _columns(arrays, names)
    if X.shape[1] == 0:
        raise ValueError(f"Column {names[0]!r} has no features in row {start}.")
    return X


def _whole_rows(array: pa.Array, name: str, start: int) -> Any:
    """Rows of one column whose values are whole rows."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _bytes(array, name, start)
    if pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
        data = np.frombuffer(array.buffers()[1], np.uint8)
        return data[array.offset * width :][: len(array) * width].reshape(len(array), width)
    if _is_list(kind):
        return _lists(array, name, start)
    if pa.types.is_struct(kind) and {field.name for field in kind} == VECTOR_FIELDS:
        return _vectors(array, name, start)
    raise ValueError(f"Column {name!r} is {kind}; rows are {KINDS}.")


def _columns(arrays: list[pa.Array], names: tuple[str, ...]) -> NDArray[Any]:
    """Rows of several columns of numbers."""
    for array, column in zip(arrays, names, strict=True):
        if not holds_numbers(array.type):
            raise ValueError(
                f"Column {column!r} is {array.type}, and there are {len(arrays)} columns of "
                f"features: each must hold numbers. Rows are {KINDS}."
            )
    columns = [_numbers(array) for array in arrays]
    X = np.empty((len(arrays[0]), len(columns)), np.result_type(*columns))
    for j, values in enumerate(columns):
        X[:, j] = values
    return X


def read_labels(array: pa.Array, name: str, start: int = 0) -> tuple[Labels, Target]:
    """Codes of labels, and the classes among them.

    Parameters
    ----------
    array : pyarrow.Array
        Numbers, booleans or strings; or lists of 0 and 1 (or -1 and 1), one per label of multilabel
        targets.

    Raises
    ------
    ValueError
        For nulls, NaN and numbers that cannot be labels; the message names column and row.
    """
    import pyarrow as pa

    array = _plain(array)
    _check_nulls(array, name, start)
    if _is_list(array.type):
        return encode_labels(_lists(array, name, start))
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return _encode_strings(array)
    if not holds_numbers(array.type):
        raise ValueError(f"Column {name!r} is {array.type}; labels are numbers or strings.")
    if pa.types.is_decimal(array.type):
        array = _whole(array, name, start)
    values = _numbers(array, booleans=True)
    if values.dtype.kind == "f":
        strange = np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)))
        if len(strange):
            row = int(strange[0])
            raise ValueError(
                f"Column {name!r} holds {values[row]} in row {start + row}: labels are whole numbers, "
                "booleans or strings."
            )
    return encode_labels(values)


def read_weights(array: pa.Array, name: str, start: int = 0) -> NDArray[np.float64]:
    """Weights of rows.

    Raises
    ------
    ValueError
        If one is null, negative, NaN or infinite; the message names column and row.
    """
    array = _plain(array)
    _check_nulls(array, name, start)
    if not holds_numbers(array.type):
        raise ValueError(f"Column {name!r} is {array.type}; weights are numbers.")
    weights = _numbers(array).astype(np.float64)
    bad = np.flatnonzero(~(weights >= 0.0) | np.isinf(weights))
    if len(bad):
        raise ValueError(
            f"Weights must be finite and not negative; column {name!r} has {weights[bad[0]]} in row "
            f"{start + bad[0]}."
        )
    return weights


def read_groups(array: pa.Array, name: str, start: int = 0) -> NDArray[Any]:
    """Numbers or strings that identify groups of rows.

    Raises
    ------
    ValueError
        If one is null; the message names column and row.
    """
    array = _plain(array)
    _check_nulls(array, name, start)
    if holds_numbers(array.type):
        return _numbers(array)
    return np.array(array.to_pylist(), dtype=object)


def _plain(array: pa.Array) -> pa.Array:
    """An array in a layout that the readers know: no tensors, dictionaries or views."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):  # whose nulls may be among its values
        array = array.dictionary_decode()
    for is_view, kind in (("is_string_view", pa.large_string), ("is_binary_view", pa.large_binary)):
        # Older versions of pyarrow know no views.
        if getattr(pa.types, is_view, lambda _: False)(array.type):
            return array.cast(kind())
    return array


def _check_nulls(array: pa.Array, name: str, start: int) -> None:
    if array.null_count:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(
            f"Column {name!r} is null in row {start + row} (and {array.null_count - 1} more of these "
            f"{len(array)} rows): drop such rows, or fill them."
        )


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list or pa.types.is_fixed_size_list(kind)


def holds_rows(kind: pa.DataType) -> bool:
    """Whether values of a type are whole rows of features."""
    import pyarrow as pa

    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    if _is_list(kind):
        return holds_numbers(kind.value_type)
    if pa.types.is_struct(kind):
        return {field.name for field in kind} == VECTOR_FIELDS
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    view = getattr(pa.types, "is_binary_view", lambda _: False)
    return bool(binary or pa.types.is_fixed_size_binary(kind) or view(kind))


def holds_numbers(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers or booleans."""
    import pyarrow as pa

    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return numeric or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)


def _numbers(array: pa.Array, booleans: bool = False) -> NDArray[Any]:
    """Numbers without nulls as an array: a view, except for booleans (as uint8) and decimals."""
    import pyarrow as pa

    if pa.types.is_boolean(array.type):
        values = array.to_numpy(zero_copy_only=False)
        return values if booleans else values.view(np.uint8)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    return array.to_numpy(zero_copy_only=True)


def _whole(array: pa.Array, name: str, start: int) -> pa.Array:
    """Decimals as 64-bit integers, exactly."""
    import pyarrow as pa

    for kind in (pa.int64(), pa.uint64()):
        try:
            return array.cast(kind)
        except pa.ArrowInvalid:  # fractions, or out of range
            continue
    raise ValueError(
        f"Column {name!r} is {array.type}, and from row {start} on holds labels such as "
        f"{array[0].as_py()}: labels are whole numbers of 64 bits, booleans or strings."
    )


def _encode_strings(array: pa.Array) -> tuple[Labels, Target]:
    encoded = array.dictionary_encode()
    values = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(values)
    codes = np.empty(len(order), np.int32)
    codes[order] = np.arange(len(order))
    return Labels(codes[encoded.indices.to_numpy()]), Target(values[order], multilabel=False)


def _offsets(array: pa.Array, wide: bool) -> NDArray[Any]:
    """Start of each value and end of the last one; valid for slices too."""
    dtype = np.dtype(np.int64 if wide else np.int32)
    buffer = array.buffers()[1]
    offsets = np.frombuffer(buffer, dtype, count=array.offset + len(array) + 1)
    return offsets[array.offset :]


def _width(offsets: NDArray[Any], name: str, start: int, unit: str) -> int:
    widths = np.diff(offsets)
    other = np.flatnonzero(widths != widths[0])
    if len(other):
        raise ValueError(
            f"Column {name!r} has {widths[other[0]]} {unit} in row {start + other[0]} and {widths[0]} "
            f"in row {start}: all rows must have the same."
        )
    return int(widths[0])


def _bytes(array: pa.Array, name: str, start: int) -> NDArray[np.uint8]:
    import pyarrow as pa

    offsets = _offsets(array, pa.types.is_large_binary(array.type))
    width = _width(offsets, name, start, "bytes")
    if width == 0:
        return np.empty((len(array), 0), np.uint8)
    data = np.frombuffer(array.buffers()[2], np.uint8)
    return data[offsets[0] : offsets[-1]].reshape(len(array), width)


def _lists(array: pa.Array, name: str, start: int) -> NDArray[Any]:
    import pyarrow as pa

    kind = array.type
    if not holds_numbers(kind.value_type):
        raise ValueError(f"Column {name!r} is {kind}; its arrays must hold numbers.")
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
        values = array.values[array.offset * width : (array.offset + len(array)) * width]
    else:
        offsets = _offsets(array, pa.types.is_large_list(kind))
        width = _width(offsets, name, start, "values")
        values = array.values[int(offsets[0]) : int(offsets[-1])]
    if values.null_count:
        at = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(
            f"Column {name!r} holds an array with a null in row {start + at // width}, at position "
            f"{at % width}: drop such rows, or fill them."
        )
    return _numbers(values).reshape(len(array), width)


def _vectors(array: pa.StructArray, name: str, start: int) -> Any:
    """Vectors of Spark ML, each dense (type 1) or sparse (type 0)."""
    types, sizes, indices, values = (
        array.field(part) for part in ("type", "size", "indices", "values")
    )
    dense = types.to_numpy(zero_copy_only=True) == 1
    if dense.all():
        return _lists(values, name, start)
    n = len(array)
    offsets = _offsets(values, wide=False).astype(np.int64)
    lengths = np.diff(offsets)
    widths = np.where(dense, lengths, sizes.fill_null(0).to_numpy(zero_copy_only=False))
    d = _width(np.concatenate([[0], np.cumsum(widths)]), name, start, "values")
    if d == 0:
        raise ValueError(f"Column {name!r} has no features in row {start}.")
    data = _numbers(values.values[int(offsets[0]) : int(offsets[-1])])
    indptr = offsets - offsets[0]
    columns = np.empty(len(data), np.int32)
    of_sparse = np.repeat(~dense, lengths)
    first = _offsets(indices, wide=False)
    given = indices.values[int(first[0]) : int(first[-1])].to_numpy(zero_copy_only=True)
    if len(given) != of_sparse.sum() or (len(given) and not 0 <= given.min() <= given.max() < d):
        raise ValueError(
            f"Column {name!r} holds a damaged sparse vector among rows {start} to {start + n - 1}."
        )
    columns[of_sparse] = given
    columns[~of_sparse] = np.tile(np.arange(d, dtype=np.int32), int(dense.sum()))
    if len(data) >= DENSE_FROM * n * d:
        X = np.zeros((n, d), data.dtype)
        X[np.repeat(np.arange(n), lengths), columns] = data
        return X
    X = sp.csr_matrix((data, columns, indptr.astype(np.int32)), shape=(n, d))
    if not X.has_canonical_format:  # a hand-made vector
        X = X.copy()
        X.sum_duplicates()
    return X
