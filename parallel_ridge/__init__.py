"""Ridge classification as one parallel pass over rows.

A ridge classifier is a fold over rows followed by a small solve::

    sources  ->  backends (+ kernels)  ->  statistics  ->  solvers  ->  estimators
    where the    how blocks of rows        the additive    alphas       the face that
    rows live    are folded and merged     algebra         -> weights   scikit-learn sees
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from parallel_ridge.backends import OpenMPBackend, get_backend, register_backend
from parallel_ridge.estimators import ParallelRidgeClassifier, ParallelRidgeClassifierCV
from parallel_ridge.exceptions import BackendUnavailable, IllConditionedWarning
from parallel_ridge.folding import sufficient_statistics
from parallel_ridge.statistics import SufficientStatistics
from parallel_ridge.versions import show_versions

if TYPE_CHECKING:
    from parallel_ridge.mpi import MPIBackend
    from parallel_ridge.pipelines import BlockPipeline, make_block_pipeline
    from parallel_ridge.spark import SparkBackend
    from parallel_ridge.torch import TorchBackend

__version__ = _version("parallel-ridge")

__all__ = [
    "BackendUnavailable",
    "BlockPipeline",
    "IllConditionedWarning",
    "MPIBackend",
    "OpenMPBackend",
    "ParallelRidgeClassifier",
    "ParallelRidgeClassifierCV",
    "SparkBackend",
    "SufficientStatistics",
    "TorchBackend",
    "get_backend",
    "make_block_pipeline",
    "register_backend",
    "show_versions",
    "sufficient_statistics",
]


def __getattr__(name: str) -> Any:
    # Engines, and what needs more of scikit-learn, are imported when they are asked for.
    rooms = {
        "BlockPipeline": "parallel_ridge.pipelines",
        "MPIBackend": "parallel_ridge.mpi",
        "SparkBackend": "parallel_ridge.spark",
        "TorchBackend": "parallel_ridge.torch",
        "make_block_pipeline": "parallel_ridge.pipelines",
    }
    if name in rooms:
        return getattr(import_module(rooms[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
