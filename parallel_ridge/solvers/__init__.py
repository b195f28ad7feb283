"""Solvers: statistics and penalties in, coefficients out; every solve is in float64."""

from parallel_ridge.solvers._band import BandedForm, BandFactor, band_leverages
from parallel_ridge.solvers._cholesky import CholeskyFactor, factorising
from parallel_ridge.solvers._conjugate_gradients import solve_conjugate_gradients
from parallel_ridge.solvers._dual import (
    DualBand,
    DualSystem,
    row_coordinates,
    solve_dual,
    symmetric,
)
from parallel_ridge.solvers._normal_equations import NormalEquations
from parallel_ridge.solvers._path import solve_path, solve_penalties
from parallel_ridge.solvers._problem import Problem, Solution, n_targets
from parallel_ridge.solvers._refinement import exact_residual, refine, solve_refined
from parallel_ridge.solvers._row_system import RowFactor, RowSystem
from parallel_ridge.solvers._spectrum import Spectrum

__all__ = [
    "BandFactor",
    "BandedForm",
    "CholeskyFactor",
    "DualBand",
    "DualSystem",
    "NormalEquations",
    "Problem",
    "RowFactor",
    "RowSystem",
    "Solution",
    "Spectrum",
    "band_leverages",
    "exact_residual",
    "factorising",
    "n_targets",
    "refine",
    "row_coordinates",
    "solve_conjugate_gradients",
    "solve_dual",
    "solve_path",
    "solve_penalties",
    "solve_refined",
    "symmetric",
]
