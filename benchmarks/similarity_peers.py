"""The peers of `benchmarks.similarity`: one pair at a time, as is common.

PLATONIC follows the definitions of Huh et al. 2024, arXiv 2405.07987 (their code is
github.com/minyoungg/platonic-rep) in torch: both Gram matrices are recomputed for every
pair, HSIC from their products. PLAIN is what a careful user of numpy and scikit-learn
writes: linear CKA from covariances, no product of N x N matrices, brute-force
neighbours.
"""

import os

import numpy as np


def _torch():
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch


def _hsic(k, l):  # noqa: E741 - the equation's
    torch = _torch()
    h = torch.eye(len(k)) - 1 / len(k)
    return torch.trace(k @ h @ l @ h)


def _unbiased_hsic(k, l):  # noqa: E741 - the equation's
    n = len(k)
    k, l = (z.clone().fill_diagonal_(0) for z in (k, l))  # noqa: E741
    total = (k * l.T).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (k @ l).sum()) / (n * (n - 3))


def _torch_cka(x, y, hsic, kernel="linear"):
    torch = _torch()
    k, l = (torch.from_numpy(z) for z in (x, y))  # noqa: E741
    if kernel == "rbf":
        # Rows come scaled by the bandwidth.
        k, l = (torch.exp(-(torch.cdist(z, z) ** 2) / 2) for z in (k, l))  # noqa: E741
    else:
        k, l = (z @ z.T for z in (k, l))  # noqa: E741
    return float(hsic(k, l) / torch.sqrt(hsic(k, k) * hsic(l, l)))


def _torch_neighbours(x, k):
    torch = _torch()
    z = torch.nn.functional.normalize(torch.from_numpy(x), dim=1)
    similarity = (z @ z.T).fill_diagonal_(-1e8)
    return similarity.argsort(dim=1, descending=True)[:, :k]


def _torch_mutual_knn(x, y, k):
    torch = _torch()
    masks = []
    for near in (_torch_neighbours(z, k) for z in (x, y)):
        masks.append(torch.zeros(len(x), len(x)).scatter_(1, near, 1.0))
    return float((masks[0] * masks[1]).sum(dim=1).mean() / k)


def _torch_cknna(x, y, k):
    torch = _torch()
    unit = (torch.nn.functional.normalize(torch.from_numpy(z), dim=1) for z in (x, y))
    grams = [z @ z.T for z in unit]

    def local(a, b):
        mask = torch.ones_like(a)
        for gram in (a, b):
            near = gram.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices
            mask *= torch.zeros_like(a).scatter_(1, near, 1.0)
        return _unbiased_hsic(mask * a, mask * b)

    own = local(grams[0], grams[0]) * local(grams[1], grams[1])
    return float(local(*grams) / torch.sqrt(own))


def _plain_linear(x, y):
    u, v = (z - z.mean(0) for z in (x, y))
    norms = [np.linalg.norm(z.T @ z) for z in (u, v)]
    return float(np.linalg.norm(u.T @ v) ** 2 / (norms[0] * norms[1]))


def _plain_rbf(x, y, unbiased=False):
    from sklearn.metrics.pairwise import rbf_kernel

    n = len(x)
    k, l = (rbf_kernel(z, gamma=0.5) for z in (x, y))  # noqa: E741

    def hsic(a, b):
        if unbiased:
            a_rows, b_rows = a.sum(0) - 1, b.sum(0) - 1  # without the diagonal of ones
            inner = np.vdot(a, b) - n
            inner += a_rows.sum() * b_rows.sum() / ((n - 1) * (n - 2))
            return inner - 2 / (n - 2) * (a_rows @ b_rows)
        a_rows, b_rows = a.sum(0), b.sum(0)
        inner = np.vdot(a, b) + a_rows.sum() * b_rows.sum() / n**2
        return inner - 2 / n * (a_rows @ b_rows)

    return float(hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l)))


def _plain_mutual_knn(x, y, k):
    from sklearn.neighbors import NearestNeighbors

    near = []
    for z in (x, y):
        found = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute")
        near.append(found.fit(z).kneighbors(return_distance=False))
    both = (near[0][:, :, None] == near[1][:, None, :]).any(2)
    return float(both.mean())


PLATONIC = {
    "linear_cka": lambda x, y, k: _torch_cka(x, y, _hsic),
    "unbiased_cka": lambda x, y, k: _torch_cka(x, y, _unbiased_hsic),
    "unbiased_rbf_cka": lambda x, y, k: _torch_cka(x, y, _unbiased_hsic, "rbf"),
    "mutual_knn": _torch_mutual_knn,
    "cknna": _torch_cknna,
}
PLAIN = {
    "linear_cka": lambda x, y, k: _plain_linear(x, y),
    "rbf_cka": lambda x, y, k: _plain_rbf(x, y),
    "unbiased_rbf_cka": lambda x, y, k: _plain_rbf(x, y, unbiased=True),
    "mutual_knn": _plain_mutual_knn,
}
