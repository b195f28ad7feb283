import numpy as np
from numpy.typing import NDArray

def levels() -> list[str]: ...
def level() -> str: ...
def max_threads() -> int: ...
def has_openmp() -> bool: ...
def workspace_bytes(
    dtype: np.dtype, exact: bool, n_rows: int, n_columns: int, n_threads: int
) -> int: ...
def fold_dense(
    X: NDArray,
    shift: NDArray | None,
    weights: NDArray[np.float64] | None,
    labels: NDArray[np.int32],
    label_ptr: NDArray[np.int64] | None,
    gram: NDArray,
    class_sums: NDArray,
    workspace: NDArray[np.uint8],
    n_threads: int,
) -> None: ...
def fold_csr(
    indptr: NDArray,
    indices: NDArray,
    data: NDArray,
    n_columns: int,
    weights: NDArray[np.float64] | None,
    labels: NDArray[np.int32],
    label_ptr: NDArray[np.int64] | None,
    gram: NDArray[np.float64],
    class_sums: NDArray[np.float64],
    n_threads: int,
) -> None: ...
