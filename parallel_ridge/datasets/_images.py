"""A folder of images, one folder per class."""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from parallel_ridge.exceptions import warn_caller
from parallel_ridge.progress import progress

if TYPE_CHECKING:
    from PIL import Image


_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_NAMES_IN_WARNING = 5
_FOLDER_DESCR = """\
Images of the folder {source}: {n} images in {k} classes, resized to {h} x {w} pixels, {colour},
one row an image, pixels in row order.
"""


def load_image_folder(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    grayscale: bool = True,
    on_error: Literal["raise", "skip"] = "raise",
    n_jobs: int | None = None,
    verbose: bool = True,
) -> Bunch:
    """Load photographs that lie in one folder a class.

    Every image is turned upright by its EXIF orientation, put on white where it is transparent,
    converted to grey or to RGB, and resized to one common size; its proportions are not kept.

    Parameters
    ----------
    path : str or path-like
        Folder that holds one folder a class. The JPEG and PNG files (by their suffix, in upper or
        lower case) directly inside a class's folder are its images; other files, and files and
        folders whose names start with a dot, are ignored.
    size : tuple of two int
        Height and width in pixels that all images are resized to.
    grayscale : bool, default=True
        True gives one grey value a pixel, False gives red, green and blue.
    on_error : {"raise", "skip"}, default="raise"
        What to do about a file that cannot be read, and about a class without images: raise a
        ValueError that names it, or leave it out, warn once, and list it in ``skipped``.
    n_jobs : int, default=None
        Number of threads that decode images, as joblib counts. None means all the cores that this
        process may use.
    verbose : bool, default=True
        Show a progress bar on a terminal if the work takes longer than one second and tqdm is
        installed.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (n_samples, height * width * channels), uint8
            One row an image, in row order; channels is 1 or 3 and varies fastest.
        target : ndarray of shape (n_samples,), str
            The name of each image's folder.
        target_names : ndarray of shape (n_classes,), str
            The sorted names of the classes that have images.
        filenames : list of str
            The file of each row. Files are sorted by class, then by name.
        image_shape : tuple of int
            ``(height, width)`` or ``(height, width, 3)``.
        skipped : list of tuple of (str, str)
            File and reason for everything that was left out; empty if ``on_error="raise"``.
        DESCR : str
            What the data is, in a few lines.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `path` does not exist or is not a folder.
    ValueError
        If there are fewer than two classes, or an image cannot be read, or a parameter is wrong.
    ImportError
        If Pillow is not installed.

    Notes
    -----
    Memory: one byte per pixel for the result and one decoded image per thread. A JPEG file much larger
    than `size` is decoded at reduced scale, which is several times faster than in full.

    Examples
    --------
    >>> from parallel_ridge.datasets import load_image_folder
    >>> hands = load_image_folder("data/hands", size=(60, 40))  # doctest: +SKIP
    >>> hands.data.shape, hands.image_shape  # doctest: +SKIP
    ((2062, 2400), (60, 40))
    """
    height, width = _check_size(size)
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}.")
    _import_decoders()
    folder = Path(path).expanduser()
    skipped: list[tuple[str, str]] = []
    files = _list_images(folder, on_error, skipped)

    mode: Literal["L", "RGB"] = "L" if grayscale else "RGB"
    image_shape = (height, width) if grayscale else (height, width, 3)
    data = np.empty((len(files), math.prod(image_shape)), dtype=np.uint8)

    troubles = _read_images(
        files,
        lambda row: _read_image(files[row], (height, width), mode),
        data,
        stop=on_error == "raise",
        n_jobs=n_jobs,
        verbose=verbose,
    )
    skipped += [(str(files[row]), _reason(trouble)) for row, trouble in troubles.items()]
    if skipped:
        skipped.sort()
        _warn_skipped([name for name, _ in skipped])
        keep = [row for row in range(len(files)) if row not in troubles]
        data, files = data[keep], [files[row] for row in keep]

    target = np.array([file.parent.name for file in files], dtype=np.str_)
    target_names = np.unique(target)
    if len(target_names) < 2:
        raise ValueError(
            f"{folder}: images of {len(target_names)} class(es) could be read, at least two are "
            f"needed; the first of {len(skipped)} that could not: {': '.join(skipped[0])}."
        )
    return Bunch(
        data=data,
        target=target,
        target_names=target_names,
        filenames=[str(file) for file in files],
        image_shape=image_shape,
        skipped=skipped,
        DESCR=_FOLDER_DESCR.format(
            source=folder,
            n=len(files),
            k=len(target_names),
            h=height,
            w=width,
            colour="grey" if grayscale else "RGB",
        ),
    )


def _import_decoders() -> None:
    """Import Pillow's decoders once, before the threads."""
    try:
        import PIL.Image
    except ImportError as error:
        raise ImportError(
            f"load_image_folder needs Pillow, which could not be imported ({error}). "
            "Install it with: pip install parallel-ridge[image]"
        ) from error
    PIL.Image.preinit()


def _read_images(
    files: Sequence[Path],
    read: Callable[[int], NDArray[np.uint8]],
    data: NDArray[np.uint8],
    *,
    stop: bool,
    n_jobs: int | None,
    verbose: bool,
) -> dict[int, Exception]:
    """Read images into the rows of an array, in threads; what each bad file raised, by its row.

    Parameters
    ----------
    stop : bool
        Whether to stop at the first bad file, and raise.
    """
    # joblib warns about a generator of results that is not read to its end. After a failure it is,
    # but what is left does nothing.
    stopped = threading.Event()

    def into_row(row: int) -> Exception | None:
        if stopped.is_set():
            return None
        try:
            data[row] = read(row)
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises nearly every type there is on a damaged file
            return error
        return None

    threads = joblib.Parallel(
        n_jobs=joblib.cpu_count() if n_jobs is None else n_jobs,
        backend="threading",
        return_as="generator",  # in order: the first bad file is the one that is reported
    )
    outcomes = threads(joblib.delayed(into_row)(row) for row in range(len(files)))
    shown = progress(outcomes, "reading images", unit=" images", total=len(files), show=verbose)
    troubles: dict[int, Exception] = {}
    for row, trouble in enumerate(shown):
        if trouble is not None:
            troubles[row] = trouble
            if stop:
                stopped.set()
    if troubles and stop:
        row, trouble = min(troubles.items())
        raise ValueError(
            f"{files[row]}: cannot read the image: {_reason(trouble)}. "
            "on_error='skip' leaves such files out."
        ) from trouble
    return troubles


def _warn_skipped(names: Sequence[str]) -> None:
    few = ", ".join(names[:_NAMES_IN_WARNING])
    more = len(names) - _NAMES_IN_WARNING
    warn_caller(
        f"{len(names)} image files or class folders were left out: {few}"
        + (f" and {more} more" if more > 0 else "")
        + ". The attribute 'skipped' gives the reasons.",
        UserWarning,
    )


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    try:
        height, width = (operator.index(length) for length in size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise ValueError(
            f"size must be two positive integers, height and width in pixels, got {size!r}."
        )
    return height, width


def _list_images(
    folder: Path, on_error: Literal["raise", "skip"], skipped: list[tuple[str, str]]
) -> list[Path]:
    """Return the image files, sorted by class and name; note empty classes in `skipped`."""
    if not folder.exists():
        raise FileNotFoundError(f"image folder {str(folder)!r} does not exist.")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{str(folder)!r} is not a folder; pass the folder that holds one folder a class."
        )
    classes = sorted(
        (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")),
        key=operator.attrgetter("name"),
    )
    if len(classes) < 2:
        found = f"only the folder {classes[0].name!r}" if classes else "no folder"
        raise ValueError(
            f"{folder}: holds {found}; at least two are needed, one folder of images per class."
        )
    files: list[Path] = []
    for class_folder in classes:
        images = sorted(
            (
                entry
                for entry in class_folder.iterdir()
                if entry.suffix.lower() in _IMAGE_SUFFIXES
                and not entry.name.startswith(".")
                and entry.is_file()
            ),
            key=operator.attrgetter("name"),
        )
        if not images:
            reason = "no JPEG or PNG file in this folder"
            if on_error == "raise":
                raise ValueError(
                    f"{class_folder}: {reason}. Remove it, or leave it out with on_error='skip'."
                )
            skipped.append((str(class_folder), reason))
        files += images
    return files


def _read_image(file: Path, size: tuple[int, int], mode: Literal["L", "RGB"]) -> NDArray[np.uint8]:
    """Decode one file: upright, without transparency, in `mode`, of `size` (height, width)."""
    from PIL import Image, ImageOps

    height, width = size
    with Image.open(file, formats=("JPEG", "PNG")) as opened:
        # JPEG can be decoded at 1/2, 1/4 or 1/8. Twice the size leaves the resampling its work,
        # and a square allows for an image that lies on its side.
        longest = 2 * max(height, width)
        opened.draft(mode, (longest, longest))
        image = ImageOps.exif_transpose(opened)
        image = _flatten(image).convert(mode)
    # Bilinear: antialiased when it shrinks, without the ringing of bicubic and Lanczos at edges.
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(-1)


def _flatten(image: Image.Image) -> Image.Image:
    """Bring 16-bit grey to 8 bits, and put what is transparent on white."""
    from PIL import Image

    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        return Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        return paper
    return image


def _reason(trouble: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(trouble, UnidentifiedImageError):
        return "not a JPEG or PNG image"
    return " ".join(str(trouble).split()).rstrip(".") or type(trouble).__name__
