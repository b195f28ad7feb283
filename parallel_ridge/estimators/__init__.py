"""The face that scikit-learn sees: validation, labels, fitted attributes."""

from parallel_ridge.estimators._classifier import ParallelRidgeClassifier
from parallel_ridge.estimators._classifier_cv import ParallelRidgeClassifierCV

__all__ = ["ParallelRidgeClassifier", "ParallelRidgeClassifierCV"]
