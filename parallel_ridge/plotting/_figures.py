"""What displays share."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline


def pyplot(display: str) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as err:
        raise ImportError(
            f"{display} needs matplotlib, which could not be imported ({err}). "
            "Install it with: pip install parallel-ridge[plot]"
        ) from err
    return plt


def last_step(estimator: Any) -> Any:
    """Unwrap pipelines and fitted searches, in any nesting."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator
