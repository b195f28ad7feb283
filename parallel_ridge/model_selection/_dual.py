"""Searches over penalties with fewer rows than features, from the products of all pairs of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.folding import WideRows, block_weights
from parallel_ridge.model_selection._splits import Splits
from parallel_ridge.reductions import DualLeaveOneOutDecisions, RowProducts, RowsReduction
from parallel_ridge.solvers import DualSpectrum, DualSystem, symmetric

if TYPE_CHECKING:
    from parallel_ridge.model_selection._search import Balance, Path, PenaltySearch

Found = tuple[NDArray[np.float64], NDArray[np.float64], float]


def dual_paths(
    searcher: PenaltySearch, rows: WideRows, splits: Splits, balance: Balance | None
) -> list[Path] | None:
    """Solutions of each split, in the space of the products: their rows are the features.

    None if the products have too few digits for one of the splits.
    """
    numbers = range(len(splits))
    bare = searcher.without_features()
    training = [bare.training(splits, i, balance) for i in numbers]
    weights = [
        block_weights(bare.backend.reduce(RowsReduction(), some.with_others_weightless()))
        for some in training
    ]
    standardize = searcher.problem.standardize
    # If features are standardised, each training set scales them anew.
    sets = [(replace(rows, weights=own, products=None), [own]) for own in weights]
    found, scored = [], []
    try:
        for some, trained in sets if standardize else [(rows, weights)]:
            found += _solutions(searcher, some, trained)
            assert some.products is not None
            source = searcher.scored.with_rows(symmetric(some.products.K))
            scored += [source] * len(trained)
            if standardize:
                some.products = None
    except IllConditioned:
        return None
    return [searcher.path(i, training[i], *found[i][:2], scored[i], found[i][2]) for i in numbers]


def dual_leave_one_out(
    searcher: PenaltySearch, rows: WideRows
) -> tuple[Callable[[Sequence[float]], DualLeaveOneOutDecisions], NDArray[np.float64]] | None:
    """What gives the decisions of left-out rows; None if the products have too few digits.

    Returns
    -------
    decisions : callable
        ``decisions(alphas)``: the `DualLeaveOneOutDecisions` for some penalties.
    coordinates : ndarray of shape (n, r)
        The rows that they take.
    """
    Y = _targets(searcher, rows)

    def use(products: RowProducts) -> tuple[NDArray[np.float64], DualSpectrum]:
        def solve(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], DualSpectrum]:
            spectrum = DualSystem(products, weights, Y, searcher.problem).spectrum()
            spectrum.check_search(searcher.alphas)
            return spectrum.coordinates(), spectrum

        return searcher.backend.map(solve, [rows.weights])[0]

    try:
        coordinates, spectrum = rows.with_enough_digits(searcher.backend, searcher.problem, use)
    except IllConditioned:
        rows.products = None
        return None
    system = spectrum.system
    rotated = spectrum.vectors.T @ system.rhs

    def decisions(alphas: Sequence[float]) -> DualLeaveOneOutDecisions:
        inverse = np.array([spectrum.inverse(alpha) for alpha in alphas])
        k = len(searcher.target.classes)
        return DualLeaveOneOutDecisions(
            inverse, rotated, system.target_means, searcher.errors.targets, k
        )

    return decisions, coordinates


def _targets(searcher: PenaltySearch, rows: WideRows) -> NDArray[np.float64]:
    return rows.labels.indicator(len(searcher.target.classes))[:, searcher.errors.targets]


def _solutions(
    searcher: PenaltySearch, rows: WideRows, weights: Sequence[NDArray[np.float64]]
) -> list[Found]:
    Y = _targets(searcher, rows)

    def use(products: RowProducts) -> list[Found]:
        def solve(own: NDArray[np.float64]) -> Found | IllConditioned:
            start = time.perf_counter()
            try:
                path = DualSystem(products, own, Y, searcher.problem).path(searcher.alphas)
            except IllConditioned as error:  # in a value, because a backend may wrap what is raised
                return error
            return *path, time.perf_counter() - start

        found = searcher.backend.map(solve, weights)
        for one in found:
            if isinstance(one, IllConditioned):
                raise one
        return [one for one in found if not isinstance(one, IllConditioned)]

    start = time.perf_counter()
    found = rows.with_enough_digits(searcher.backend, searcher.problem, use)
    solves = sum(seconds for _, _, seconds in found)
    shared = max(0.0, time.perf_counter() - start - solves) / len(found)
    return [(coefs, intercepts, seconds + shared) for coefs, intercepts, seconds in found]
