from typing import Any

import numpy as np
from numpy.typing import NDArray

def reads(X: NDArray[Any]) -> bool: ...
def values(
    X: NDArray[Any],
    intercepts: NDArray[Any],
    coefs: NDArray[Any] | None,
    out: NDArray[Any],
    n_threads: int = 1,
) -> int: ...
def codes(
    X: NDArray[Any],
    intercepts: NDArray[Any],
    coefs: NDArray[Any] | None,
    n_targets: int,
    out: NDArray[np.int64],
    table: NDArray[np.int64] | None = None,
    n_threads: int = 1,
) -> int: ...
def add_errors(
    X: NDArray[Any],
    intercepts: NDArray[Any],
    coefs: NDArray[Any] | None,
    out: NDArray[np.float64],
    offsets: NDArray[np.float64] | None = None,
    scales: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
    labels: NDArray[np.int32] | None = None,
    label_ptr: NDArray[np.int64] | None = None,
    first_target: int = 0,
) -> int: ...
