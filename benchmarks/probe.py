r"""A path of logistic probes against scikit-learn at equal loss.

    python -m benchmarks.probe [--rows=20000 --width=768 --classes=14 --penalties=10]

scikit-learn fits one penalty after the other, strongest first and each warm-started
from the one before, on the same float32 features, with its default solver (lbfgs) and
with the one nearest to ours (newton-cg). Its tolerance is the loosest of 1e-4 (its
default), 1e-5 and 1e-6 at which every loss is within 1e-5 of ours, or the default if
none is; the path with that tolerance, run once, counts. Losses are compared in float64.
"""

from __future__ import annotations

import time

import numpy as np
from absl import flags

from helix_jax.runs.program import start_main

if __name__ != "__main__":  # slow, and not needed to read flags
    from benchmarks.timing import alternate, medians, write_results
    from helix_jax.probes import fit_probes, sklearn_c

ROWS = flags.DEFINE_integer("rows", 20_000, "N", lower_bound=1)
WIDTH = flags.DEFINE_integer("width", 768, "D", lower_bound=1)
CLASSES = flags.DEFINE_integer("classes", 14, "C", lower_bound=1)
PENALTIES = flags.DEFINE_integer("penalties", 10, "P", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 3, "counted repetitions", lower_bound=1)
TOLERANCES = (1e-4, 1e-5, 1e-6)  # scikit-learn's default first
TINY = flags.DEFINE_bool("tiny", False, "1,000 rows of width 32")


def features(rows: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features away from the origin, like mean states, with noisy labels."""
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


def peer(x, labels, ridges, classes: int, solver: str, tolerance: float):
    """scikit-learn's kernels and biases along the path, in the order of the ridges."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        solver=solver, warm_start=True, max_iter=10_000, tol=tolerance
    )
    found = []
    for ridge in ridges[::-1]:
        model.set_params(C=sklearn_c(ridge, len(x), classes)).fit(x, labels)
        found.append((model.coef_.T.copy(), model.intercept_.copy()))
    return found[::-1]


def main(_: list[str]) -> None:
    """Measure and write the table."""
    size = (1000, 32, 4) if TINY.value else (ROWS.value, WIDTH.value, CLASSES.value)
    x, labels = features(*size)
    classes = size[2]
    penalties = np.logspace(-4, 1, PENALTIES.value)
    path = fit_probes(x, labels, num_classes=classes, penalties=penalties)
    if not np.asarray(path.ok).all():
        raise SystemExit("fit_probes has not converged: no time counts")
    ridges = np.asarray(path.ridge, np.float64)

    def losses(fits) -> np.ndarray:
        return np.array([objective(x, labels, *fit, r) for fit, r in zip(fits, ridges)])

    kernels = np.asarray(path.probe.kernel, np.float64)
    found = {"ours": losses(zip(kernels, np.asarray(path.probe.bias, np.float64)))}

    def ours():
        return fit_probes(x, labels, num_classes=classes, penalties=penalties).probe

    seconds = medians(alternate({"ours": ours}, repeats=REPEATS.value))
    tolerances = {}
    for solver in ("newton-cg", "lbfgs"):
        for tolerance in TOLERANCES:
            start = time.perf_counter()
            fits = peer(x, labels, ridges, classes, solver, tolerance)
            spent, reached = time.perf_counter() - start, losses(fits)
            above = float((reached / found["ours"] - 1).max())
            line = f"{solver}, {tolerance:.0e}: {spent:.1f} s, {above:.1e} above ours"
            print(line, flush=True)
            # The loosest whose losses are equal; else the default, which comes first.
            if solver not in found or above <= 1e-5:
                found[solver], tolerances[solver] = reached, tolerance
                seconds[solver] = spent
            # Written after each solver: lbfgs can take an hour.
            _write(path, size, penalties, found, seconds, tolerances)
            if above <= 1e-5:
                break


def _write(path, size, penalties, found, seconds, tolerances) -> None:
    """Keep the table of the solvers measured so far."""
    least = np.min(list(found.values()), axis=0)
    table = [
        [
            name if name == "ours" else f"scikit-learn, {name}",
            seconds[name],
            seconds[name] / seconds["ours"],
            float((found[name] / least - 1).max()),
            f"{tolerances[name]:.0e}" if name in tolerances else "1e-6 of the loss",
        ]
        for name in seconds
    ]
    header = ["", "seconds", "times ours", "loss above the least, worst", "tolerance"]
    notes = (
        f"{size[0]:,} rows, {size[1]} dimensions, {size[2]} classes, "
        f"{len(penalties)} penalties from 1e-4 to 10 times the mean variance, "
        f"float32 features. Ours: median of {REPEATS.value}. scikit-learn: one path, "
        "warm-started, with the loosest tolerance whose losses are within 1e-5 of "
        "ours (its default, 1e-4, where none down to 1e-6 is). Ours took "
        f"{int(np.sum(path.products))} Hessian products and "
        f"{int(np.sum(path.steps))} Newton steps."
    )
    title = "Logistic probe path"
    print(write_results("probe", title, header, table, notes, not TINY.value))


if __name__ == "__main__":
    start_main(main)
