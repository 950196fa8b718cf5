"""The ridge map and the probe of the programs, chosen and fitted by scikit-learn."""

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

from helix_jax.alignment.ridge import RELATIVE_PENALTIES
from helix_jax.probes import PENALTIES, sklearn_c


def r2(y, predicted):
    """Explained share of the variance of all dimensions together."""
    return 1 - ((y - predicted) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum()


def best_ridge(x, y, x_select, y_select):
    """The ridge regression whose penalty has the largest R2 on the select rows."""
    size = ((x - x.mean(axis=0)) ** 2).sum() / x.shape[1]
    path = [
        Ridge(penalty * size, tol=1e-10).fit(x, y) for penalty in RELATIVE_PENALTIES
    ]
    return max(path, key=lambda ridge: r2(y_select, ridge.predict(x_select)))


def best_probe(x, labels, x_select, labels_select):
    """The classifier whose penalty has the least loss on the select rows."""
    classes = range(labels.max() + 1)
    path = [
        LogisticRegression(
            C=sklearn_c(penalty * x.var(axis=0).mean(), len(x), len(classes)),
            solver="newton-cg",
            tol=1e-8,
            max_iter=500,
        ).fit(x, labels)
        for penalty in PENALTIES
    ]

    def loss(probe):
        return log_loss(labels_select, probe.predict_proba(x_select), labels=classes)

    return min(path, key=loss)
