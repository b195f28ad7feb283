"""Fitted models as estimators of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import LabelBinarizer


def as_ridge_classifier(model: Any) -> RidgeClassifier:
    """A fitted RidgeClassifier with the answers of a fitted model.

    Parameters
    ----------
    model : fitted estimator
        With arrays of NumPy.
    """
    ridge = RidgeClassifier(
        alpha=getattr(model, "alpha_", None) or getattr(model, "alpha", None) or 0.0,
        fit_intercept=bool(model.fit_intercept),
        class_weight=model.class_weight,
    )
    labels = np.eye(len(model.classes_), dtype=int) if model._multilabel else model.classes_
    ridge._label_binarizer = LabelBinarizer(neg_label=-1, pos_label=1).fit(labels)
    if not isinstance(getattr(RidgeClassifier, "classes_", None), property):  # as before 1.9
        ridge.classes_ = ridge._label_binarizer.classes_
    ridge.coef_ = np.atleast_2d(model.coef_).copy()
    ridge.intercept_ = np.array(model.intercept_) if model.fit_intercept else 0.0
    ridge.n_iter_, ridge.solver_ = model.n_iter_, "cholesky"
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model, name):
            setattr(ridge, name, getattr(model, name))
    return ridge
