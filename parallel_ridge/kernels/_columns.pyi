from typing import Any

import numpy as np
from numpy.typing import NDArray

def transpose(X: NDArray[Any], out: NDArray[Any], n_threads: int) -> None: ...
def form(
    X: NDArray[Any],
    weights: NDArray[np.float64],
    anchor: int,
    centre: bool,
    scale: bool,
    out: NDArray[Any],
    means: NDArray[np.float64],
    variances: NDArray[np.float64] | None,
    n_threads: int,
) -> None: ...
