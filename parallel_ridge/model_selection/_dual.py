"""Searches over penalties with fewer rows than features, from the products of all pairs of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.exceptions import IllConditioned
from parallel_ridge.folding import WideRows
from parallel_ridge.model_selection._splits import Splits
from parallel_ridge.reductions import DualLeaveOneOutDecisions, RowProducts
from parallel_ridge.solvers import DualSystem, band_leverages, symmetric
from parallel_ridge.sources import Source
from parallel_ridge.threads import blas_of_solve

if TYPE_CHECKING:
    from parallel_ridge.model_selection._search import Balance, Path, PenaltySearch

Found = tuple[NDArray[np.float64], NDArray[np.float64], float]


def dual_paths(
    searcher: PenaltySearch, rows: WideRows, splits: Splits, balance: Balance | None
) -> list[Path] | None:
    """Solutions of each split, in the space of the products: their rows are the features.

    None if the products have too few digits for one of the splits.
    """
    weights = searcher.training_weights(splits, balance)
    if searcher.problem.standardize:  # each training set scales the features anew
        sets = [(replace(rows, weights=own, products=None), [own]) for own in weights]
    else:
        sets = [(rows, weights)]
    found: list[Found] = []
    scored: list[Source] = []
    try:
        for some, trained in sets:
            found += _solutions(searcher, some, trained)
            assert some.products is not None
            source = searcher.scored.with_rows(symmetric(some.products.K))
            scored += [source] * len(trained)
            if some is not rows:
                some.products = None
    except IllConditioned:
        return None
    paths = []
    for i, (coefs, intercepts, seconds) in enumerate(found):
        counts = searcher.training(splits, i, balance).class_counts(len(searcher.target.classes))
        paths.append(searcher.path(i, counts, coefs, intercepts, scored[i], seconds))
    return paths


def dual_leave_one_out(
    searcher: PenaltySearch, rows: WideRows
) -> tuple[Callable[[Sequence[int]], DualLeaveOneOutDecisions], NDArray[np.float64]] | None:
    """What gives the decisions of left-out rows; None if the products have too few digits.

    Returns
    -------
    decisions : callable
        ``decisions(some)``: the `DualLeaveOneOutDecisions` for the penalties at some positions.
    coordinates : ndarray of shape (n, r)
        The rows that they take.
    """
    Y = _targets(searcher, rows)

    def use(products: RowProducts) -> tuple[Any, ...]:
        def solve(weights: NDArray[np.float64]) -> tuple[Any, ...]:
            with blas_of_solve(len(weights)):
                system = DualSystem(products, weights, Y, searcher.problem)
                form = system.banded()
                rotated = form.rotate(system.rhs)
                factors = [form.factor(alpha) for alpha in searcher.alphas]
                return form.coordinates(), factors, rotated, system.target_means

        return searcher.backend.map(solve, [rows.weights])[0]

    try:
        found = rows.with_enough_digits(searcher.backend, searcher.problem, use)
    except IllConditioned:
        rows.products = None
        return None
    coordinates, factors, rotated, target_means = found

    def decisions(some: Sequence[int]) -> DualLeaveOneOutDecisions:
        chosen = [factors[j] for j in some]
        solutions = np.empty((coordinates.shape[1], len(chosen), rotated.shape[1]))
        for i, factor in enumerate(chosen):
            solutions[:, i] = factor.solve(rotated, whole=True)
        return DualLeaveOneOutDecisions(
            band_leverages(chosen),
            solutions,
            target_means,
            searcher.errors.targets,
            len(searcher.target.classes),
        )

    return decisions, coordinates


def _targets(searcher: PenaltySearch, rows: WideRows) -> NDArray[np.float64]:
    return rows.labels.indicator(len(searcher.target.classes))[:, searcher.errors.targets]


def _solutions(
    searcher: PenaltySearch, rows: WideRows, weights: Sequence[NDArray[np.float64]]
) -> list[Found]:
    Y = _targets(searcher, rows)

    def use(products: RowProducts) -> list[Found]:
        def solve(own: NDArray[np.float64]) -> Found:
            start = time.perf_counter()
            with blas_of_solve(len(own)):
                path = DualSystem(products, own, Y, searcher.problem).path(searcher.alphas)
            return *path, time.perf_counter() - start

        return searcher.backend.map(solve, weights)

    start = time.perf_counter()
    found = rows.with_enough_digits(searcher.backend, searcher.problem, use)
    solves = sum(seconds for _, _, seconds in found)
    shared = max(0.0, time.perf_counter() - start - solves) / len(found)
    return [(coefs, intercepts, seconds + shared) for coefs, intercepts, seconds in found]
