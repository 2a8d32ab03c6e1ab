"""Logistic regression, as the calibration and the detector's weights need it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 50


def fit_logistic(
    design: Floats, target: NDArray[np.bool_], *, ridge: float | Floats, counts: float | Floats = 1.0
) -> Floats:
    """Weights (m,) of the columns of a design matrix, by Newton's method.

    Args:
        design: (n, m), a column of ones among them for the constant.
        target: (n,) which of the rows are positive.
        ridge: strength of the quadratic penalty, one for all weights or (m,).
        counts: what each row counts, one for all or (n,).
    """
    weights = np.zeros(design.shape[1])
    penalty = np.broadcast_to(ridge, weights.shape)
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -50, 50)))
        gradient = design.T @ (counts * (chance - target)) + penalty * weights
        hessian = (design * (counts * chance * (1 - chance))[:, None]).T @ design + np.diag(penalty + 1e-6)
        weights -= np.linalg.solve(hessian, gradient)
    return weights
