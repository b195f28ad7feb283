"""Features of blocks of samples, made by the fitted transformers of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from parallel_ridge.sources import Positions, as_csr, n_samples, samples_at

Steps = Sequence[tuple[str, Any]]


def transformed(steps: Steps, samples: Any, where: str) -> Any:
    """Samples after some fitted steps.

    Parameters
    ----------
    where : str
        What the samples are, for error messages.

    Raises
    ------
    ValueError
        If a step does not return one row per sample. An error of a step goes through, with the step
        and the samples added to its message.
    """
    count, rows = n_samples(samples), samples
    for name, transformer in steps:
        try:
            rows = transformer.transform(rows)
        except Exception as error:
            _locate(error, f"in step {name!r}, {where}")
            raise
        shape = rows.shape if hasattr(rows, "shape") else np.shape(rows)
        found = shape[0] if shape else "no"
        if found != count:
            raise ValueError(
                f"Step {name!r} ({type(transformer).__name__}) returned {found} rows for {count} samples "
                f"({where}): a transformer must return one row per sample."
            )
    return rows


@dataclass(frozen=True)
class Maker:
    """Makes the features that the last step of a pipeline reads.

    Attributes
    ----------
    steps : sequence of (name, transformer)
    dtype : dtype or None
        Dtype of the features; None is that of the transformers.
    n_features : int or None
        What the transformers returned before; None if nothing yet.
    sparse : bool
        Whether they did so in sparse matrices.
    """

    steps: Steps
    dtype: np.dtype[Any] | None = None
    n_features: int | None = None
    sparse: bool = False

    def __call__(self, samples: Any, positions: Positions) -> Any:
        """Features of samples, checked to be finite numbers of the same shape for each.

        Raises
        ------
        ValueError
            The message names the step and the samples.
        """
        where = _where(positions)
        made: Any = transformed(self.steps, samples, where)
        made = as_csr(made) if sp.issparse(made) else np.asarray(made)
        if made.ndim != 2 or made.dtype.kind not in "biuf":
            raise ValueError(
                f"{self._last()} returned an array of shape {made.shape} of {made.dtype} for {where}; "
                "the classifier needs a row of numbers per sample."
            )
        if self.n_features is not None:
            if made.shape[1] != self.n_features:
                raise ValueError(
                    f"{self._last()} returned {made.shape[1]} features for {where}, and "
                    f"{self.n_features} before: a transformer must return the same for all samples."
                )
            if sp.issparse(made) != self.sparse:
                made = sp.csr_matrix(made) if self.sparse else made.toarray()
        values = made.data if sp.issparse(made) else made
        if values.dtype.kind == "f" and not _finite(values):
            self._refuse(samples, positions, made)
        if self.dtype is not None and made.dtype != self.dtype:
            if not np.can_cast(made.dtype, self.dtype, "same_kind"):
                raise ValueError(
                    f"{self._last()} returned {made.dtype} for {where}, and {self.dtype} before: set "
                    "dtype to one that holds both."
                )
            with np.errstate(over="ignore"):
                cast = made.astype(self.dtype)
            if not _finite(cast.data if sp.issparse(cast) else cast):
                raise ValueError(
                    f"{self._last()} returned values for {where} that are too large for {self.dtype}: "
                    "choose another dtype, or scale them."
                )
            return cast
        return made

    def _last(self) -> str:
        if not self.steps:
            return "X"
        name, transformer = self.steps[-1]
        return f"Step {name!r} ({type(transformer).__name__})"

    def _refuse(self, samples: Any, positions: Positions, made: Any) -> None:
        """Raise for features that are not finite; name the sample, and the step that made them."""
        dense = made.toarray() if sp.issparse(made) else made
        row, column = (int(at[0]) for at in np.nonzero(~np.isfinite(dense)))
        value = dense[row, column]
        sample = samples_at(samples, slice(row, row + 1))
        at = positions.start + row if isinstance(positions, slice) else int(positions[row])
        culprit = "X"
        if _all_finite(sample):
            for i, (name, transformer) in enumerate(self.steps):
                culprit = f"what step {name!r} ({type(transformer).__name__}) returned"
                if not _all_finite(transformed(self.steps[: i + 1], sample, f"row {at}")):
                    break
        raise ValueError(
            f"Feature {column} of row {at} is {value}: {culprit} holds NaN or infinity there. Impute or "
            "drop missing values, or clip the features."
        )


def _where(positions: Positions) -> str:
    """Positions of samples, in words."""
    if isinstance(positions, slice):
        return f"rows {positions.start or 0} to {positions.stop - 1}"
    return f"{len(positions)} rows from {positions[0]} to {positions[-1]}"


def _finite(values: NDArray[Any]) -> bool:
    """Whether all values are; most often by their sum, which needs no memory."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
    return bool(np.isfinite(total) or np.isfinite(values).all())


def _all_finite(rows: Any) -> bool:
    """Whether rows of any kind hold no NaN and no infinity."""
    values = np.asarray(rows.data if sp.issparse(rows) else rows)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _locate(error: Exception, where: str) -> None:
    """Add to the message of an error where it came from; its type does not change."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} ({where})", *error.args[1:])
    else:
        error.add_note(where)
