from typing import Any

import numpy as np
from numpy.typing import NDArray

def eigenvectors(matrix: NDArray[np.float64], values: NDArray[np.float64]) -> int: ...
def tridiagonal(
    matrix: NDArray[np.float64],
    diagonal: NDArray[np.float64],
    off_diagonal: NDArray[np.float64],
    factors: NDArray[np.float64],
) -> None: ...
def rotate(
    rotation: NDArray[np.float64],
    factors: NDArray[np.float64],
    columns: NDArray[np.float64],
    back: bool,
) -> None: ...
def cholesky(matrix: NDArray[Any], panel: int) -> int: ...
def solve(factor: NDArray[Any], columns: NDArray[Any]) -> None: ...
def multiply(
    matrix: NDArray[np.float64], columns: NDArray[np.float64], out: NDArray[np.float64]
) -> None: ...
