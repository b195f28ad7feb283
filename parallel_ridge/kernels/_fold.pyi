from typing import Any

import numpy as np
from numpy.typing import NDArray

def levels() -> list[str]: ...
def level() -> str: ...
def max_threads() -> int: ...
def has_openmp() -> bool: ...
def piece_rows(dtype: np.dtype[Any], exact: bool, n_columns: int) -> int: ...
def workspace_bytes(
    dtype: np.dtype[Any], exact: bool, n_columns: int, n_lanes: int, n_threads: int
) -> int: ...
def fold_dense(
    X: NDArray[Any],
    shift: NDArray[Any] | None,
    weights: NDArray[np.float64] | None,
    labels: NDArray[np.int32],
    label_ptr: NDArray[np.int64] | None,
    grams: list[NDArray[Any]],
    class_sums: NDArray[Any],
    workspace: NDArray[np.uint8],
    n_threads: int,
) -> None: ...
def narrow(
    X: NDArray[Any], out: NDArray[np.uint8], least: int, most: int, n_threads: int
) -> tuple[int, int] | None: ...
def fold_csr(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    n_columns: int,
    weights: NDArray[np.float64] | None,
    labels: NDArray[np.int32],
    label_ptr: NDArray[np.int64] | None,
    grams: list[NDArray[np.float64]],
    class_sums: NDArray[np.float64],
    n_threads: int,
) -> None: ...
