"""
The demonstration: real images, and scikit-learn beside
=======================================================

Train on real images, compare with scikit-learn, and draw what was learnt.

- Digits: MNIST if it is found, otherwise the small digits that come with scikit-learn.
- Hands: photographs of hands that show the digits 0 to 9, if they are found.

Run it with ``python examples/demo.py [--output FOLDER]``. The folder of the data can be named in
the environment variable PARALLEL_RIDGE_DATA.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import train_test_split

from parallel_ridge import ParallelRidgeClassifier
from parallel_ridge.datasets import find_data, load_image_folder, load_mnist

SEED = 0
REPEATS = 3
DIGITS_ALPHA = 1.0
# For pixels from 0 to 255. Five-fold cross-validation on the training photographs: 0.69 at 1e6,
# 0.72 from 3e6 to 1e7, 0.71 at 2e7.
HANDS_ALPHA = 1e7
HANDS_SIZE = (60, 40)

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_digit_images() -> tuple[str, Split, tuple[int, int]]:
    """Return the name of the data, (X_train, X_test, y_train, y_test) and the image shape."""
    try:
        mnist = load_mnist()
    except FileNotFoundError:
        digits = load_digits()
        X = digits.data.astype(np.uint8)  # whole numbers from 0 to 16
        split = train_test_split(
            X, digits.target, test_size=0.25, stratify=digits.target, random_state=SEED
        )
        name = (
            "Digits of scikit-learn (MNIST was not found; PARALLEL_RIDGE_DATA can name its folder)"
        )
        return name, tuple(split), (8, 8)
    split = (mnist.data, mnist.data_test, mnist.target, mnist.target_test)
    return f"MNIST from {mnist.source}", split, mnist.image_shape


def load_hands() -> tuple[str, Split, tuple[int, int]] | None:
    """Return the photographs as `load_digit_images` does, or None after saying why not."""
    folder = find_data("hands")
    if folder is None:
        print("\nHands: skipped, no folder 'hands' in PARALLEL_RIDGE_DATA.")
        return None
    try:
        hands = load_image_folder(folder, size=HANDS_SIZE, grayscale=True, on_error="skip")
    except ImportError as err:
        print(f"\nHands: skipped. {err}")
        return None
    split = train_test_split(
        hands.data, hands.target, test_size=0.2, stratify=hands.target, random_state=SEED
    )
    return f"Hands from {folder}", tuple(split), hands.image_shape


def measure(label: str, model: ClassifierMixin, split: Split) -> tuple[ClassifierMixin, np.ndarray]:
    """Fit and predict a few times; print one line of the least seconds and the accuracy."""
    X_train, X_test, y_train, y_test = split
    fit_seconds, predict_seconds = [], []
    for _ in range(REPEATS):  # the first time also starts threads and reads files
        start = perf_counter()
        model.fit(X_train, y_train)
        fitted = perf_counter()
        predicted = model.predict(X_test)
        predict_seconds.append(perf_counter() - fitted)
        fit_seconds.append(fitted - start)
    accuracy = np.mean(predicted == y_test)
    print(
        f"  {label:<30} {min(fit_seconds):>9.3f} {min(predict_seconds):>12.3f} {accuracy:>10.4f}",
        flush=True,
    )
    return model, predicted


def train(
    name: str, split: Split, image_shape: tuple[int, int], alpha: float
) -> tuple[ClassifierMixin, np.ndarray]:
    """Train both classifiers on the same array; return ours and its predictions."""
    X_train, X_test, y_train, _ = split
    height, width = image_shape
    print(f"\n{name}")
    print(
        f"  {len(X_train)} images to train on, {len(X_test)} to test on, {height} x {width} pixels "
        f"({X_train.dtype}), {len(np.unique(y_train))} classes, alpha={alpha:g}"
    )
    print(f"  {f'best of {REPEATS} runs':<30} {'fit (s)':>9} {'predict (s)':>12} {'accuracy':>10}")
    result = measure("ParallelRidgeClassifier", ParallelRidgeClassifier(alpha=alpha), split)
    measure("scikit-learn's RidgeClassifier", RidgeClassifier(alpha=alpha), split)
    return result


def draw(
    title: str,
    model: ClassifierMixin,
    predicted: np.ndarray,
    split: Split,
    image_shape: tuple[int, int],
    output: Path,
    prefix: str = "",
) -> None:
    """Write the pictures of the class weights and of the confusion matrix."""
    try:
        import matplotlib
    except ImportError:
        print("  no pictures: they need matplotlib (pip install parallel-ridge[plot])")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.metrics import ConfusionMatrixDisplay

    from parallel_ridge.plotting import ClassWeightsDisplay

    output.mkdir(parents=True, exist_ok=True)
    y_test = split[3]

    weights = ClassWeightsDisplay.from_estimator(model, image_shape=image_shape)
    weights.figure_.suptitle(f"{title}: weights of each class")
    weights_file = output / f"{prefix}class_weights.png"
    weights.figure_.savefig(weights_file, dpi=120)

    figure, ax = plt.subplots(figsize=(6, 6), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(y_test, predicted, ax=ax, cmap="Blues", colorbar=False)
    ax.set_title(f"{title}: {np.mean(predicted == y_test):.1%} of {len(y_test)} test images right")
    matrix_file = output / f"{prefix}confusion_matrix.png"
    figure.savefig(matrix_file, dpi=120)

    plt.close("all")
    print(f"  wrote {weights_file} and {matrix_file}")


def main() -> None:
    """Run the whole demonstration."""
    parser = argparse.ArgumentParser(description="Train on real images, and draw what was learnt.")
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output"), help="folder for the pictures"
    )
    output = parser.parse_args().output

    name, split, image_shape = load_digit_images()
    model, predicted = train(name, split, image_shape, DIGITS_ALPHA)
    title = "MNIST" if name.startswith("MNIST") else "Digits"
    draw(title, model, predicted, split, image_shape, output)

    hands = load_hands()
    if hands is not None:
        name, split, image_shape = hands
        model, predicted = train(name, split, image_shape, HANDS_ALPHA)
        draw("Hands", model, predicted, split, image_shape, output, prefix="hands_")


if __name__ == "__main__":
    main()
