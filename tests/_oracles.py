"""Answers in more digits than float64 has, to compare with."""

import numpy as np

LONG = np.longdouble


def qr_solve(A, B):
    """Least-squares solution of a tall system by Householder's QR, in extended precision."""
    A, B = A.astype(LONG), B.astype(LONG)
    n = A.shape[1]
    for j in range(n):
        x = A[j:, j]
        size = np.sqrt((x * x).sum())
        if size == 0:
            raise ZeroDivisionError("A has no full rank.")
        v = x.copy()
        v[0] += size if x[0] >= 0 else -size
        v /= np.abs(v).max()
        factor = 2 / (v * v).sum()
        A[j:, j:] -= np.outer(v * factor, v @ A[j:, j:])
        B[j:] -= np.outer(v * factor, v @ B[j:])
    X = np.zeros((n, B.shape[1]), LONG)
    for j in range(n - 1, -1, -1):
        X[j] = (B[j] - A[j, j + 1 : n] @ X[j + 1 :]) / A[j, j]
    return X


def ridge(X, targets, alpha, weights=None, fit_intercept=True, standardize=False, mean=False):
    """Coefficients (t, d) and intercepts (t,) of ridge regression, in extended precision.

    By a QR of the centred rows on top of the penalty's root, which squares nothing. Needs a positive
    penalty, or columns of full rank; constant columns get no weight if there is an intercept.
    """
    X, Y = X.astype(LONG), targets.astype(LONG)
    w = np.ones(len(X), LONG) if weights is None else np.asarray(weights).astype(LONG)
    keep = w > 0
    X, Y, w = X[keep], Y[keep], w[keep]
    w = w / w.max() if mean else w
    total = w.sum()
    # Twice, since the first mean is rounded.
    x_mean = X[0] + w @ (X - X[0]) / total
    x_mean = x_mean + w @ (X - x_mean) / total
    y_mean = w @ Y / total
    away = X - x_mean
    variances = w @ away**2 / total
    constant = (X[0] == X).all(axis=0)
    scale = np.sqrt(np.where(constant, 1, variances)) if standardize else np.ones(X.shape[1], LONG)
    A, B = (away, Y - y_mean) if fit_intercept else (X, Y)
    kept = ~constant if fit_intercept else np.ones(X.shape[1], bool)
    A = (A / scale)[:, kept] * np.sqrt(w)[:, None]
    B = B * np.sqrt(w)[:, None]
    penalty = np.sqrt(LONG(alpha) * (total if mean else 1))
    # On top: reflections leave the digits of rows that it outweighs.
    rows = np.vstack([penalty * np.eye(A.shape[1], dtype=LONG), A]) if alpha else A
    found = qr_solve(rows, np.vstack([np.zeros((len(rows) - len(B), B.shape[1]), LONG), B]))
    coef = np.zeros((Y.shape[1], X.shape[1]), LONG)
    coef[:, kept] = (found / scale[kept, None]).T
    intercept = y_mean - coef @ x_mean if fit_intercept else np.zeros(Y.shape[1], LONG)
    return coef, intercept


def coded(y):
    """Targets +1 and -1 of labels: one column for two classes."""
    classes = np.unique(y)
    Y = np.where(np.asarray(y)[:, None] == classes, 1.0, -1.0)
    return Y[:, 1:] if len(classes) == 2 else Y


def relative_error(coef, exact):
    """Error of coefficients relative to the longest of their vectors."""
    away = np.atleast_2d(coef).astype(LONG) - exact
    off, length = (np.sqrt((part**2).sum(axis=1)).max() for part in (away, exact))
    return float(off / length) if length > 0 else float(off)
