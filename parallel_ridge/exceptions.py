"""Warnings and errors, and the line that a warning points to."""

from __future__ import annotations

import os
import sys
import warnings


class BackendUnavailable(ImportError):
    """A backend whose library is missing or broken; the cause is kept."""


class IllConditionedWarning(UserWarning):
    """A system was too ill-conditioned for the chosen solver; the message says what was done."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line that called into this package."""
    package = os.path.join(os.path.dirname(__file__), "")  # not that of a neighbour's name
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class IllConditioned(ArithmeticError):
    """A solve whose condition number exceeds what its sums, or its solver, allow.

    Attributes
    ----------
    condition : float
        Estimated condition number of the scaled system; infinite if it is singular.
    lost : float
        Relative rounding error of the sums.
    """

    def __init__(self, condition: float, lost: float = 0.0) -> None:
        super().__init__(condition, lost)
        self.condition = condition
        self.lost = lost

    def __str__(self) -> str:
        sums = f", and rounding has taken {self.lost:.1e} of its sums" if self.lost > 1e-12 else ""
        return f"condition number {self.condition:.1e}{sums}"
