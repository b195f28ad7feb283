"""Draw the figures of the pages: ``python docs/draw_figures.py``.

The computational graphs of the page on the maths, and the weights of digits in the README, for which
MNIST must be found.
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from parallel_ridge import ParallelRidgeClassifier
from parallel_ridge.datasets import load_mnist
from parallel_ridge.plotting import ClassWeightsDisplay

plt.rcParams.update(
    {"font.size": 10, "svg.hashsalt": "parallel_ridge", "mathtext.fontset": "dejavusans"}
)
ROWS, SUMS, SOLVE, RESULT = "#dbe9f6", "#fdebd0", "#e3f1dc", "#eee4f4"
EDGE = "#444444"


def box(ax, x, y, text, colour, width=1.5, height=0.62):
    """A box with its centre at (x, y)."""
    corner = (x - width / 2, y - height / 2)
    patch = matplotlib.patches.FancyBboxPatch(
        corner,
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.1",
        facecolor=colour,
        edgecolor=EDGE,
        linewidth=0.9,
    )
    ax.add_patch(patch)
    ax.text(x, y, text, ha="center", va="center", linespacing=1.35)


def arrow(ax, start, end, style="-"):
    """An arrow between two points."""
    ax.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": EDGE,
            "linewidth": 0.9,
            "linestyle": style,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def head(ax, x, y, text):
    """The heading of a column."""
    ax.text(x, y, text, ha="center", va="baseline", weight="bold", linespacing=1.3)


def lane(ax, y, width, text, height=0.86):
    """The ground of one worker."""
    ax.add_patch(
        plt.Rectangle((0.0, y - height / 2), width, height, facecolor="#f4f4f4", edgecolor="none")
    )
    ax.text(0.12, y, text, ha="left", va="center", color="#666666", rotation=90, size=8.5)


def canvas(width, height):
    """Axes in which one unit is about an inch."""
    figure = plt.figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return figure, ax


def data_parallel():
    """Rows are folded where they are; sums are added; one small solve."""
    figure, ax = canvas(9.1, 4.4)
    head(ax, 1.25, 3.98, "rows")
    head(ax, 3.35, 3.98, "fold")
    head(ax, 5.25, 3.98, "merge")
    head(ax, 7.65, 3.98, "solve")
    heights = [3.4, 2.45, 1.5, 0.55]
    for i, y in enumerate(heights, start=1):
        lane(ax, y, 4.3, f"worker {i}")
        box(ax, 1.25, y, f"$X_{i},\\ y_{i}$", ROWS, 1.5)
        box(ax, 3.35, y, f"$G_{i},\\ s_{i},\\ S_{i},\\ n_{i}$", SUMS, 1.6)
        arrow(ax, (2.0, y), (2.55, y))
    for pair, y in ((heights[:2], 2.925), (heights[2:], 1.025)):
        for start in pair:
            arrow(ax, (4.15, start), (4.97, y + (0.1 if start > y else -0.1)))
        circle(ax, 5.1, y)
        arrow(ax, (5.27, y), (5.77, 1.975 + (0.12 if y > 2 else -0.12)))
    circle(ax, 5.9, 1.975)
    arrow(ax, (6.07, 1.975), (6.55, 1.975))
    box(
        ax,
        7.65,
        1.975,
        "$W\\,(G + \\alpha I) = 2S - \\mathbf{1}s^\\top$\nfor every $\\alpha$",
        SOLVE,
        2.2,
        0.95,
    )
    ax.text(
        7.65,
        0.62,
        "a worker sends $d(d{+}1)/2 + kd + \\dots$\nnumbers, however many rows it has",
        ha="center",
        va="center",
        size=9,
        color="#444444",
        linespacing=1.4,
    )
    return figure


def circle(ax, x, y):
    """A plus in a circle."""
    ax.add_patch(plt.Circle((x, y), 0.16, facecolor=SUMS, edgecolor=EDGE, linewidth=0.9, zorder=3))
    ax.text(x, y - 0.01, "+", ha="center", va="center", size=13, zorder=4)


def model_parallel():
    """Statistics of folds give those of training sets; each is solved on a worker for itself."""
    figure, ax = canvas(9.6, 4.6)
    ax.set_ylim(-0.2, 4.4)
    head(ax, 1.0, 3.98, "sums of each fold\n(one pass)")
    head(ax, 3.15, 3.98, "sums of each\ntraining set")
    head(ax, 5.45, 3.98, "factorise and solve\n(shared out)")
    head(ax, 8.25, 3.98, "score\n(one pass)")
    heights = [3.4, 2.45, 1.5, 0.55]
    names = ["1", "2", "3", "K"]
    for name, y in zip(names, heights, strict=True):
        ax.add_patch(
            plt.Rectangle((2.1, y - 0.43), 4.7, 0.86, facecolor="#f4f4f4", edgecolor="none")
        )
        box(ax, 1.0, y, f"$T_{name}$", SUMS, 1.2)
        box(ax, 3.15, y, f"$T - T_{name}$", SUMS, 1.5)
        box(ax, 5.45, y, f"$W_{name}(\\alpha)$ for every $\\alpha$", SOLVE, 2.3)
        arrow(ax, (1.6, y), (2.4, y))
        arrow(ax, (3.9, y), (4.3, y))
        arrow(ax, (6.6, y), (7.35, 1.975 + (y - 1.975) * 0.22))
    for x in (1.0, 3.15, 5.45):
        ax.text(x, 1.025, "⋮", ha="center", va="center", size=11)
    box(
        ax,
        8.25,
        1.975,
        "confusion counts\n$k \\times k$ for each\nfold and $\\alpha$",
        RESULT,
        1.8,
        1.15,
    )
    arrow(ax, (8.25, 1.4), (8.25, 0.95))
    box(ax, 8.25, 0.62, "best $\\alpha$", RESULT, 1.3)
    ax.text(
        0.4,
        -0.04,
        "$T = T_1 + T_2 + \\dots + T_K$.  A grey band is work for one worker.",
        ha="left",
        va="center",
        size=9,
        color="#444444",
    )
    return figure


def class_weights():
    """What a ridge classifier has learnt of MNIST."""
    mnist = load_mnist()
    model = ParallelRidgeClassifier(alpha=1e8).fit(mnist.data, mnist.target)
    display = ClassWeightsDisplay.from_estimator(model, image_shape=mnist.image_shape)
    return display.figure_


def main():
    """Write all figures."""
    folder = Path(__file__).parent / "figures"
    folder.mkdir(exist_ok=True)
    for draw in (data_parallel, model_parallel):
        figure = draw()
        figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})
        plt.close(figure)
    class_weights().savefig(folder / "class_weights.png", dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    main()
