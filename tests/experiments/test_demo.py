"""The demo from checkpoints to a page, against scikit-learn and numpy on its states."""

import itertools

import numpy as np
import pytest

pytest.importorskip("Pyfhel")

from experiments import demo
from helix_jax import assets
from helix_jax.activations import open_store
from helix_jax.reports import load_answer, load_blocks
from helix_jax.text.hashing import SPLITS
from tests.twins import best_probe, best_ridge, r2


def states_of(folder, name, split):
    """States [N, D] and labels [N] that a run extracted."""
    (place,) = (folder / "stores").glob(f"{name}-*-{split}-*")
    store = open_store(place)
    return store.read().astype(float), store.labels


def hsic(k, m):
    """Song et al. 2012, eq. 5, of Gram matrices without their diagonals."""
    n = len(k)
    return (
        np.trace(k @ m)
        + k.sum() * m.sum() / (n - 1) / (n - 2)
        - 2 * k.sum(0) @ m.sum(0) / (n - 2)
    ) / (n * (n - 3))


def unbiased_cka(x, y):
    k, m = (z @ z.T for z in (x, y))
    for gram in (k, m):
        np.fill_diagonal(gram, 0)
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def require_twins(folder, summary):
    """The numbers of a run are those of scikit-learn and numpy on its states."""
    tests = {name: states_of(folder, name, "test")[0] for name in assets.NAMES}
    for a, b in itertools.combinations(assets.NAMES, 2):
        cka = summary[f"similarity/{a}/{b}/unbiased_cka"]
        assert cka == pytest.approx(unbiased_cka(tests[a], tests[b]), abs=1e-5)
    first = assets.NAMES[:2]
    x, y = ([states_of(folder, name, split) for split in SPLITS] for name in first)
    labels = [of_split for _, of_split in y]
    (x, x_select, x_test), (y, y_select, y_test) = (
        [states for states, _ in side] for side in (x, y)
    )
    ridge = best_ridge(x, y, x_select, y_select)
    probe = best_probe(y, labels[0], y_select, labels[1])
    start = "/".join(first)
    accuracies = {
        "target": probe.score(y_test, labels[2]),
        "mapped": probe.score(ridge.predict(x_test), labels[2]),
    }
    for arm, accuracy in accuracies.items():
        assert summary[f"{start}/test/{arm}_accuracy"] == pytest.approx(accuracy), arm
    mapped = r2(y_test, ridge.predict(x_test))
    assert summary[f"{start}/fit/r2"] == pytest.approx(mapped, rel=1e-4)
    # Noise of 12 bits changes one answer of a hundred or so (docs/private.md).
    asked = summary["encrypted/queries"]
    agreement = summary["encrypted/argmax_agreement"]
    assert agreement >= 1 - max(1, 0.05 * asked) / asked
    models, matrix, pairs, *_, texts, hidden = load_blocks(folder)
    assert [row[0] for row in models.rows] == list(assets.NAMES)
    cka = summary[f"similarity/{start}/unbiased_cka"]
    assert matrix.values[0][1] == matrix.values[1][0] == cka
    assert [row[0] for row in pairs.rows] == [" -> ".join(first)]
    assert len(texts.items) == summary["generation/prompts"] == 2
    shown = f"{100 * agreement:.1f}% of {asked:.0f}"
    assert dict(hidden.rows)["same answer as in the clear"] == shown
    for page in ("report.html", "report.md"):
        assert (folder / page).read_text().count("Unbiased linear CKA")


def test_the_start_says_how_long_the_steps_take():
    assert (
        demo.start_line(list(demo.STEPS), tiny=False)
        == "The demo: 6 steps, about 5 minutes on two cores."
    )
    plain = [name for name in demo.STEPS if name not in demo.ENCRYPTED]
    assert "3 steps, about 4 minutes" in demo.start_line(plain, tiny=False)


@pytest.mark.slow
def test_a_demo_equals_scikit_learn_and_numpy(tmp_path, capsys):
    folder = tmp_path / "w"
    summary = demo.run(demo.DemoConfig(workdir=str(folder), tiny=True))
    said = capsys.readouterr().out
    steps = [said.index(f"[{number} of 6] ") for number in range(1, 7)]
    assert steps == sorted(steps)
    answer = load_answer(folder, [])
    mapped = 100 * summary[f"{'/'.join(assets.NAMES[:2])}/test/mapped_accuracy"]
    assert f"right on {mapped:.1f}% of the test texts" in answer.text
    assert assets.NAMES[0] in answer.about
    require_twins(folder, summary)
