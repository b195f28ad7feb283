"""Numerical policy: what rounding costs, and how we respond. `docs/numerics.md` explains the table.

One measure judges every solution. Sums of products carry their rounding error
(`SufficientStatistics.rounding`). Relative to the sums after centring, this error is ``lost``. The
relative error of the coefficients is then about ``condition * (SOLVE_ROUNDING + lost)``.

Sizes of tiles and blocks change no answer; they stand beside the loops that they tune.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import TypeVar

import numpy as np

T = TypeVar("T")

EPSILON = float(np.finfo(np.float64).eps)

ROUNDING = {"float32": 2.0**-24 * 128**0.5, "float64": 2.0 * EPSILON}
"""Rounding error of sums of products, relative to the sums of squares about the shift, by dtype of
the products. float32 sums have 128 terms with independent errors of 2^-24, so for n rows the error
is ``1 / sqrt(n)`` times this. float64 sums are long, and their errors do not average out. Measured
against extended precision on 3 to 100,000 rows of normal, exponential and heavy-tailed columns, the
2-norm of the error was 0.2 to 7 times the estimate."""
REPEATED = 2.0**-24 * 32
"""Rounding error that float32 sums of squares have in common, per fraction of neighbouring rows with
equal values in a column. Errors do not average out if values return: 128 equal terms lose up to 64
times 2^-24, all in one direction. Measured on standardised indicators: 30 times 2^-24 at most."""
COARSE = 2.0**-24 * 3
"""The same for columns where few neighbours are equal, but some: values of a grid, or of half
precision, whose squares round one way more often than the other. Measured: 1.6 times 2^-24 for 256
levels, 1.4 times for normal columns in float16, and 2.7 times in bfloat16."""
FEW_EQUAL = 1.0 / 16.0
"""Fraction of equal neighbours from which `REPEATED` applies."""
LEAST = {"float32": 2.0**-149, "float64": 2.0**-1074}
"""Largest error that underflow causes in each product, by dtype of the products."""
CONSTANT = 4.0
"""A column counts as constant if its sum of squares is no more than this many times the rounding
error of that sum."""
SOLVE_ROUNDING = 8.0 * EPSILON
"""Relative error of a solve per unit of condition number. Measured on adversarial systems: at most
ten times EPSILON, of which float64 sums account for two."""
ACCURACY = {"float32": 2.3e-2, "float32 with more digits": 1e-6, "float64": 1e-8, "exact": 1e-8}
"""Largest relative error of coefficients that needs neither refinement nor a warning, by kind of
rows. scikit-learn solves in float32 for float32 rows, and so loses the condition number times
2^-24, and more where values repeat; float32 sums with a rounding error like that
(`FLOAT32_ROUNDING`, or twice that of sums of repeated values) lose no more. With fewer rows
than features scikit-learn solves the dual system, which is better conditioned."""
FLOAT32_ROUNDING = (1e-12, 2.0**-23)
"""Relative rounding error of float32 sums, from and to which ``ACCURACY["float32"]`` applies;
outside this range, and with fewer rows than features, ``ACCURACY["float32 with more digits"]``
does."""
FEW_ROWS = 256
"""With fewer float32 rows than this, or than features, products are formed in float64: errors of so
few rows do not average out, and float64 costs little."""
UNRELATED = 1e-6
"""If the features explain a smaller fraction of the targets than this, the coefficients are as good
as zero, and their error is measured as if the features explained this much."""
FAR = 16.0
"""A better shift is needed if the sums of squares about the shift exceed this many times the
variance and have lost more than `WORTH_A_PASS`. A shift within two standard errors of the mean
never needs one."""
WORTH_A_PASS = {"float32": 2.0**-22, "float64": 2.0**-42}
"""Relative rounding error of centred sums above which another pass over the rows, with a better
shift or in float64, is worth its cost; by dtype of the products."""
REFINED = {"float32": 1e-5, "float64": 1e-8}
"""Relative size of the step at which refinement stops, by dtype of the rows."""
REFINE_LIMIT = 1e13
"""Largest condition number at which a Cholesky factor can still correct its own solution: the
fraction of the error that each step leaves is the condition number times EPSILON, and what the sums
have lost."""
SEARCH_LIMIT = {"float32": 1e12, "float64": 1e9, "exact": 1e12}
"""Largest condition number at which a search, which only ranks penalties, solves from statistics.
Integer sums are exact, and float32 rows are themselves rounded."""
SEARCH_ACCURACY = {"float32": 1e-2, "float64": 1e-8, "exact": 1e-8}
"""Largest relative error that sums may cause in the decision values of a search. It is estimated as
``sqrt(condition) * lost``, because directions with little variance hardly affect these values."""
FLOAT32_WEIGHTS = (2.0**-64, 2.0**64)
"""Smallest and largest weight with which products of float32 rows are formed in float32."""
EXACT_LIMIT = 2**21
"""Largest absolute value of integers whose products the kernels sum exactly: sums of 2^11 products,
more than a chunk has rows, do not exceed 2^53. Integers that fit in a byte take less time."""
LARGEST_SUM = 2**62
"""Sums of integers that could reach this continue in float64, long before they could exceed int64."""
CLOSE_TO_ONE = 1e-2
"""Leave-one-out values are recomputed in float64 where one minus the leverage is below this:
float32 has too few digits left there."""
LEVERAGE_ROUNDING = 1e-9
LARGEST_ROUNDED = 0.1
"""Leverages are formed in float32 if their estimated error is at most LEVERAGE_ROUNDING, and kept
if they are at most LARGEST_ROUNDED. On adversarial data (copied columns, values near the end of
float32's range, weights) the root mean square error of left-out values stayed below 1e-8 of the
residuals'."""
FLOAT32_LEVERAGE = 1e-3
"""Estimated error up to which leverages of float32 rows are formed in float32. Those in a band lose
2^-24 of the root of the condition number."""
FLOAT32_RANGE = 1e30
"""Largest number whose squares and products float32 can hold as far as they matter."""
CG_ACCURACY = 1e-14
"""Without a penalty, conjugate gradients stop at this residual, relative to the right-hand side."""
LARGEST_SYSTEM = 20_000
"""Order beyond which no n x n or d x d matrix is formed: it would take more than 3 GiB, and minutes
to factorise; conjugate gradients need neither matrix."""
LARGE_SYSTEM = 5_000
CG_STEPS = 1000
"""Beyond the order LARGE_SYSTEM a factorisation takes seconds. Its cost is then compared with that
of CG_STEPS steps of conjugate gradients, about as many as an ill-conditioned system needs."""
FACTOR_PAYS = 10
"""If more penalties than this may be too small for the banded form, the singular values of one
Cholesky factor serve all of them: 1.6 s in place of 2.3 s for 100 penalties from 1e-5 to 1e5 and five
folds of MNIST in float32 (two cores)."""
BAND_ROWS = 0.05
"""Leave-one-out takes the banded form rather than an eigendecomposition if rows times penalties are
fewer than this many times the square of the number of features: leverages in a band cost more."""
BAND_PAYS = 5
"""Number of penalties beyond which one banded form costs less than one Cholesky factorisation per
penalty. With ten penalties it took as long as 5.3, 4.1, 4.7 and 3.3 factorisations of order 784,
2,000, 4,000 and 6,000 (one core with AVX-512, OpenBLAS)."""


def pairwise_sum(parts: list[T], plus: Callable[[T, T], T] = add) -> T:
    """Sum one or more parts in a fixed binary tree of neighbours; the list is consumed.

    The rounding error grows with the logarithm of the number of parts (Higham, 2002, Accuracy and
    Stability of Numerical Algorithms, section 4.2), and the bits depend on the order of the parts
    alone.
    """
    while len(parts) > 1:
        for i in range(len(parts) // 2):
            parts[i] = plus(parts[2 * i], parts[2 * i + 1])
        if len(parts) % 2:
            parts[len(parts) // 2] = parts[-1]
        del parts[(len(parts) + 1) // 2 :]
    return parts[0]
