"""Penalties times folds from fold statistics; scores from confusion counts."""

from parallel_ridge.model_selection._results import Search
from parallel_ridge.model_selection._scoring import Scoring, log_probabilities, probabilities
from parallel_ridge.model_selection._search import PenaltySearch
from parallel_ridge.model_selection._splits import Splits

__all__ = [
    "PenaltySearch",
    "Scoring",
    "Search",
    "Splits",
    "log_probabilities",
    "probabilities",
]
