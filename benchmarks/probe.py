r"""A path of logistic probes against scikit-learn at equal loss.

    python -m benchmarks.probe [--rows=20000 --width=768 --classes=14 --penalties=10]

scikit-learn fits one penalty after the other (lbfgs, its default, warm-started from the
last, with the tolerance that reaches our loss to 1e-5). The losses are compared in
float64 and printed: ours must be equal to 1e-5 or lower.
"""

import warnings

import numpy as np
from absl import app, flags

from benchmarks.timing import alternate, medians, write_results
from helix_jax.probes import fit_probes, sklearn_c

ROWS = flags.DEFINE_integer("rows", 20_000, "N")
WIDTH = flags.DEFINE_integer("width", 768, "D")
CLASSES = flags.DEFINE_integer("classes", 14, "C")
PENALTIES = flags.DEFINE_integer("penalties", 10, "P")
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions")
TOLERANCE = flags.DEFINE_float("peer_tolerance", 1e-5, "tol of scikit-learn")
TINY = flags.DEFINE_bool("tiny", False, "1,000 rows of width 32")


def features(rows: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features off the origin with noisy linear labels, like mean states."""
    generator = np.random.default_rng(0)
    mixing = (
        generator.standard_normal((width, width)) * np.logspace(0, -1.5, width)[:, None]
    )
    x = generator.standard_normal((rows, width)) @ mixing
    x = x / x.std() + generator.standard_normal(width)
    weights = generator.standard_normal((width, classes))
    scores = x @ weights
    scores = 3 * scores / scores.std() + generator.gumbel(size=(rows, classes))
    return x.astype(np.float32), scores.argmax(1).astype(np.int32)


def objective(x, labels, kernel, bias, ridge) -> float:
    """The penalised loss in float64."""
    logits = x.astype(np.float64) @ kernel + bias
    logits -= logits[np.arange(len(labels)), labels][:, None]
    top = logits.max(1)
    loss = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return float(loss.mean() + ridge / 2 * (kernel**2).sum())


def main(_: list[str]) -> None:
    """Measure and write the table."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    warnings.simplefilter("ignore", ConvergenceWarning)
    size = (1000, 32, 4) if TINY.value else (ROWS.value, WIDTH.value, CLASSES.value)
    x, labels = features(*size)
    classes = size[2]
    penalties = np.logspace(-4, 1, PENALTIES.value)
    path = fit_probes(x, labels, num_classes=classes, penalties=penalties)
    ridges = np.asarray(path.ridge, np.float64)

    def ours():
        return fit_probes(x, labels, num_classes=classes, penalties=penalties).probe

    def peer():
        model = LogisticRegression(warm_start=True, max_iter=5000, tol=TOLERANCE.value)
        found = []
        for ridge in ridges[::-1]:
            model.set_params(C=sklearn_c(ridge, len(x), classes)).fit(x, labels)
            found.append((model.coef_.T.copy(), model.intercept_.copy()))
        return found[::-1]

    kernels = np.asarray(path.probe.kernel, np.float64)
    biases = np.asarray(path.probe.bias, np.float64)
    losses = [objective(x, labels, k, b, r) for k, b, r in zip(kernels, biases, ridges)]
    theirs = [objective(x, labels, *kb, r) for kb, r in zip(peer(), ridges)]
    excess = [(a - b) / b for a, b in zip(losses, theirs)]
    seconds = medians(
        alternate({"ours": ours, "peer": peer}, repeats=REPEATS.value, warmups=0)
    )
    table = [
        ["x".join(map(str, size)), len(penalties), seconds["ours"], seconds["peer"],
         seconds["peer"] / seconds["ours"], max(excess), min(excess)]
    ]  # fmt: skip
    header = ["rows x width x classes", "penalties", "ours, s", "scikit-learn, s",
              "ratio", "our loss - theirs, worst", "best"]  # fmt: skip
    notes = (
        "LogisticRegression (lbfgs, warm-started along the path, tol "
        f"{TOLERANCE.value:g}, float32 features as ours). Losses are relative "
        "differences in float64: positive where scikit-learn's is lower."
    )
    print(
        write_results(
            "probe", "Logistic probe path", header, table, notes, not TINY.value
        )
    )


if __name__ == "__main__":
    app.run(main)
