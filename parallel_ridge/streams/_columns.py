"""Which columns of a table hold features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from parallel_ridge.streams._arrow import holds_numbers, holds_rows

if TYPE_CHECKING:
    import pyarrow as pa


def choose_features(
    kinds: Mapping[str, str],
    features: str | Sequence[str] | None,
    others: Sequence[str | None],
    option: str,
) -> tuple[str, ...]:
    """Names of the columns that hold features.

    Parameters
    ----------
    kinds : mapping of str to {"rows", "number", "other"}
        What each column holds: a whole row in each value, a number, or neither.
    features : str, sequence of str, or None
        The columns that the user named. If None: the only column of whole rows, otherwise all columns
        of numbers without another role.
    others : sequence of str or None
        Columns with other roles.
    option : str
        The option that names them, for messages.

    Raises
    ------
    ValueError
        If there are none, or several of whole rows; the message names the columns.
    """
    if features is not None:
        names = (features,) if isinstance(features, str) else tuple(features)
        check_names(list(kinds), names)
        return names
    free = [name for name in kinds if name not in others]
    whole = [name for name in free if kinds[name] == "rows"]
    if len(whole) == 1:
        return (whole[0],)
    if len(whole) > 1:
        raise ValueError(
            f"Several columns hold whole rows: {whole}. Name the one that holds the features: "
            f"backend={option}."
        )
    numbers = tuple(name for name in free if kinds[name] == "number")
    if not numbers:
        raise ValueError(
            f"No column holds features; the columns are {list(kinds)}. They are a vector, an array of "
            f"numbers, binary, or columns of numbers; name them by backend={option}."
        )
    return numbers


def check_names(known: Sequence[str], names: Sequence[str]) -> None:
    """Raise unless these are among the columns."""
    for name in names:
        if name not in known:
            raise ValueError(f"There is no column {name!r}; the columns are {list(known)}.")


def kinds_of(schema: pa.Schema) -> dict[str, str]:
    """What each column of an Arrow schema holds, for `choose_features`."""
    return {
        field.name: "rows"
        if holds_rows(field.type)
        else "number"
        if holds_numbers(field.type)
        else "other"
        for field in schema
    }
