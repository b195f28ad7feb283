"""Files of statistics: arrays in a zip archive, checked on reading."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
import zipfile
from pathlib import Path
from types import NoneType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.statistics._packing import fold_rounding, pack_triangle, unpack_triangle

if TYPE_CHECKING:
    from parallel_ridge.statistics._statistics import SufficientStatistics

FORMAT = "parallel_ridge.SufficientStatistics"
VERSION = 2
# Members of a file. Version 1 stored text as NumPy strings, which drop trailing NULs.
MEMBERS = (
    "header", "shift", "feature_sums", "triangle", "classes", "class_counts", "class_weights",
    "class_sums", "rounding", "feature_names",
)  # fmt: skip


def save(file: str | os.PathLike[str] | IO[bytes], statistics: SufficientStatistics) -> None:
    """Write statistics; see `SufficientStatistics.save`."""
    classes = statistics.classes
    text = classes.dtype.kind in "OU"
    if text and not all(isinstance(label, str) for label in classes):
        raise ValueError(
            f"Cannot save labels that are neither numbers, strings nor dates: {classes.tolist()}"
        )
    names = statistics.feature_names
    header = {
        "format": FORMAT,
        "version": VERSION,
        "n_samples": statistics.n_samples,
        "weight_sum": float(statistics.weight_sum),
        "dtype": np.dtype(statistics.dtype).str,
        "multilabel": statistics.multilabel,
        "labels_are_objects": classes.dtype == object,
        "labels": classes.tolist() if text else None,
        "feature_names": None if names is None else [str(name) for name in names],
    }
    arrays: dict[str, Any] = {
        "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "shift": statistics.shift,
        "feature_sums": statistics.feature_sums,
        "triangle": pack_triangle(statistics.gram),
        "class_counts": statistics.class_counts,
        "class_weights": statistics.class_weights,
        "class_sums": statistics.class_sums,
        "rounding": statistics.rounding,
    }
    if not text:
        arrays["classes"] = classes
    if not isinstance(file, str | os.PathLike):
        np.savez(file, **arrays)
        return
    path = Path(file)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as stream:
            np.savez(stream, **arrays)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(file: str | os.PathLike[str] | IO[bytes]) -> tuple[int, dict[str, Any]]:
    """Version of a file, and attributes of the statistics in it.

    Raises
    ------
    ValueError
        See `SufficientStatistics.load`.
    """
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as stream:
            return _load(stream, repr(os.fspath(file)))
    return _load(file, "the stream")


def _load(stream: IO[bytes], name: str) -> tuple[int, dict[str, Any]]:
    try:
        arrays = _read_members(stream)
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        _check_header(header)
        if header["version"] > VERSION:
            raise ValueError(
                f"its version {header['version']} is newer than {VERSION}, "
                "the newest that this parallel_ridge can read"
            )
        return header["version"], _from_arrays(header, arrays)
    except Exception as error:  # zipfile, numpy and json raise many types for damaged files
        raise ValueError(
            f"Cannot load sufficient statistics from {name}: {error}. The file is damaged, "
            "truncated, or was not written by SufficientStatistics.save."
        ) from error


def _as_saved(classes: NDArray[Any], as_objects: bool) -> NDArray[Any]:
    if as_objects:
        return classes.astype(object)
    return classes.astype(np.str_) if classes.dtype == object else classes


def _check_sums(
    arrays: dict[str, NDArray[Any]],
    diagonal: NDArray[Any],
    rounding: NDArray[np.float64],
    n_samples: int,
    weight_sum: float,
    multilabel: bool,
) -> None:
    """Raise if sums contradict each other by more than rounding can explain."""
    weights, counts = arrays["class_weights"], arrays["class_counts"]
    slack = 1e-6 * weight_sum
    if (weights < -slack).any() or (weights > weight_sum + slack).any():
        raise ValueError("the weights of the classes are negative, or exceed that of all rows")
    if not multilabel and abs(weights.sum() - weight_sum) > slack:
        raise ValueError("the weights of the classes do not add up to that of all rows")
    exact = diagonal.dtype == np.int64
    if exact and (weight_sum != n_samples or not np.array_equal(weights, counts)):
        raise ValueError("the sums are integers, but the weights are not the numbers of rows")
    squares = diagonal.astype(np.float64)
    if (squares < -1e3 * rounding).any():
        raise ValueError("a sum of squares is negative")
    # The Cauchy-Schwarz inequality, with roots because the squares of sums may overflow.
    sums = np.abs(arrays["feature_sums"].astype(np.float64))
    bound = np.sqrt(np.maximum(squares, 0.0) + 1e3 * rounding) * weight_sum**0.5
    if (sums > (1.0 + 1e-4) * bound + 1e-290).any():
        raise ValueError("sums of a column are larger than its sum of squares allows")


def _read_members(stream: IO[bytes]) -> dict[str, NDArray[Any]]:
    """The arrays of a file that have expected names; sizes are checked before arrays are read."""
    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    length = stream.seek(0, os.SEEK_END)
    arrays = {}
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        for name in MEMBERS:
            member = f"{name}.npy"
            if names.count(member) > 1:
                raise ValueError(f"it has two members {name!r}")
            if member not in names:
                continue
            info = archive.getinfo(member)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise ValueError(f"its member {name!r} is compressed")
            if info.header_offset + info.file_size > length:
                raise ValueError(
                    f"its member {name!r} claims to have {info.file_size} bytes, but the file has "
                    f"{length}"
                )
            with archive.open(info) as content:
                version = np.lib.format.read_magic(content)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise ValueError(f"its member {name!r} has the format {version}")
                shape, fortran, dtype = read(content)
                n_bytes = math.prod(shape) * dtype.itemsize
                if dtype.hasobject or content.tell() + n_bytes != info.file_size:
                    raise ValueError(
                        f"its member {name!r} has {info.file_size} bytes, which do not make an "
                        f"array of shape {shape} and dtype {dtype}"
                    )
                data = np.frombuffer(bytearray(content.read()), dtype)
            arrays[name] = data.reshape(shape, order="F" if fortran else "C")
    return arrays


def _check_header(header: dict[str, Any]) -> None:
    """Raise unless each entry has the right type; a bool does not count as a number."""
    kinds: dict[str, tuple[type, ...]] = {
        "version": (int,),
        "n_samples": (int,),
        "weight_sum": (int, float),
        "dtype": (str,),
        "multilabel": (bool,),
        "labels_are_objects": (bool,),
    }
    if header.get("version") != 1:
        kinds |= {"labels": (list, NoneType), "feature_names": (list, NoneType)}
    for name, types in kinds.items():
        value = header[name]
        if type(value) not in types:
            raise ValueError(f"its header's {name} is {value!r}")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise ValueError(f"its header's {name} are not strings: {value[:5]}")


def _check_arrays(arrays: dict[str, NDArray[Any]]) -> None:
    """Raise unless each array has the right shape and dtype, and finite numbers."""
    d, k = len(arrays["shift"]), len(arrays["classes"])
    if d == 0:
        raise ValueError("it has no features")
    expected = {
        "shift": (d,),
        "feature_sums": (d,),
        "triangle": (d * (d + 1) // 2,),
        "classes": (k,),
        "class_counts": (k,),
        "class_weights": (k,),
        "class_sums": (k, d),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}; expected {shape}")
    totals = arrays["triangle"].dtype
    if totals not in (np.dtype(np.int64), np.dtype(np.float64)):
        raise ValueError(f"the sums are {totals}")
    for name, kind in {"shift": "f8", "class_counts": "i8", "class_weights": "f8"}.items():
        if arrays[name].dtype != np.dtype(kind):
            raise ValueError(f"{name} is {arrays[name].dtype}")
    for name in ("feature_sums", "class_sums"):
        if arrays[name].dtype != totals:
            raise ValueError(f"{name} is {arrays[name].dtype} and the Gram matrix {totals}")
    for name in ("shift", "feature_sums", "triangle", "class_weights", "class_sums"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")
    classes = arrays["classes"]
    if classes.dtype.kind not in "biufOUSmM" or not (classes[:-1] < classes[1:]).all():
        raise ValueError("classes are not distinct labels in ascending order")
    if classes.dtype.kind in "fmM" and np.isnan(classes).any():
        raise ValueError("one of the classes is NaN or NaT")


def _check_counts(
    n_samples: int, weight_sum: float, multilabel: bool, counts: NDArray[np.int64]
) -> None:
    """Raise if numbers of rows contradict each other."""
    if not 0 <= n_samples < 2**63:
        raise ValueError(f"there cannot be {n_samples} rows")
    if (counts < 0).any() or not (counts <= n_samples).all() or not 0 <= weight_sum < np.inf:
        raise ValueError("the numbers of rows and the sums of weights contradict each other")
    if not multilabel and counts.sum() != n_samples:
        raise ValueError(f"the class counts do not add up to {n_samples} rows")


def _read_rounding(
    version: int,
    arrays: dict[str, NDArray[Any]],
    gram: NDArray[Any],
    n_samples: int,
    dtype: np.dtype[Any],
) -> NDArray[np.float64]:
    """Rounding errors of the sums of squares, from the file or (version 1) estimated."""
    rounding = arrays.get("rounding")
    if version == 1:  # held none, and may hold differences with a residue of rounding
        squares = gram.diagonal().astype(np.float64)
        least = np.zeros(len(gram))
        if gram.dtype == np.float64:
            least = fold_rounding(gram, arrays["class_sums"], n_samples, dtype)
        return np.maximum(least, -squares)
    if rounding is None or rounding.shape != (len(gram),) or rounding.dtype != np.float64:
        raise ValueError("the rounding errors are not one float64 number per feature")
    if not (np.isfinite(rounding) & (rounding >= 0.0)).all():
        raise ValueError("the rounding errors are not finite, or negative")
    return rounding


def _from_arrays(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Check everything that the rest of the package relies on; return the attributes."""
    version, names = header["version"], arrays.get("feature_names")
    if version > 1:
        if header["labels"] is not None:
            arrays["classes"] = np.array(header["labels"], dtype=object)
        given = header["feature_names"]
        names = None if given is None else np.array(given, dtype=object)
    _check_arrays(arrays)
    d, counts = len(arrays["shift"]), arrays["class_counts"]
    n_samples, weight_sum = header["n_samples"], float(header["weight_sum"])
    _check_counts(n_samples, weight_sum, header["multilabel"], counts)
    dtype = np.dtype(header["dtype"])
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"coefficients cannot be {dtype}")
    if names is not None and names.shape != (d,):
        raise ValueError(f"feature_names has shape {names.shape}; expected {(d,)}")
    gram = unpack_triangle(arrays["triangle"], d)
    rounding = _read_rounding(version, arrays, gram, n_samples, dtype)
    if version > 1:
        squares = gram.diagonal()
        _check_sums(arrays, squares, rounding, n_samples, weight_sum, header["multilabel"])
    return {
        "n_samples": n_samples,
        "weight_sum": weight_sum,
        "shift": arrays["shift"],
        "feature_sums": arrays["feature_sums"],
        "gram": gram,
        "classes": _as_saved(arrays["classes"], header["labels_are_objects"]),
        "class_counts": counts,
        "class_weights": arrays["class_weights"],
        "class_sums": arrays["class_sums"],
        "rounding": rounding,
        "dtype": dtype,
        "multilabel": header["multilabel"],
        "feature_names": None if names is None else names.astype(object),
    }
