"""encrypted, private_fit, aggregate and attack beside numpy and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score

pytest.importorskip("Pyfhel")
pytest.importorskip("cryptography")

from experiments import aggregate, attack, encrypted, private_fit
from helix_jax.alignment import AffineMap
from helix_jax.attacks.setting import planted_setting
from helix_jax.private import Client, Provider
from helix_jax.private.rehearsal import Conversation, rehearse_fit, rehearse_sum
from helix_jax.runs import Run
from tests import twins
from tests.experiments.planted import CLASSES, ROWS, planted


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("known"), "known", ROWS)


def best_ridge(known, rows):
    """scikit-learn's ridge on some fit rows, its penalty the best on select."""
    fit = (side["fit"][rows].astype(float) for side in (known.x, known.y))
    return twins.best_ridge(*fit, known.x["select"], known.y["select"])


def r2_of(ridge, known, split):
    mapped = ridge.predict(known.x[split])
    return r2_score(known.y[split], mapped, multioutput="variance_weighted")


def accuracy(known, mapped):
    """Of scikit-learn's classifier of the target's states, on mapped ones."""
    probe = LogisticRegression(max_iter=1000).fit(known.y["fit"], known.labels["fit"])
    return np.mean(probe.predict(mapped) == known.labels["test"])


@pytest.mark.slow
def test_logits_under_encryption_equal_the_matrix_product(tmp_path):
    config = encrypted.EncryptedConfig(
        workdir=str(tmp_path), width=40, classes=3, queries=6, seed=5
    )
    numbers = encrypted.compute(config, Run(tmp_path)).numbers
    generator = np.random.default_rng(5)
    kernel = 10 * generator.standard_normal((40, 3)) / np.sqrt(40)
    bias, x = generator.standard_normal(3), generator.standard_normal((6, 40))
    logits = x @ kernel + bias
    assert numbers["encrypted/largest_logit"] == pytest.approx(np.abs(logits).max())
    norm = float(np.linalg.norm(x, axis=1).max())
    provider = Provider(kernel, bias, input_norm=norm)
    assert numbers["encrypted/stated_error"] == provider.layer.error
    asked = Conversation(Client(), provider).ask_all(x)
    np.testing.assert_allclose(asked, logits, rtol=0, atol=provider.layer.error)


@pytest.mark.slow
def test_accuracy_under_encryption_equals_that_of_scikit_learn(known, tmp_path):
    config = encrypted.EncryptedConfig(
        workdir=str(tmp_path), queries=0, policy="logits", **known.flags
    )
    numbers = encrypted.compute(config, Run(tmp_path)).numbers
    right = accuracy(known, best_ridge(known, slice(None)).predict(known.x["test"]))
    assert right < 1
    for name in ("accuracy", "plain_accuracy"):
        assert numbers[f"encrypted/{name}"].value == pytest.approx(right), name


@pytest.mark.slow
def test_an_encrypted_fit_equals_numpy_and_scikit_learn(known, tmp_path, monkeypatch):
    fits = []

    def recorded(*args, **kwargs):
        fits.append(rehearse_fit(*args, **kwargs))
        return fits[-1]

    monkeypatch.setattr(private_fit, "rehearse_fit", recorded)
    config = private_fit.PrivateFitConfig(
        workdir=str(tmp_path), precision=20, share=1.0, **known.flags
    )
    numbers = private_fit.compute(config, Run(tmp_path)).numbers
    x, y = (side["fit"].astype(float) for side in (known.x, known.y))
    cross = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
    private = np.asarray(fits[0].moments.cov_xy)
    gap = np.linalg.norm(private - cross) / np.linalg.norm(cross)
    assert 0 < gap < 1e-4
    assert numbers["private_fit/relative_error"] == pytest.approx(gap, rel=1e-3)
    means = np.asarray(fits[0].moments.mean_y)
    np.testing.assert_allclose(means, y.mean(0), atol=5e-5)
    mapped = LinearRegression().fit(x, y).predict(known.x["test"])
    right = accuracy(known, mapped)
    for name in ("test_accuracy", "plain_test_accuracy"):
        assert numbers[f"private_fit/{name}"].value == pytest.approx(right), name
    assert numbers["private_fit/upload_bytes"] == fits[0].sizes["rows"]


@pytest.mark.slow
def test_the_map_of_all_silos_and_of_one_equal_those_of_scikit_learn(known, tmp_path):
    config = aggregate.AggregateConfig(
        workdir=str(tmp_path), silos=CLASSES, dropped=0, split_by="label", **known.flags
    )
    numbers = aggregate.compute(config, Run(tmp_path)).numbers
    errors = {"all_silos_error": 1 - r2_of(best_ridge(known, ...), known, "test")}
    alone = [
        1 - r2_of(best_ridge(known, known.labels["fit"] == label), known, "test")
        for label in range(CLASSES)
    ]
    errors |= {
        "single_silo_error": np.mean(alone),
        "single_silo_error_least": min(alone),
    }
    for name, error in errors.items():
        assert numbers[f"aggregate/{name}"] == pytest.approx(error, rel=1e-4), name
    assert numbers["aggregate/rows"] == len(known.x["fit"])


@pytest.mark.slow
def test_summed_answers_equal_the_sum_of_matrix_products():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4, 12))
    maps = [
        AffineMap(generator.normal(size=(12, 5)), generator.normal(size=5))
        for _ in range(3)
    ]
    clear = sum(x @ share.kernel + share.bias for share in maps)
    np.testing.assert_allclose(rehearse_sum(maps, x).results, clear, atol=1e-4)


@pytest.mark.slow
def test_what_plain_logits_tell_equals_least_squares(tmp_path):
    """The stolen classifier of every budget, and how often it names the same class."""
    config = attack.AttackConfig(workdir=str(tmp_path), policies=("logits",), tiny=True)
    setting = planted_setting(config.seed)
    numbers = attack.attacks(config)["extraction"](setting).numbers
    true = setting.classifier
    logits = setting.queries @ true.kernel + true.bias
    named = (setting.held @ true.kernel + true.bias).argmax(1)
    largest = np.bincount(named).max() / len(named)
    assert numbers["extraction_chance_agreement"] == largest
    for budget, count in (("quarter", 5), ("half", 10), ("d_plus_1", 21), ("4d", 80)):
        rows = np.pad(setting.queries[:count], ((0, 0), (0, 1)), constant_values=1)
        stolen = np.linalg.pinv(rows) @ logits[:count]
        guessed = setting.held @ stolen[:-1] + stolen[-1]
        same = np.mean(guessed.argmax(1) == named)
        assert numbers[f"extraction_plain_{budget}_agreement"].value == same, budget
