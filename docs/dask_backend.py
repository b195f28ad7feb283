"""Rows folded by Dask: a complete backend."""

from functools import partial

import dask
import dask.array
import numpy as np
from sklearn.utils import check_consistent_length

from parallel_ridge.backends import Backend
from parallel_ridge.reductions import complete
from parallel_ridge.sources import ArraySource, check_weights, encode_labels
from parallel_ridge.threads import blas_threads


class DaskBackend(Backend):
    """Fold in the workers of Dask, wherever its scheduler has them."""

    def __init__(self, n_jobs=None, n_parts=16):
        self.n_jobs, self.n_parts = n_jobs, n_parts

    def reduce(self, reduction, source):
        """Fold runs of blocks, one in a task each, and add up their values in a tree."""
        blocks = list(source.blocks(reduction.block_rows))
        size = max(1, -(-len(blocks) // self.n_parts))
        step = dask.delayed(partial(fold_run, reduction), pure=False)
        values = [step(blocks[i : i + size]) for i in range(0, max(1, len(blocks)), size)]
        while len(values) > 1:
            values = [dask.delayed(add)(*values[i : i + 2]) for i in range(0, len(values), 2)]
        return complete(reduction, self.compute(values)[0])

    def map(self, function, items):
        """Call `function` on each item, in a task each."""
        return self.compute([dask.delayed(partial(function, item), pure=False)() for item in items])

    def source(self, request):
        """Rows of a Dask array stay where they are; the first one is enough for the checks."""
        X, y = request.X, request.y
        if not isinstance(X, dask.array.Array):
            return super().source(request)
        check_consistent_length(X, y)
        request.validate(np.asarray(X[:1]), np.asarray(y[:1]), False)
        labels, target = encode_labels(np.asarray(y), request.classes)
        return ArraySource(X, labels, check_weights(request.sample_weight, len(X))), target

    def solve_threads(self):
        """Threads of one solve: there are other tasks for the other cores."""
        return 1

    def compute(self, tasks):
        """Results of tasks; those that run here leave BLAS one thread each."""
        with blas_threads(1):
            return list(dask.compute(*tasks, num_workers=self.n_jobs))


def fold_run(reduction, blocks):
    """Value of some blocks; blocks of a Dask array are NumPy arrays by now."""
    total = reduction.zero(1)
    for block in blocks:
        reduction.add(total, block)
    return reduction.finish(total)


def add(value, other=None):
    """Sum of two values, or the one that has no partner."""
    return value if other is None else value + other
