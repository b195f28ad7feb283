"""Real data in, arrays out: the MNIST digits and folders of images.

Everything here returns rows of unsigned bytes, which the estimators take as they are: no scaling
and no conversion to floating point is needed, and none is made. Nothing here uses the network.
"""

from __future__ import annotations

import gzip
import json
import math
import operator
import os
import threading
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlparse

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from parallel_ridge.progress import progress

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["find_data", "load_image_folder", "load_mnist"]

DATA_VARIABLE = "PARALLEL_RIDGE_DATA"
"""Environment variable that names the folder where data sets lie."""

_NEIGHBOUR = Path("..", "shared", "data")

_IMAGE_SHAPE = (28, 28)
_UNSIGNED_BYTE = 0x08  # the only element type of the MNIST files

_OPENML_ID = 554  # 'mnist_784', version 1
_OPENML_ROWS = 70_000
_OPENML_TEST_ROWS = 10_000

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_NAMES_IN_WARNING = 5

_MNIST_DESCR = """\
MNIST handwritten digits (LeCun, Cortes and Burges): grey images of 28 x 28 pixels, one row an
image, pixels in row order, 0 is background and 255 is full ink. 60000 images to train on and
10000 to test on, digits 0 to 9. Read from {source}.
"""

_FOLDER_DESCR = """\
Images of the folder {source}: {n} images in {k} classes, resized to {h} x {w} pixels, {colour},
one row an image, pixels in row order.
"""


# ------------------------------------------------------------------------------------------------
# Where data lies
# ------------------------------------------------------------------------------------------------


def find_data(name: str) -> Path | None:
    """Find the folder of a data set on this machine.

    The folders tried, in this order, are ``$PARALLEL_RIDGE_DATA/<name>``, for MNIST also
    ``$PARALLEL_RIDGE_DATA`` itself, and ``../shared/data/<name>`` beside the working directory.

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
    for folder in _places(name):
        if folder.is_dir() and (name != "mnist" or _holds_idx(folder)):
            return folder
    return None


def _places(name: str) -> list[Path]:
    """Return the folders that may hold the data set, in the order of preference."""
    places = []
    root = os.environ.get(DATA_VARIABLE)
    if root:
        home = Path(root).expanduser()
        places.append(home / name)
        if name == "mnist":
            places.append(home)
    places.append(_NEIGHBOUR / name)
    return places


# ------------------------------------------------------------------------------------------------
# MNIST
# ------------------------------------------------------------------------------------------------


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
            Training images, one a row; a :class:`numpy.memmap` if the file is not compressed.
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
    looked = "\n".join(f"  - {place}" for place in [*_places("mnist"), _openml_root()])
    raise FileNotFoundError(
        f"MNIST was not found. Looked in\n{looked}\n({DATA_VARIABLE} is {state}). Put the four IDX "
        "files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
        f"t10k-labels-idx1-ubyte.gz) into one folder and name it in {DATA_VARIABLE} or in "
        "load_mnist(path=...), or let scikit-learn download its copy once: "
        "sklearn.datasets.fetch_openml('mnist_784', version=1, as_frame=False)."
    )


def _idx_names(part: str, kind: Literal["images", "labels"]) -> list[str]:
    """Return the file names to try for one of the four files, the best first."""
    n_dims = 3 if kind == "images" else 1
    return [
        f"{part}-{kind}{mark}idx{n_dims}-ubyte{suffix}" for suffix in ("", ".gz") for mark in "-."
    ]


def _holds_idx(folder: Path) -> bool:
    return any(
        (folder / name).is_file()
        for part in ("train", "t10k")
        for kind in ("images", "labels")
        for name in _idx_names(part, kind)
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
        if _holds_idx(folder):
            return folder
    raise FileNotFoundError(
        f"{str(path)!r} holds no MNIST file (such as {_idx_names('train', 'images')[0]!r}, "
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
    names = _idx_names(part, kind)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"MNIST is incomplete: {folder} holds none of {', '.join(names)}.")


def read_idx(file: Path, n_dims: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes; a plain one is mapped into memory.

    The format is a big-endian header (two zero bytes, the element type, the number of dimensions,
    then each dimension in four bytes) and the elements in row order.
    """
    header_size = 4 + 4 * n_dims
    compressed = file.suffix == ".gz"
    content = b""
    if compressed:
        try:
            with gzip.open(file, "rb") as stream:
                content = stream.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as err:
            raise ValueError(f"{file}: damaged or truncated gzip file ({err}).") from err
        header, size = content[:header_size], len(content)
    else:
        with open(file, "rb") as plain:
            header = plain.read(header_size)
            size = os.fstat(plain.fileno()).st_size

    expected = _UNSIGNED_BYTE << 8 | n_dims
    magic = int.from_bytes(header[:4], "big")
    if len(header) >= 4 and magic != expected:
        raise ValueError(
            f"{file}: magic number 0x{magic:08x}, expected 0x{expected:08x} "
            f"(IDX, unsigned bytes, {n_dims} dimension{'s' if n_dims > 1 else ''})."
        )
    if len(header) < header_size:
        raise ValueError(
            f"{file}: truncated: {len(header)} bytes, the IDX header alone has {header_size}."
        )
    shape = tuple(
        int.from_bytes(header[start : start + 4], "big") for start in range(4, header_size, 4)
    )
    if 0 in shape:
        raise ValueError(f"{file}: empty: the header gives the shape {shape}.")
    promised = header_size + math.prod(shape)
    if size != promised:
        trouble = "truncated" if size < promised else "too long"
        raise ValueError(
            f"{file}: {trouble}: {size} bytes, but the header's shape {shape} makes {promised}."
        )
    if compressed:
        return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)
    return np.memmap(file, dtype=np.uint8, mode="r", offset=header_size, shape=shape)


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


# ------------------------------------------------------------------------------------------------
# Folders of images
# ------------------------------------------------------------------------------------------------


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
    Memory: one byte a pixel for the result and one decoded image a thread. A JPEG file much larger
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
    try:
        import PIL.Image
    except ImportError as err:
        raise ImportError(
            f"load_image_folder needs Pillow, which could not be imported ({err}). "
            "Install it with: pip install parallel-ridge[image]"
        ) from err
    PIL.Image.preinit()  # import the decoders once, before the threads

    folder = Path(path).expanduser()
    skipped: list[tuple[str, str]] = []
    files = _list_images(folder, on_error, skipped)

    mode: Literal["L", "RGB"] = "L" if grayscale else "RGB"
    image_shape = (height, width) if grayscale else (height, width, 3)
    data = np.empty((len(files), math.prod(image_shape)), dtype=np.uint8)

    # joblib warns about a generator of results that is not read to its end. After a failure it is,
    # but what is left does nothing.
    stopped = threading.Event()

    def read(row: int) -> Exception | None:
        if stopped.is_set():
            return None
        try:
            data[row] = _read_image(files[row], (height, width), mode)
        except MemoryError:
            raise
        except Exception as err:  # Pillow raises nearly every type there is on a damaged file
            return err
        return None

    threads = joblib.Parallel(
        n_jobs=joblib.cpu_count() if n_jobs is None else n_jobs,
        backend="threading",
        return_as="generator",  # in order: the first bad file is the one that is reported
    )
    outcomes = threads(joblib.delayed(read)(row) for row in range(len(files)))
    keep = np.ones(len(files), dtype=bool)
    failure: tuple[Path, Exception] | None = None
    shown = progress(outcomes, "reading images", unit=" images", total=len(files), show=verbose)
    for row, trouble in enumerate(shown):
        if trouble is None or failure is not None:
            continue
        if on_error == "raise":
            failure = files[row], trouble
            stopped.set()
        keep[row] = False
        skipped.append((str(files[row]), _reason(trouble)))
    if failure is not None:
        file, trouble = failure
        raise ValueError(
            f"{file}: cannot read the image: {_reason(trouble)}. "
            "on_error='skip' leaves such files out."
        ) from trouble

    if skipped:
        skipped.sort()
        names = ", ".join(name for name, _ in skipped[:_NAMES_IN_WARNING])
        more = len(skipped) - _NAMES_IN_WARNING
        warnings.warn(
            f"{len(skipped)} image files or class folders were left out: {names}"
            + (f" and {more} more" if more > 0 else "")
            + ". The attribute 'skipped' gives the reasons.",
            stacklevel=2,
        )
        data = data[keep]
        files = [file for file, kept in zip(files, keep, strict=True) if kept]

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
            f"{folder}: holds {found}; at least two are needed, one folder of images a class."
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
