"""Solutions for penalties near one whose Cholesky factor is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.kernels import _lapack
from parallel_ridge.solvers._cholesky import CholeskyFactor
from parallel_ridge.solvers._normal_equations import NormalEquations

STEP_COST = 1.5
"""Time of a step per multiplication, relative to that of a factorisation: products with few columns
are slower than those inside of a factorisation. Measured at 2,000 and 6,000 features, ten targets."""
LEAST_TARGETS = 8
"""A step for fewer targets takes as long as for these: it reads the system and the factor."""
LEAST_STEPS = 2
"""Steps that must be affordable for a trial: fewer hardly ever suffice."""
LEAST_FEATURES = 1000
"""Below this order a factorisation takes a few ms, and a step little less."""


def affordable_steps(n_features: int, n_targets: int) -> int:
    """Number of steps that cost less than a Cholesky factorisation, ``d^3 / 6``; 0 if too few.

    A step costs ``2 d^2 t`` for t targets: products with the system and with the factor's inverse.
    """
    steps = int(0.8 * n_features / (12.0 * STEP_COST * max(n_targets, LEAST_TARGETS)))
    return steps if steps >= LEAST_STEPS and n_features >= LEAST_FEATURES else 0


def solve_nearby(
    system: NormalEquations, factor: CholeskyFactor, alpha: float, most: int, accuracy: float
) -> NDArray[np.float64] | None:
    """Solve a system by conjugate gradients, preconditioned with its factor for another penalty.

    For the penalties a of the factor and b of the system, all eigenvalues of the preconditioned
    system lie between 1 and b / a, so penalties near each other need few steps; so do penalties that
    are all much smaller, or all much larger, than the eigenvalues of the Gram matrix.

    Parameters
    ----------
    system : NormalEquations
    factor : CholeskyFactor
        Of the same system.
    alpha : float
        Penalty to solve for.
    most : int
        Largest number of steps.
    accuracy : float
        Relative error, in the norm of the system, at which to stop.

    Returns
    -------
    coef : ndarray of shape (t, d), or None
        None as soon as the steps taken suggest that ``most`` do not suffice.

    References
    ----------
    Saad (2003), Iterative Methods for Sparse Linear Systems, 2nd ed., section 9.2.
    """
    scale = factor.scale[:, None]
    penalty = (system.penalty(alpha) * system.penalties)[:, None] * scale**2
    # In the scaled coordinates of the factor, right-hand sides of length 1: float32 holds them.
    rhs = system.rhs[:, system.varies].T * scale
    lengths = np.linalg.norm(rhs, axis=0)
    rhs /= np.where(lengths > 0.0, lengths, 1.0)
    left, x = rhs.copy(order="F"), np.zeros_like(rhs)
    direction, product = (np.zeros_like(rhs, order="F") for _ in range(2))
    before = np.ones(rhs.shape[1])
    log_accuracy = 2.0 * np.log(accuracy)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for step in range(most + 1):
            solved = factor.solve_scaled(left)
            # The error in the norm of the system, whose square is as large as this, up to b / a.
            size = np.einsum("ij,ij->j", left, solved)
            if step:
                energy = np.einsum("ij,ij->j", rhs, x)
                known = lengths > 0.0
                worst = float(np.max(np.abs(size[known] / energy[known]), initial=0.0))
                if worst <= accuracy**2:
                    coef = np.zeros_like(system.rhs)
                    coef[:, system.varies] = (scale * x * lengths).T
                    return coef
                late = step >= LEAST_STEPS and step * log_accuracy < most * np.log(min(worst, 1.0))
                if late or step == most or not np.isfinite(worst):
                    break
            direction[:] = solved + size / before * direction
            _lapack.multiply(system.gram.T, np.asfortranarray(scale * direction), product)
            image = scale * product + penalty * direction
            curvature = np.einsum("ij,ij->j", direction, image)
            length = np.divide(size, curvature, out=np.zeros_like(size), where=curvature > 0.0)
            x += length * direction
            left -= length * image
            before = np.where(size > 0.0, size, 1.0)
    return None
