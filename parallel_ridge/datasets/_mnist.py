"""MNIST from IDX files or OpenML."""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from parallel_ridge.datasets._folders import (
    DATA_VARIABLE,
    find_data,
    holds_idx,
    idx_names,
    places,
)
from parallel_ridge.datasets._idx import read_idx

_IMAGE_SHAPE = (28, 28)
_OPENML_ID = 554  # 'mnist_784', version 1
_OPENML_ROWS = 70_000
_OPENML_TEST_ROWS = 10_000
_MNIST_DESCR = """\
MNIST handwritten digits (LeCun, Cortes and Burges): grey images of 28 x 28 pixels, one row an
image, pixels in row order, 0 is background and 255 is full ink. 60000 images to train on and
10000 to test on, digits 0 to 9. Read from {source}.
"""


def load_mnist(path: str | os.PathLike[str] | None = None) -> Bunch:
    """Load the MNIST digits from IDX files.

    Files may be plain or compressed (``.gz``), in either usual spelling
    (``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``); where both lie there, the plain
    one is taken. Plain image files are mapped into memory, not read: rows come from the disk when
    they are used. Magic numbers, dimensions, sizes and counts are checked.

    Parameters
    ----------
    path : str or path-like, default=None
        Folder with the four IDX files, or with a folder ``mnist`` that holds them. None searches
        the places of :func:`find_data`, and then scikit-learn's own download cache for
        ``fetch_openml("mnist_784", version=1)``. Nothing is downloaded.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (60000, 784), uint8, read-only
            Training images, one per row; a :class:`numpy.memmap` if the file is not compressed.
        target : ndarray of shape (60000,), uint8
            Digits of the training images.
        data_test : ndarray of shape (10000, 784), uint8, read-only
            Test images.
        target_test : ndarray of shape (10000,), uint8
            Digits of the test images.
        image_shape : tuple of int
            ``(28, 28)``, height and width.
        source : str
            The folder or the file that the data came from.
        DESCR : str
            What the data is, in a few lines.

    Raises
    ------
    FileNotFoundError
        If the data, or one of the four files, is not there. The message names the places.
    ValueError
        If a file is not what it should be. The message names the file and the wrong value.

    Examples
    --------
    >>> from parallel_ridge.datasets import load_mnist
    >>> mnist = load_mnist("data/mnist")  # doctest: +SKIP
    >>> mnist.data.shape, mnist.data.dtype  # doctest: +SKIP
    ((60000, 784), dtype('uint8'))
    """
    if path is not None:
        return _load_idx_folder(_idx_folder(Path(path)))

    folder = find_data("mnist")
    if folder is not None:
        return _load_idx_folder(folder)
    cached = _openml_file()
    if cached is not None:
        return _load_openml(cached)

    variable = os.environ.get(DATA_VARIABLE)
    state = f"set to {variable!r}" if variable else "not set"
    looked = "\n".join(f"  - {place}" for place in [*places("mnist"), _openml_root()])
    raise FileNotFoundError(
        f"MNIST was not found. Looked in\n{looked}\n({DATA_VARIABLE} is {state}). Put the four IDX "
        "files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
        f"t10k-labels-idx1-ubyte.gz) into one folder and name it in {DATA_VARIABLE} or in "
        "load_mnist(path=...), or let scikit-learn download its copy once: "
        "sklearn.datasets.fetch_openml('mnist_784', version=1, as_frame=False)."
    )


def _idx_folder(path: Path) -> Path:
    """Return the folder that holds the IDX files: `path` itself or its folder ``mnist``."""
    path = path.expanduser()
    if not path.exists():
        raise FileNotFoundError(f"MNIST folder {str(path)!r} does not exist.")
    if not path.is_dir():
        raise NotADirectoryError(
            f"{str(path)!r} is not a folder; pass the folder that holds the four IDX files."
        )
    for folder in (path, path / "mnist"):
        if holds_idx(folder):
            return folder
    raise FileNotFoundError(
        f"{str(path)!r} holds no MNIST file (such as {idx_names('train', 'images')[0]!r}, "
        "plain or .gz), neither directly nor in a folder 'mnist'."
    )


def _load_idx_folder(folder: Path) -> Bunch:
    data, target = _load_idx_part(folder, "train")
    data_test, target_test = _load_idx_part(folder, "t10k")
    return _mnist_bunch(data, target, data_test, target_test, str(folder))


def _load_idx_part(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images and the labels of one part, 'train' or 't10k'."""
    image_file = _find_idx(folder, part, "images")
    label_file = _find_idx(folder, part, "labels")
    images = read_idx(image_file, 3)
    labels = np.array(read_idx(label_file, 1))  # small: a copy that lets the file go
    if images.shape[1:] != _IMAGE_SHAPE:
        height, width = images.shape[1:]
        raise ValueError(
            f"{image_file}: images of {height} x {width} pixels, MNIST has "
            f"{_IMAGE_SHAPE[0]} x {_IMAGE_SHAPE[1]}."
        )
    if len(labels) != len(images):
        raise ValueError(
            f"{label_file}: {len(labels)} labels for the {len(images)} images of {image_file.name}."
        )
    return images.reshape(len(images), math.prod(_IMAGE_SHAPE)), labels


def _find_idx(folder: Path, part: str, kind: Literal["images", "labels"]) -> Path:
    names = idx_names(part, kind)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"MNIST is incomplete: {folder} holds none of {', '.join(names)}.")


def _mnist_bunch(
    data: NDArray[np.uint8],
    target: NDArray[np.uint8],
    data_test: NDArray[np.uint8],
    target_test: NDArray[np.uint8],
    source: str,
) -> Bunch:
    return Bunch(
        data=data,
        target=target,
        data_test=data_test,
        target_test=target_test,
        image_shape=_IMAGE_SHAPE,
        source=source,
        DESCR=_MNIST_DESCR.format(source=source),
    )


def _openml_root() -> Path:
    # Not sklearn.datasets.get_data_home(): it creates the folder that it is asked about.
    home = os.environ.get("SCIKIT_LEARN_DATA") or Path("~", "scikit_learn_data")
    return Path(home).expanduser() / "openml" / "openml.org"


def _openml_file() -> Path | None:
    """Return the ARFF file of MNIST in scikit-learn's download cache, None if not there."""
    root = _openml_root()
    description_file = root / "api" / "v1" / "json" / "data" / f"{_OPENML_ID}.gz"
    if not description_file.is_file():
        return None
    try:
        with gzip.open(description_file, "rb") as stream:
            description = json.load(stream)["data_set_description"]
        # The cache mirrors the address; releases before 1.7 used the number of the file.
        places = [
            urlparse(description["url"]).path.lstrip("/"),
            f"data/v1/download/{description['file_id']}",
        ]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return None  # a cache that cannot be understood is not ours to complain about
    for place in places:
        file = root / f"{place}.gz"
        if file.is_file():
            return file
    return None


def _load_openml(file: Path) -> Bunch:
    """Read the cached ARFF file: the first 60000 rows are for training, the last 10000 for tests.

    It is read here and not by ``fetch_openml``, which would turn to the network if any other part
    of its cache was missing.
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.strip().lower() == "@data":
                    break
            table = np.loadtxt(lines, dtype=np.uint8, delimiter=",", quotechar="'", ndmin=2)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as err:
        raise ValueError(f"{file}: damaged download of MNIST ({err}); delete it.") from err
    expected = (_OPENML_ROWS, math.prod(_IMAGE_SHAPE) + 1)
    if table.shape != expected:
        raise ValueError(f"{file}: a table of shape {table.shape}, MNIST has {expected}.")
    data = np.ascontiguousarray(table[:, :-1])
    data.flags.writeable = False
    target = table[:, -1].copy()
    split = _OPENML_ROWS - _OPENML_TEST_ROWS
    return _mnist_bunch(data[:split], target[:split], data[split:], target[split:], str(file))
