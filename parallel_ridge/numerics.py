"""Numerical policy: what rounding costs, and what follows. `docs/numerics.md` explains the table.

One measure judges every solution. Sums of products know their rounding error
(`SufficientStatistics.rounding`); relative to what centring leaves of them it is ``lost``; and the
coefficients are off by about ``condition * (SOLVE_ROUNDING + lost)``, relative.

Sizes of tiles and blocks, which change no answer, stand beside the loops that they tune.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import TypeVar

import numpy as np

T = TypeVar("T")

EPSILON = float(np.finfo(np.float64).eps)

ROUNDING = {"float32": 2.0**-24 * 128**0.5, "float64": 2.0 * EPSILON}
"""Rounding of sums of products, relative to the sums of squares about the shift, by dtype of the
products. float32: independent errors of 2^-24 in sums of 128 terms, so that of n rows it is
``1 / sqrt(n)`` times this; float64 sums are long, and theirs does not average out. Measured against
extended precision, 3 to 100,000 rows of normal, exponential and heavy-tailed columns: the 2-norm of
the error was 0.2 to 7 times as large."""
LEAST = {"float32": 2.0**-149, "float64": 2.0**-1074}
"""What each product may lose by underflow, by dtype of the products."""
CONSTANT = 4.0
"""A sum of squares of up to this many times its rounding error is taken for that of a constant."""
SOLVE_ROUNDING = 8.0 * EPSILON
"""Error of a solve per unit of condition number: ten times EPSILON at most on systems made to be bad,
the two of their float64 sums included."""
ACCURACY = {"float32": 2.3e-2, "float32 with more digits": 1e-6, "float64": 1e-8, "exact": 1e-8}
"""Relative error of coefficients that needs neither mending nor a warning, by kind of the rows.
scikit-learn solves for float32 rows in float32, and so loses the condition number times 2^-24: float32
sums that are rounded by no more (`FLOAT32_ROUNDING`) do not lose more. With fewer rows than features it
solves the dual system, which is better conditioned."""
FLOAT32_ROUNDING = (1e-12, 2.0**-23)
FEW_ROWS = 256
"""Products of fewer float32 rows than this, or than features, are formed in float64: there errors do not
average out, and float64 costs little."""
UNRELATED = 1e-6
"""Part of the targets' size that features explain below which coefficients are as good as zero: their
error is measured as if they explained this much."""
FAR = 16.0
"""Sums of squares about a shift of this many times the variance call for a better shift, if they have
lost more than `WORTH_A_PASS`: two of a mean's standard errors never do."""
WORTH_A_PASS = {"float32": 2.0**-22, "float64": 2.0**-42}
"""Relative rounding of centred sums from which on another pass over the rows mends what a better shift,
or float64, can mend; by dtype of the products."""
REFINED = {"float32": 1e-5, "float64": 1e-8}
"""Relative size of the last step of a refinement, by dtype of the rows."""
REFINE_LIMIT = 1e13
"""Condition number up to which a Cholesky factor still corrects its own solution: each step leaves the
condition number times EPSILON, and what the sums have lost, of the error before it."""
SEARCH_LIMIT = {"float32": 1e12, "float64": 1e9, "exact": 1e12}
"""Condition number up to which a search, which only ranks penalties, solves from statistics. Integers
are summed exactly, and float32 rows are rounded themselves."""
SEARCH_ACCURACY = {"float32": 1e-2, "float64": 1e-8, "exact": 1e-8}
"""Relative error that sums may leave in the decision values of a search: the root of the condition
number times what was lost, since directions of little variance hardly count in them."""
FLOAT32_WEIGHTS = (2.0**-64, 2.0**64)
"""Weights with which products of float32 rows are formed in float32."""
EXACT_LIMIT = 2**21
"""Largest absolute value of integers whose products the kernels sum exactly: 2^11 of their products, a
chunk of rows, stay below 2^53."""
CLOSE_TO_ONE = 1e-2
"""One less a leverage below which leave-one-out values are computed anew in float64: there float32 has
too few digits left."""
LEVERAGE_ROUNDING = 1e-9
LARGEST_ROUNDED = 0.1
"""Estimated error up to which leverages are formed in float32, and their size up to which they are kept.
On adversarial data (copied columns, values near the end of float32's range, weights) the root mean
square error of left-out values stayed below 1e-8 of the residuals'."""
FLOAT32_RANGE = 1e30
"""Numbers up to here have squares and products of which float32 can hold what matters."""
CG_ACCURACY = 1e-14
"""Residuals of conjugate gradients without a penalty, relative to the right-hand sides, at the end."""
LARGEST_SYSTEM = 20_000
"""Order beyond which no n x n or d x d matrix is formed: it takes more than 3 GiB, and its factorisation
minutes; conjugate gradients need neither."""
LARGE_SYSTEM = 5_000
CG_STEPS = 1000
"""Order beyond which a factorisation takes seconds. Then it is compared with the cost of this many steps
of conjugate gradients, about as many as an ill-conditioned system needs."""
TRIDIAGONAL_PAYS = {1500: 5, 4000: 10}
"""Penalties beyond which one tridiagonal form costs less than a Cholesky each, as measured up to and at
some numbers of features (AMD Zen 4, OpenBLAS, ten classes, one and two threads)."""


def pairwise_sum(parts: list[T], plus: Callable[[T, T], T] = add) -> T:
    """Sum of at least one part in a fixed binary tree of neighbours; the list is used up.

    Its rounding grows with the logarithm of the number of parts (Higham, 2002, Accuracy and Stability of
    Numerical Algorithms, section 4.2), and its bits depend on their order alone.
    """
    while len(parts) > 1:
        for i in range(len(parts) // 2):
            parts[i] = plus(parts[2 * i], parts[2 * i + 1])
        if len(parts) % 2:
            parts[len(parts) // 2] = parts[-1]
        del parts[(len(parts) + 1) // 2 :]
    return parts[0]
