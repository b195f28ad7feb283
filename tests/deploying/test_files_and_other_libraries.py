"""Fitted models travel: pickles, skops, MLflow, and scikit-learn alone."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from _data.estimators import make_data
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import RidgeClassifier

from parallel_ridge import (
    ParallelRidgeClassifier,
    ParallelRidgeClassifierCV,
    make_block_pipeline,
)
from parallel_ridge.estimators import _predictions

pytestmark = pytest.mark.filterwarnings("ignore:The best alpha")
KEPT = Path(__file__).parent / "pickles"
# What skops must be told to trust; docs/deploying.md lists the same.
TRUSTED = [
    "parallel_ridge.estimators._classifier.ParallelRidgeClassifier",
    "parallel_ridge.estimators._classifier_cv.ParallelRidgeClassifierCV",
]


def labelled(kind):
    X, y = make_data(90, 6)
    codes = np.unique(y, return_inverse=True)[1]
    if kind == "multilabel":
        X, Y = make_multilabel_classification(90, 6, n_classes=3, random_state=0)
        return X, Y
    return X, {
        "binary": codes % 2,
        "multiclass": codes,
        "text": np.array(["a", "b", "c"])[codes],
    }[kind]


KINDS = ["binary", "multiclass", "text", "multilabel"]
MODELS = [
    ParallelRidgeClassifier(),
    ParallelRidgeClassifier(fit_intercept=False, standardize=True, class_weight="balanced"),
    ParallelRidgeClassifierCV(),
    ParallelRidgeClassifierCV([0.1, 1.0], cv=3, probability=True),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_model_of_scikit_learn_has_the_same_answers(kind, model, dtype):
    X, y = labelled(kind)
    X = X.astype(dtype)
    if kind == "multilabel" and model.class_weight is not None:
        model = ParallelRidgeClassifier(standardize=True)
    model.fit(X, y)
    same = model.to_sklearn()
    assert type(same) is RidgeClassifier
    assert_array_equal(same.predict(X), model.predict(X))
    assert_allclose(same.decision_function(X), model.decision_function(X), 1e-4, 1e-5)
    assert_array_equal(same.classes_, model.classes_)
    assert same.score(X, y) == pytest.approx(model.score(X, y))
    copy = pickle.loads(pickle.dumps(same))
    assert_array_equal(copy.predict(X), model.predict(X))
    same.coef_[:] = 0.0
    assert np.any(model.coef_)


def test_the_model_of_scikit_learn_needs_nothing_else(tmp_path):
    pd = pytest.importorskip("pandas")
    X, y = labelled("text")
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    model = ParallelRidgeClassifier().fit(frame, y)
    assert model.to_sklearn().feature_names_in_.tolist() == frame.columns.tolist()
    joblib.dump(ParallelRidgeClassifier().fit(X, y).to_sklearn(), tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", X)
    program = """
import sys
class Refused:
    def find_spec(self, name, *args):
        if name.partition(".")[0] == "parallel_ridge":
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import joblib, numpy
print(*joblib.load("model.joblib").predict(numpy.load("X.npy")))
"""
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == model.predict(frame).tolist()


def test_models_that_are_not_fitted_have_no_model_of_scikit_learn():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        ParallelRidgeClassifier().to_sklearn()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [MODELS[0], MODELS[3]], ids=str)
def test_skops(kind, model):
    skops = pytest.importorskip("skops.io")
    X, y = labelled(kind)
    data = skops.dumps(model.fit(X, y))
    assert set(skops.get_untrusted_types(data=data)) <= set(TRUSTED)
    same = skops.loads(data, trusted=TRUSTED)
    assert_array_equal(same.predict(X), model.predict(X))
    assert_array_equal(same.coef_, model.coef_)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow(tmp_path):
    mlflow = pytest.importorskip("mlflow.sklearn")
    X, y = labelled("multiclass")
    for i, model in enumerate((MODELS[3], make_block_pipeline(ParallelRidgeClassifier()))):
        path = str(tmp_path / str(i))
        mlflow.save_model(
            model.fit(X, y), path, serialization_format="cloudpickle", pip_requirements=[]
        )
        assert_array_equal(mlflow.load_model(path).predict(X), model.predict(X))


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.pkl")), ids=lambda path: path.stem)
def test_pickles_of_released_versions_load(path):
    with path.open("rb") as file:
        kept = pickle.load(file)
    for model in kept["models"]:
        assert_allclose(model.decision_function(kept["X"]), kept["decisions"].pop(0), 1e-12)
    kept["stream"].partial_fit(kept["X"], kept["y"])
    assert kept["stream"].statistics_.n_samples == 2 * len(kept["y"])


def test_a_pickle_of_a_later_version_says_what_to_do(monkeypatch):
    model = ParallelRidgeClassifier().fit(*labelled("binary"))
    with monkeypatch.context() as patch:
        patch.setattr(_predictions, "PICKLE_FORMAT", _predictions.PICKLE_FORMAT + 1)
        patch.setattr(_predictions, "_installed", lambda: "9.1")
        data = pickle.dumps(model)
    with pytest.raises(ValueError, match=r"pickled by parallel_ridge 9\.1, and .* upgrade"):
        pickle.load(io.BytesIO(data))
