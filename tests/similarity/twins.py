"""Plain numpy forms of the measures, written from the papers."""

import numpy as np
import scipy.spatial.distance as distances


def planted(rows=60, dx=7, dy=5, noise=1.0, shift=0.0, seed=0):
    """Two correlated sides."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(rows, 4))
    x = shared @ rng.normal(size=(4, dx)) + noise * rng.normal(size=(rows, dx))
    y = shared @ rng.normal(size=(4, dy)) + noise * rng.normal(size=(rows, dy))
    return x + shift, y - shift


def kernel(x, name, bandwidth=1.0):
    if name == "linear":
        return x @ x.T
    if name == "rbf":
        away = distances.pdist(x)
        sigma = bandwidth * np.median(away)
        return np.exp(-(distances.squareform(away) ** 2) / (2 * sigma**2))
    return distances.squareform(distances.pdist(x, name))


def cka(k, l):  # noqa: E741 - the equation's
    h = np.eye(len(k)) - 1 / len(k)

    def hsic(a, b):
        return np.trace(a @ h @ b @ h)

    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def hsic_1(k, l):  # noqa: E741 - the equation's
    """Song et al. 2012, equation 5, for matrices that need not be symmetric."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    total = np.sum(k * l.T) + k.sum() * l.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (k @ l).sum()) / (n * (n - 3))


def unbiased_cka(k, l):  # noqa: E741 - the equation's
    return hsic_1(k, l) / np.sqrt(hsic_1(k, k) * hsic_1(l, l))


def neighbour_mask(x, k):
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    mask = np.zeros(similarity.shape)
    for row, order in enumerate(np.argsort(-similarity, axis=1, kind="stable")):
        mask[row, order[:k]] = 1
    return mask


def mutual_knn(x, y, k):
    return (neighbour_mask(x, k) * neighbour_mask(y, k)).sum(1).mean() / k


def cknna(x, y, k):
    mask_x, mask_y = neighbour_mask(x, k), neighbour_mask(y, k)

    def local(a, b, mask):
        return hsic_1(mask * (a @ a.T), mask * (b @ b.T))

    own = local(x, x, mask_x) * local(y, y, mask_y)
    return local(x, y, mask_x * mask_y) / np.sqrt(own)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)
