from typing import Any

import numpy as np
from numpy.typing import NDArray

def add(into: NDArray[Any], other: NDArray[Any]) -> None: ...
def pack(matrix: NDArray[Any], packed: NDArray[Any]) -> None: ...
def unpack(packed: NDArray[Any], matrix: NDArray[Any]) -> None: ...
def move_shift(
    gram: NDArray[np.uint64],
    step: NDArray[np.uint64],
    sums: NDArray[np.uint64],
    n_rows: int,
    out: NDArray[Any],
) -> None: ...
def select(matrix: NDArray[np.float64], kept: NDArray[np.intp]) -> None: ...
def scale(
    matrix: NDArray[np.float64],
    factors: NDArray[np.float64],
    out: NDArray[np.float64],
    norm: NDArray[np.float64],
) -> None: ...
