"""Write ``pickles/VERSION.pkl``, which later versions must load: run it once per release."""

import pickle
from pathlib import Path

import numpy as np

import parallel_ridge
from parallel_ridge import ParallelRidgeClassifier, ParallelRidgeClassifierCV


def main():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    models = [
        ParallelRidgeClassifier(store_statistics=True).fit(X, y),
        ParallelRidgeClassifier().fit(X, y == 1),
        ParallelRidgeClassifier().fit(X, np.eye(3, dtype=int)[y]),
        ParallelRidgeClassifierCV([0.1, 1.0, 10.0], cv=3, probability=True).fit(X, y),
    ]
    kept = {
        "X": X,
        "y": y,
        "models": models,
        "decisions": [model.decision_function(X) for model in models],
        "stream": ParallelRidgeClassifier().partial_fit(X, y),
    }
    path = Path(__file__).parent / "pickles" / f"{parallel_ridge.__version__}.pkl"
    path.write_bytes(pickle.dumps(kept, protocol=5))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
