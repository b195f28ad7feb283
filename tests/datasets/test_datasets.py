"""Readers of MNIST and of image folders, on small files made here and on the real ones."""

import builtins
import gzip
import json
import struct
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from parallel_ridge.datasets import _images, find_data, load_image_folder, load_mnist

# ------------------------------------------------------------------------------------------------
# MNIST
# ------------------------------------------------------------------------------------------------

PARTS = {"train": 7, "t10k": 3}


def idx_bytes(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    file.write_bytes(content)


def write_mnist(folder, mark="-", suffix=""):
    """Write a small MNIST of random pixels; return its arrays by part and kind."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in PARTS.items():
        images = rng.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, size=count, dtype=np.uint8)
        write(folder / f"{part}-images{mark}idx3-ubyte{suffix}", idx_bytes(images))
        write(folder / f"{part}-labels{mark}idx1-ubyte{suffix}", idx_bytes(labels))
        arrays[part] = images.reshape(count, 784), labels
    return arrays


def assert_is_mnist(mnist, arrays):
    assert_array_equal(mnist.data, arrays["train"][0])
    assert_array_equal(mnist.target, arrays["train"][1])
    assert_array_equal(mnist.data_test, arrays["t10k"][0])
    assert_array_equal(mnist.target_test, arrays["t10k"][1])
    for array in (mnist.data, mnist.target, mnist.data_test, mnist.target_test):
        assert array.dtype == np.uint8
    assert mnist.image_shape == (28, 28)
    assert mnist.source in mnist.DESCR


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Work in an empty folder, with no data in the environment; return the folder."""
    work = tmp_path / "project" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.delenv("PARALLEL_RIDGE_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    return work


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
def test_mnist_spellings(tmp_path, mark, suffix):
    arrays = write_mnist(tmp_path, mark, suffix)
    mnist = load_mnist(tmp_path)
    assert_is_mnist(mnist, arrays)
    assert isinstance(mnist.data, np.memmap) == (suffix == "")
    assert not mnist.data.flags.writeable
    assert not mnist.data_test.flags.writeable
    assert mnist.source == str(tmp_path)


def test_mnist_in_a_folder_of_that_name(tmp_path):
    arrays = write_mnist(tmp_path / "mnist")
    assert_is_mnist(load_mnist(str(tmp_path)), arrays)


def test_plain_files_are_preferred_to_compressed_ones(tmp_path):
    arrays = write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    assert_is_mnist(load_mnist(tmp_path), arrays)


@pytest.mark.parametrize("below", ["", "mnist"])
def test_mnist_is_found_through_the_environment(nowhere, tmp_path, monkeypatch, below):
    folder = tmp_path / "data" / below
    arrays = write_mnist(folder)
    monkeypatch.setenv("PARALLEL_RIDGE_DATA", str(tmp_path / "data"))
    assert find_data("mnist") == folder
    assert_is_mnist(load_mnist(), arrays)


def test_only_the_variable_and_caches_are_looked_at(nowhere):
    write_mnist(nowhere.parent / "shared" / "data" / "mnist", suffix=".gz")
    (nowhere / "mnist").mkdir()
    assert find_data("mnist") is None


def test_mnist_not_found_says_where_it_looked(nowhere, tmp_path, monkeypatch):
    assert find_data("mnist") is None
    assert find_data("hands") is None
    with pytest.raises(FileNotFoundError, match="PARALLEL_RIDGE_DATA is not set") as caught:
        load_mnist()
    for place in ("openml.org", "train-images-idx3-ubyte.gz", "fetch_openml"):
        assert place in str(caught.value)
    monkeypatch.setenv("PARALLEL_RIDGE_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError, match=r"(?s)mine.*is set to .*mine"):
        load_mnist()
    assert not (tmp_path / "scikit_learn_data").exists()  # looking leaves no trace


def test_folders_without_mnist(tmp_path):
    with pytest.raises(FileNotFoundError, match="none' does not exist"):
        load_mnist(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no MNIST file"):
        load_mnist(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        load_mnist(tmp_path / "file")


@pytest.mark.parametrize("missing", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"])
def test_incomplete_mnist_names_the_missing_file(tmp_path, missing):
    write_mnist(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"incomplete: .* holds none of {missing}"):
        load_mnist(tmp_path)


GOOD_IMAGES = idx_bytes(np.zeros((7, 28, 28)))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train-images-idx3-ubyte",
            b"\0\0\x0d\x03" + GOOD_IMAGES[4:],
            r"magic number 0x00000d03, expected 0x00000803 \(IDX, unsigned bytes, 3 dimensions\)",
        ),
        (
            "train-labels-idx1-ubyte",
            GOOD_IMAGES,
            r"magic number 0x00000803, expected 0x00000801 \(IDX, unsigned bytes, 1 dimension\)",
        ),
        ("t10k-images-idx3-ubyte", b"", "truncated: 0 bytes, the IDX header alone has 16"),
        ("t10k-images-idx3-ubyte", GOOD_IMAGES[:9], "truncated: 9 bytes, the IDX header"),
        (
            "train-images-idx3-ubyte",
            GOOD_IMAGES[:-1],
            r"truncated: 5503 bytes, but the header's shape \(7, 28, 28\) makes 5504",
        ),
        ("train-images-idx3-ubyte", GOOD_IMAGES + b"\0\0", "too long: 5506 bytes, but .* 5504"),
        (
            "train-images-idx3-ubyte",
            idx_bytes(np.zeros((7, 28, 27))),
            "images of 28 x 27 pixels, MNIST has 28 x 28",
        ),
        (
            "train-labels-idx1-ubyte",
            idx_bytes(np.zeros(6)),
            "6 labels for the 7 images of train-images-idx3-ubyte",
        ),
        ("train-labels-idx1-ubyte", idx_bytes(np.zeros(0)), r"empty: .* shape \(0,\)"),
        ("train-images-idx3-ubyte", idx_bytes(np.zeros((0, 28, 28))), r"empty: .* \(0, 28, 28\)"),
    ],
)
def test_damaged_idx_files(tmp_path, name, content, message, suffix):
    write_mnist(tmp_path, suffix=suffix)
    write(tmp_path / f"{name}{suffix}", content)
    with pytest.raises(ValueError, match=message) as caught:
        load_mnist(tmp_path)
    assert name in str(caught.value)


def test_damaged_gzip_files(tmp_path):
    write_mnist(tmp_path, suffix=".gz")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], b"not gzip at all", bytes(damaged)):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"train-images.*: damaged or truncated gzip file"):
            load_mnist(tmp_path)


# What scikit-learn's download cache looks like; the second place is that of older releases.
CACHE_PLACES = ["data/v1/download/52667/mnist_784.arff", "data/v1/download/52667"]


def write_openml_cache(home, place, rows, description=None):
    root = home / "openml" / "openml.org"
    description = description or {
        "data_set_description": {
            "url": "https://api.openml.org/data/v1/download/52667/mnist_784.arff",
            "file_id": "52667",
        }
    }
    write(root / "api/v1/json/data/554.gz", json.dumps(description).encode())
    lines = ["% MNIST", "@RELATION mnist_784", "@ATTRIBUTE pixel1 real", "@DATA", *rows]
    file = root / f"{place}.gz"
    write(file, "\n".join(lines).encode())
    return file


@pytest.fixture
def small_openml(monkeypatch):
    monkeypatch.setattr("parallel_ridge.datasets._mnist._OPENML_ROWS", 5)
    monkeypatch.setattr("parallel_ridge.datasets._mnist._OPENML_TEST_ROWS", 2)


@pytest.mark.parametrize("place", CACHE_PLACES)
def test_mnist_from_the_cache_of_scikit_learn(nowhere, tmp_path, small_openml, place):
    table = np.random.default_rng(0).integers(0, 256, size=(5, 784))
    digits = [3, 1, 4, 1, 5]
    rows = [",".join(map(str, row)) + f",'{d}'" for row, d in zip(table, digits, strict=True)]
    file = write_openml_cache(tmp_path / "scikit_learn_data", place, rows)
    mnist = load_mnist()
    assert_is_mnist(mnist, {"train": (table[:3], digits[:3]), "t10k": (table[3:], digits[3:])})
    assert mnist.source == str(file)
    assert mnist.data.flags.c_contiguous
    assert not mnist.data.flags.writeable


def test_damaged_cache_of_scikit_learn(nowhere, tmp_path, small_openml):
    home = tmp_path / "scikit_learn_data"
    file = write_openml_cache(home, CACHE_PLACES[0], ["1,2,3"] * 5)
    with pytest.raises(ValueError, match=r"arff.gz: a table of shape \(5, 3\), MNIST has \(5, 78"):
        load_mnist()
    write_openml_cache(home, CACHE_PLACES[0], ["1,2,x"])
    with pytest.raises(ValueError, match=r"arff.gz: damaged download of MNIST .*; delete it"):
        load_mnist()
    file.unlink()
    with pytest.raises(FileNotFoundError, match="MNIST was not found"):
        load_mnist()
    write_openml_cache(home, CACHE_PLACES[0], [], description={"unknown": "layout"})
    with pytest.raises(FileNotFoundError, match="MNIST was not found"):
        load_mnist()


def test_real_mnist():
    if find_data("mnist") is None:
        pytest.skip("MNIST is not on this machine (PARALLEL_RIDGE_DATA)")
    mnist = load_mnist()
    assert mnist.data.shape == (60_000, 784)
    assert mnist.data_test.shape == (10_000, 784)
    assert_array_equal(mnist.target[:5], [5, 0, 4, 1, 9])
    assert_array_equal(mnist.target_test[:5], [7, 2, 1, 0, 4])
    assert_array_equal(np.bincount(mnist.target)[[0, 5]], [5923, 5421])
    # All rows: even and odd ones differ in brightness (0.123 and 0.139), so a stride would mislead.
    assert_allclose(mnist.data.mean() / 255, 0.1307, atol=1e-4)
    squares = np.bincount(mnist.data.ravel(), minlength=256) @ np.arange(256.0) ** 2
    variance = squares / mnist.data.size - mnist.data.mean() ** 2
    assert_allclose(np.sqrt(variance) / 255, 0.3081, atol=1e-4)


# ------------------------------------------------------------------------------------------------
# Folders of images
# ------------------------------------------------------------------------------------------------


def save(file, pixels, mode=None, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    (image if mode is None else image.convert(mode)).save(file, **options)
    return file


def grey(value, height=6, width=4):
    return np.full((height, width), value, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three classes of plain grey PNG images, whose grey value says which image it is."""
    root = tmp_path / "animals"
    for value, name in enumerate(["cat/b.png", "cat/a.PNG", "dog/x.png", "cow/only.png"]):
        save(root / name, grey(10 * value))
    return root


def load_one(file, size=(6, 4), **options):
    """Load one image through a folder that it shares with a second class."""
    root = file.parent.parent
    save(root / "zzz" / "other.png", grey(0))
    return load_image_folder(root, size, **options).data[0]


def test_rows_are_sorted_by_class_and_name(folder):
    animals = load_image_folder(folder, size=(6, 4))
    assert_array_equal(animals.target, ["cat", "cat", "cow", "dog"])
    assert_array_equal(animals.target_names, ["cat", "cow", "dog"])
    assert_array_equal(animals.data[:, 0], [10, 0, 30, 20])
    assert animals.data.shape == (4, 24)
    assert animals.data.dtype == np.uint8
    assert animals.image_shape == (6, 4)
    assert animals.skipped == []
    names = ["cat/a.PNG", "cat/b.png", "cow/only.png", "dog/x.png"]
    assert animals.filenames == [str(folder / name) for name in names]
    assert "4 images in 3 classes, resized to 6 x 4" in animals.DESCR


def test_pixels_are_in_row_order_and_channels_last(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, size=(6, 4, 3))
    file = save(tmp_path / "root" / "a" / "noise.png", pixels)
    assert_array_equal(load_one(file, grayscale=False), pixels.ravel())
    colour = load_image_folder(tmp_path / "root", (6, 4), grayscale=False)
    assert colour.image_shape == (6, 4, 3)
    assert colour.data.shape == (2, 72)
    luma = pixels @ [0.299, 0.587, 0.114]
    assert_allclose(load_one(file), luma.ravel(), atol=1)


def test_other_files_are_ignored(folder):
    (folder / "README.txt").write_text("about")
    (folder / "loose.png").write_text("no class")
    (folder / "cat" / ".DS_Store").write_bytes(b"\0")
    (folder / "cat" / "._a.png").write_bytes(b"\0")
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / "cat" / "deeper.png").mkdir()
    (folder / ".cache").mkdir()
    assert len(load_image_folder(folder, (6, 4)).data) == 4


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_result_does_not_depend_on_threads(tmp_path, n_jobs):
    rng = np.random.default_rng(1)
    for row in range(40):
        name = tmp_path / f"class{row % 3}" / f"{row}.jpg"
        save(name, rng.integers(0, 256, size=(30, 20, 3)))
    one = load_image_folder(tmp_path, (15, 10), n_jobs=1)
    many = load_image_folder(tmp_path, (15, 10), n_jobs=n_jobs)
    assert_array_equal(many.data, one.data)
    assert many.filenames == one.filenames


def test_images_are_decoded_in_threads_of_this_process(folder, monkeypatch):
    seen = set()
    read = _images._read_image

    def spy(*arguments):
        seen.add(threading.get_ident())
        return read(*arguments)

    monkeypatch.setattr(_images, "_read_image", spy)
    load_image_folder(folder, (6, 4), n_jobs=2)
    assert seen
    assert threading.main_thread().ident not in seen


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".JPEG"])
def test_jpeg_suffixes(tmp_path, suffix):
    file = save(tmp_path / "root" / "a" / f"grey{suffix}", grey(100))
    assert_allclose(load_one(file), 100, atol=2)


def test_orientation_of_exif_is_applied(tmp_path):
    # A camera held on its side: the stored image is wide, the upright one is tall.
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, :40] = 255  # the left half is stored white; orientation 6 turns left to top
    exif = Image.Exif()
    exif[0x0112] = 6
    file = save(tmp_path / "root" / "a" / "turned.jpg", pixels, exif=exif, quality=95)
    upright = load_one(file, (8, 4)).reshape(8, 4)
    assert upright[:3].min() > 200
    assert upright[5:].max() < 50


def test_large_jpeg_files_are_reduced_faithfully(tmp_path):
    height, width = np.mgrid[:640, :480]
    pixels = np.stack([height // 3, width // 2, height * 0 + 77], axis=2).astype(np.uint8)
    small = Image.fromarray(pixels).resize((10, 20), Image.Resampling.BOX)
    file = save(tmp_path / "root" / "a" / "large.jpg", pixels, quality=95)
    rgb = load_one(file, (20, 10), grayscale=False)
    assert_allclose(rgb, np.asarray(small).ravel().astype(int), atol=8)
    flat = load_one(file, (20, 10))
    assert_allclose(flat, np.asarray(small.convert("L")).ravel().astype(int), atol=8)


def test_transparent_pixels_become_white(tmp_path):
    pixels = np.zeros((6, 4, 4), dtype=np.uint8)
    pixels[3:, :, 3] = 255  # black: transparent above, opaque below
    file = save(tmp_path / "rgba" / "a" / "image.png", pixels)
    expected = np.repeat([255, 0], 12)
    assert_array_equal(load_one(file), expected)
    assert_array_equal(load_one(file, grayscale=False), np.repeat(expected, 3))
    file = save(tmp_path / "la" / "a" / "image.png", pixels, mode="LA")
    assert_array_equal(load_one(file), expected)


def test_palette_images(tmp_path):
    indices = np.repeat([0, 1], 12).reshape(6, 4).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([10, 10, 10, 200, 200, 200])
    assert image.mode == "P"
    file = tmp_path / "plain" / "a" / "image.png"
    file.parent.mkdir(parents=True)
    image.save(file)
    assert_array_equal(load_one(file), np.repeat([10, 200], 12))
    file = tmp_path / "clear" / "a" / "image.png"
    file.parent.mkdir(parents=True)
    image.save(file, transparency=0)
    assert_array_equal(load_one(file), np.repeat([255, 200], 12))


def test_deep_and_bilevel_images(tmp_path):
    deep = np.repeat([0, 256, 65535], 8).reshape(6, 4).astype(np.uint16)
    file = tmp_path / "deep" / "a" / "image.png"
    file.parent.mkdir(parents=True)
    Image.fromarray(deep).save(file)
    assert_array_equal(load_one(file), np.repeat([0, 1, 255], 8))
    assert_array_equal(load_one(file, grayscale=False), np.repeat([0, 1, 255], 24))
    file = save(tmp_path / "bits" / "a" / "image.png", (deep > 0) * 255, mode="1")
    assert_array_equal(load_one(file), np.repeat([0, 255], [8, 16]))


def test_cmyk_jpeg(tmp_path):
    file = save(tmp_path / "root" / "a" / "print.jpg", np.full((6, 4, 3), 120), mode="CMYK")
    assert_allclose(load_one(file), 120, atol=3)


def damage(folder):
    """Add four files that cannot be read; return their names in the order of the rows."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, size=(64, 64), dtype=np.uint8)
    for name in ("cat/cut.png", "dog/cut.jpg"):
        file = save(folder / name, noise)
        file.write_bytes(file.read_bytes()[:1500])
    (folder / "cow" / "empty.jpg").touch()
    save(folder / "dog" / "other.png", noise, format="GIF")
    return ["cat/cut.png", "cow/empty.jpg", "dog/cut.jpg", "dog/other.png"]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_bad_files_raise_and_the_first_is_named(folder, n_jobs):
    damage(folder)
    with pytest.raises(ValueError, match=r"cut\.png: cannot read the image: .*'skip'") as caught:
        load_image_folder(folder, (6, 4), n_jobs=n_jobs)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_failing_stops_the_work_that_is_left(tmp_path, monkeypatch, n_jobs):
    # Slow images behind a bad one: tasks are still waiting in the threads when it is reported.
    for number in range(60):
        save(tmp_path / "cat" / f"{number:02}.png", grey(0))
    save(tmp_path / "dog" / "image.png", grey(0))
    (tmp_path / "cat" / "00.png").write_bytes(b"nothing")
    seen = []
    read = _images._read_image

    def slow(file, *arguments):
        seen.append(file)
        if file.name != "00.png":
            time.sleep(0.05)
        return read(file, *arguments)

    monkeypatch.setattr(_images, "_read_image", slow)
    with (
        warnings.catch_warnings(record=True) as record,
        pytest.raises(ValueError, match=r"00\.png: cannot read the image: not a JPEG or PNG"),
    ):
        warnings.simplefilter("always")
        load_image_folder(tmp_path, (6, 4), n_jobs=n_jobs)
    assert record == []
    assert len(seen) < 20


def test_each_kind_of_bad_file_has_its_reason(folder):
    names = damage(folder)
    with pytest.warns(UserWarning) as record:
        animals = load_image_folder(folder, (6, 4), on_error="skip")
    assert len(record) == 1
    assert "4 image files or class folders were left out" in str(record[0].message)
    assert record[0].filename == __file__
    assert [file for file, _ in animals.skipped] == [str(folder / name) for name in names]
    for name, reason in animals.skipped:
        assert name in str(record[0].message)
        assert reason
    assert animals.skipped[1][1] == animals.skipped[3][1] == "not a JPEG or PNG image"
    assert_array_equal(animals.data[:, 0], [10, 0, 30, 20])
    assert_array_equal(animals.target, ["cat", "cat", "cow", "dog"])
    assert [name[-8:] for name in animals.filenames][2:] == ["only.png", "og/x.png"]


def test_warning_names_only_a_few_files(folder):
    for number in range(9):
        (folder / "dog" / f"bad{number}.jpg").touch()
    with pytest.warns(UserWarning, match=r"9 image files.*bad4\.jpg and 4 more\. The attribute"):
        assert len(load_image_folder(folder, (6, 4), on_error="skip").skipped) == 9


def test_class_without_images(folder):
    (folder / "eel").mkdir()
    (folder / "eel" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"eel: no JPEG or PNG file .*on_error='skip'"):
        load_image_folder(folder, (6, 4))
    with pytest.warns(UserWarning, match="eel"):
        animals = load_image_folder(folder, (6, 4), on_error="skip")
    assert_array_equal(animals.target_names, ["cat", "cow", "dog"])


def test_folders_that_hold_no_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match="none' does not exist"):
        load_image_folder(tmp_path / "none", (6, 4))
    file = save(tmp_path / "root" / "image.png", grey(0))
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        load_image_folder(file, (6, 4))
    with pytest.raises(ValueError, match="root: holds no folder; at least two are needed"):
        load_image_folder(tmp_path / "root", (6, 4))
    save(tmp_path / "root" / "cat" / "image.png", grey(0))
    with pytest.raises(ValueError, match="root: holds only the folder 'cat'; at least two"):
        load_image_folder(tmp_path / "root", (6, 4))


@pytest.mark.parametrize("readable", [0, 1])
def test_too_few_classes_can_be_read(tmp_path, readable):
    for number, name in enumerate(["cat", "dog"]):
        file = save(tmp_path / name / "image.png", grey(0))
        if number >= readable:
            file.write_bytes(b"nothing")
    with (
        pytest.warns(UserWarning, match="were left out"),
        pytest.raises(ValueError, match=rf"images of {readable} class.*not a JPEG or PNG image"),
    ):
        load_image_folder(tmp_path, (6, 4), on_error="skip")


@pytest.mark.parametrize("size", [(0, 4), (6, -1), (6.0, 4), 6, (6,), (6, 4, 3), "64", None])
def test_bad_sizes(folder, size):
    with pytest.raises(ValueError, match="size must be two positive integers"):
        load_image_folder(folder, size)


def test_bad_on_error(folder):
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got 'ignore'"):
        load_image_folder(folder, (6, 4), on_error="ignore")


def test_missing_pillow_names_the_extra(folder, monkeypatch):
    real_import = builtins.__import__

    def without_pillow(name, *arguments):
        if name.partition(".")[0] == "PIL":
            raise ImportError("No module named 'PIL'")
        return real_import(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(ImportError, match=r"pip install parallel-ridge\[image\]"):
        load_image_folder(folder, (6, 4))


@pytest.mark.parametrize("verbose", [True, False])
def test_no_tqdm_and_no_terminal_are_silent(folder, monkeypatch, capsys, verbose):
    load_image_folder(folder, (6, 4), verbose=verbose)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert len(load_image_folder(folder, (6, 4), verbose=verbose).data) == 4
    assert capsys.readouterr() == ("", "")


def test_real_photographs_of_hands():
    folder = find_data("hands")
    if folder is None:
        pytest.skip("the photographs of hands are not here (PARALLEL_RIDGE_DATA)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hands = load_image_folder(folder, (30, 20), n_jobs=1, verbose=False)
    assert hands.data.shape == (2062, 600)
    assert list(hands.target_names) == list("0123456789")
    assert hands.data.std() > 20
    assert hands.skipped == []
