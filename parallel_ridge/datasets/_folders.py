"""Where data sets lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

# Environment variable that names the folder of the data sets.
DATA_VARIABLE = "PARALLEL_RIDGE_DATA"


def find_data(name: str) -> Path | None:
    """Find the folder of a data set on this machine.

    The folders tried are ``$PARALLEL_RIDGE_DATA/<name>`` and, for MNIST, ``$PARALLEL_RIDGE_DATA``
    itself.

    Parameters
    ----------
    name : str
        Name of the data set's folder: ``"mnist"`` (which must hold IDX files) or ``"hands"``
        (one folder of photographs a class); any other name finds a folder of that name.

    Returns
    -------
    folder : pathlib.Path or None
        The first folder that exists, None if there is none.

    Examples
    --------
    >>> from parallel_ridge.datasets import find_data
    >>> find_data("a data set that nobody has") is None
    True
    """
    for folder in places(name):
        if folder.is_dir() and (name != "mnist" or holds_idx(folder)):
            return folder
    return None


def places(name: str) -> list[Path]:
    """Return the folders that may hold the data set, in the order of preference."""
    places = []
    root = os.environ.get(DATA_VARIABLE)
    if root:
        home = Path(root).expanduser()
        places.append(home / name)
        if name == "mnist":
            places.append(home)
    return places


def idx_names(part: str, kind: Literal["images", "labels"]) -> list[str]:
    """Return the file names to try for one of the four files, the best first."""
    n_dims = 3 if kind == "images" else 1
    return [
        f"{part}-{kind}{mark}idx{n_dims}-ubyte{suffix}" for suffix in ("", ".gz") for mark in "-."
    ]


def holds_idx(folder: Path) -> bool:
    """Return whether a folder holds one of the four files."""
    return any(
        (folder / name).is_file()
        for part in ("train", "t10k")
        for kind in ("images", "labels")
        for name in idx_names(part, kind)
    )
