"""The gate of single prompts: planted signals, thresholds, and what they are worth."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from helix_jax.caches.measures import ContinuationRows
from helix_jax.caches.prompt_gate import (
    GATE,
    SHARES,
    closeness,
    correlation_numbers,
    dealt,
    decision_numbers,
    fit_prompt_gate,
    prompt_retention,
)

COUNT = 80
NAMES = ("telling", "noise", "same")


def planted(seed):
    """Prompts whose loss by the map is what the signal "telling" says, and noise."""
    rng = np.random.default_rng(seed)
    telling, noise = rng.normal(size=(2, COUNT))
    kl = np.exp(-telling + 0.1 * rng.normal(size=COUNT))
    native = rng.uniform(20, 30, COUNT)
    none = native + 10
    own = native + 3 * kl / kl.mean()
    values = {
        "native": np.stack([0 * kl, 0 * kl + 8, native], axis=1),
        "none": np.stack([kl + 9, 0 * kl, none], axis=1),
        "mapped": np.stack([8 * kl, 0 * kl + 4, own], axis=1),
    }
    documents = [f"d{row // 2}" for row in range(COUNT)]
    tokens, characters = np.full(COUNT, 8), np.full(COUNT, 30)
    rows = ContinuationRows(documents, values, tokens, characters)
    return {"telling": telling, "noise": noise, "same": np.ones(COUNT)}, rows


@pytest.fixture(scope="module")
def gate():
    signals, rows = planted(0)
    return fit_prompt_gate(signals, closeness(rows, "mapped"), NAMES), signals


def test_a_gate_takes_what_tells_and_leaves_out_what_does_not_vary(gate):
    own, _ = gate
    assert own.names == ("telling", "noise")
    assert own.weights[0] > 5 * abs(own.weights[1])


@pytest.mark.slow
def test_the_correlation_of_what_tells_is_high_and_that_of_its_control_is_not(gate):
    own, _ = gate
    signals, rows = planted(1)
    known = signals | {GATE: own(signals)}
    found = correlation_numbers(known, rows, "mapped", resamples=200)
    assert found[f"prompts/rank_closeness_{GATE}"].low > 0.9
    wanted = spearmanr(signals["telling"], prompt_retention(rows, "mapped")).statistic
    assert found["prompts/rank_retention_telling"].value == pytest.approx(wanted)
    assert wanted > 0.9
    for name in ("rank_closeness_noise", f"control_closeness_{GATE}"):
        assert found[f"prompts/{name}"].low < 0 < found[f"prompts/{name}"].high
    assert not any(name.endswith("same") for name in found)


def test_the_measured_of_a_control_is_of_another_document():
    documents = [f"d{row // 2}" for row in range(12)]
    places = dealt(documents)
    assert sorted(places) == list(range(12))
    assert all(documents[row] != documents[other] for row, other in enumerate(places))


def test_prompts_that_are_kept_fare_better_by_thresholds_of_the_select_split(gate):
    own, select = gate
    signals, rows = planted(2)
    chosen_on, scores = own(select), own(signals)
    found = decision_numbers(chosen_on, scores, rows, "mapped", resamples=100)
    shares = [found[f"prompts/kept_{share}"] for share in SHARES]
    assert shares == sorted(shares)
    for share in SHARES:
        kept, refused = (
            found[f"prompts/retention_{group}_{share}"] for group in ("kept", "refused")
        )
        assert kept.value > refused.value
        assert (
            found[f"prompts/kl_nats_kept_{share}"].value
            < found[f"prompts/kl_nats_refused_{share}"].value
        )
    mask = scores >= np.quantile(chosen_on, 0.5)
    own_nats, native, none = (
        rows.values[arm][mask, 2].sum() for arm in ("mapped", "native", "none")
    )
    wanted = 1 - (own_nats - native) / (none - native)
    assert found["prompts/retention_kept_50"].value == pytest.approx(wanted)
    # Thresholds know nothing of the test split: better prompts are all kept.
    all_kept = decision_numbers(chosen_on, scores + 99, rows, "mapped", resamples=10)
    assert {all_kept[f"prompts/kept_{share}"] for share in SHARES} == {1.0}
    assert "prompts/retention_refused_50" not in all_kept


def test_a_prompt_that_tells_nothing_has_no_retention():
    _, rows = planted(3)
    values = rows.values | {"none": rows.values["native"]}
    assert np.isnan(prompt_retention(rows._replace(values=values), "mapped")).all()
    own = prompt_retention(rows, "native")
    assert own == pytest.approx(np.ones(COUNT))
