"""Penalties times folds from fold statistics; scores from confusion counts."""

from parallel_ridge.model_selection._dealing import Dealer, deal
from parallel_ridge.model_selection._results import Scores, Search
from parallel_ridge.model_selection._scoring import (
    ERROR_SCORES,
    Scoring,
    log_probabilities,
    probabilities,
)
from parallel_ridge.model_selection._search import PenaltySearch
from parallel_ridge.model_selection._splits import Splits
from parallel_ridge.model_selection._streamed import search_folds

__all__ = [
    "ERROR_SCORES",
    "Dealer",
    "PenaltySearch",
    "Scores",
    "Scoring",
    "Search",
    "Splits",
    "deal",
    "log_probabilities",
    "probabilities",
    "search_folds",
]
