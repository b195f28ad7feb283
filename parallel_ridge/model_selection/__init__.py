"""Penalties times folds from fold statistics; scores from confusion counts."""

from parallel_ridge.model_selection._scoring import Scoring, fit_scale, probabilities
from parallel_ridge.model_selection._search import Search, Searcher
from parallel_ridge.model_selection._splits import Split, alike, make_splits

__all__ = [
    "Scoring",
    "Search",
    "Searcher",
    "Split",
    "alike",
    "fit_scale",
    "make_splits",
    "probabilities",
]
