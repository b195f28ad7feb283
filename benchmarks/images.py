"""Images to measure with: photographs of hands, and more images made of some by shifts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from parallel_ridge.datasets import find_data, load_image_folder

HAND_SHAPE = (60, 40)
N_HANDS, N_CLASSES = 2_062, 10


@cache
def hands() -> tuple[NDArray[np.uint8], NDArray[np.intp], bool]:
    """Grey photographs of hands in 60 x 40 pixels, their classes, and whether they were found.

    Where they are not, random bytes that vary smoothly from pixel to pixel, as photographs do.
    """
    folder = find_data("hands")
    if folder is not None:
        found = load_image_folder(folder, HAND_SHAPE, verbose=False)
        return found.data, np.unique(found.target, return_inverse=True)[1], True
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 12, (N_HANDS, *HAND_SHAPE)).cumsum(axis=1).cumsum(axis=2)
    low = steps.min(axis=(1, 2), keepdims=True)
    scaled = 255 * (steps - low) / (steps.max(axis=(1, 2), keepdims=True) - low)
    X = scaled.astype(np.uint8).reshape(N_HANDS, -1)
    return X, rng.integers(0, N_CLASSES, N_HANDS), False


def caution(found: bool) -> str:
    """What to say beside figures that are not of hands."""
    return "" if found else "Photographs of hands were not found: random images of their size."


def shifted(
    images: NDArray[np.uint8], down: int, right: int, out: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Images moved by some pixels, the edge that they leave filled with what was there.

    Parameters
    ----------
    images, out : ndarray of shape (n, height, width), uint8
    down, right : int
        Pixels, either may be negative.

    Returns
    -------
    out
    """
    _, height, width = images.shape
    rows = slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right))
    source = (
        slice(max(0, -down), height - max(0, down)),
        slice(max(0, -right), width - max(0, right)),
    )
    out[:, *rows] = images[:, *source]
    out[:, : max(0, down)] = out[:, max(0, down), None]
    out[:, height + min(0, down) :] = out[:, height + min(0, down) - 1, None]
    out[:, :, : max(0, right)] = out[:, :, max(0, right), None]
    out[:, :, width + min(0, right) :] = out[:, :, width + min(0, right) - 1, None]
    return out


def shifts(down: int, right: int) -> list[tuple[int, int]]:
    """All shifts of up to so many pixels, none first."""
    each = product(range(-down, down + 1), range(-right, right + 1))
    return sorted(each, key=lambda shift: max(abs(shift[0]), abs(shift[1])))


def enlarged(
    X: NDArray[np.uint8], y: NDArray[np.intp], shape: tuple[int, int], n_rows: int
) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """The first `n_rows` of the images, in random order, followed by the same images shifted.

    Parameters
    ----------
    X : ndarray of shape (n, height * width), uint8
    y : ndarray of shape (n,)
    shape : tuple of int
        Height and width.
    n_rows : int
        Of at most ``225 n`` images.
    """
    order = np.random.default_rng(0).permutation(len(X))
    images = X[order].reshape(-1, *shape)
    out = np.empty((n_rows, *shape), np.uint8)
    for start, (down, right) in zip(range(0, n_rows, len(X)), shifts(7, 7), strict=False):
        part = out[start : start + len(X)]
        shifted(images[: len(part)], down, right, part)
    return out.reshape(n_rows, -1), np.resize(y[order], n_rows)


def stream(
    X: NDArray[np.uint8], y: NDArray[np.uint8], shape: tuple[int, int], n_rows: int, batch: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """`n_rows` images in batches, each batch in the memory of the last: shifts of strokes of 3 widths.

    Strokes are those of the images, and the same thickened or thinned by a pixel (the greatest and the
    least of a pixel and its right neighbour); each is shifted by up to 4 pixels down or up and 2 to the
    side: 135 images of one.

    Parameters
    ----------
    X : ndarray of shape (n, height * width), uint8
    y : ndarray of shape (n,)
    shape : tuple of int
        Height and width.
    n_rows : int
        Of at most ``135 n`` images.
    batch : int
        Images at a time.
    """
    size = min(batch, len(X))
    strokes, out = np.empty((size, *shape), np.uint8), np.empty((size, *shape), np.uint8)
    left = n_rows
    for change in (None, np.maximum, np.minimum):
        for start in range(0, len(X), size):
            images = X[start : start + size].reshape(-1, *shape)
            part, labels = strokes[: len(images)], y[start : start + size]
            part[:] = images
            if change is not None:
                change(images[:, :, :-1], images[:, :, 1:], out=part[:, :, :-1])
            for down, right in shifts(4, 2):
                rows = min(len(part), left)
                if not rows:
                    return
                shifted(part[:rows], down, right, out[:rows])
                yield out[:rows].reshape(rows, -1), labels[:rows]
                left -= rows
