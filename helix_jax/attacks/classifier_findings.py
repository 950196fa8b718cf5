"""Extraction of the classifier from honest queries, by policy and by budget."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from helix_jax.attacks import chance, extraction
from helix_jax.attacks.setting import (
    Finding,
    Service,
    Setting,
    correlation_cells,
    correlation_numbers,
    rate_numbers,
    serve,
)

SHOWN = ("quarter", "d_plus_1", "2d", "4d")


def budgets_of(width: int) -> dict[str, int]:
    """Numbers of queries, by name."""
    return {
        "quarter": width // 4, "half": width // 2, "d_plus_1": width + 1,
        "2d": 2 * width, "4d": 4 * width,
    }  # fmt: skip


def measure_extraction(
    setting: Setting, *, profile: str, policies: Sequence[str]
) -> Finding:
    """Steal the classifier from plain logits, and from answers under every policy.

    Args:
      setting: whom to attack; at least 4 d queries.
      profile: of the protected provider.
      policies: what answers show.
    """
    true, held = setting.classifier, setting.held
    budgets = budgets_of(len(true.kernel))
    x = setting.queries[: budgets["4d"]]
    named = (held @ true.kernel + true.bias).argmax(axis=1)
    largest = float(np.bincount(named).max() / len(held))
    summary = {"extraction_chance_agreement": largest}
    rows, truth = [], extraction.differences(true)
    ones = np.concatenate([held, np.ones((len(held), 1))], axis=1)

    def steal(policy: str, results: np.ndarray) -> dict[str, str]:
        solve = partial(extraction.solve_logits, noisy=policy.startswith("rounded"))
        if policy == "order":
            solve = extraction.solve_order
        cells, start = {}, f"extraction_{policy.replace(':', '_')}"
        for budget, count in budgets.items():
            stolen = solve(x[:count], results[:count])
            same = extraction.agreement(stolen, true, held)
            found = chance.rate(int(same.sum()), len(same))
            guess = extraction.differences(stolen)
            # Of differences between classes, up to a factor: what decides.
            errors = {
                "weights": _scaled_error(guess, truth),
                "logits": _scaled_error(ones @ guess, ones @ truth),
            }
            name = f"{start}_{budget}"
            summary.update(rate_numbers(found, f"{name}_agreement"))
            summary.update({f"{name}_{k}_relative_error": v for k, v in errors.items()})
            cells[budget] = (
                f"{100 * found.value:.1f}% agree, W to {errors['weights']:.1g}"
            )
        return cells

    control = steal("plain", x @ true.kernel + true.bias)
    for policy in policies:
        own = serve(setting, profile, policy=policy)
        cells = steal(policy, _answers(own, x))
        for budget in SHOWN:
            rows.append(
                [
                    "" if rows else "classifier from answers",
                    f"{policy}, {budgets[budget]} queries", control[budget],
                    cells[budget], f"{100 * largest:.1f}% agree, W to 1",
                ]
            )  # fmt: skip
    return Finding(summary, rows)


def measure_offsets(
    setting: Setting, *, profile: str, rng: np.random.Generator
) -> Finding:
    """Under "order", logits up to a factor alone, by a query written one tile further.

    Args:
      setting: whom to attack.
      profile: of the protected provider.
      rng: of the shuffles.

    Returns:
      Finding, empty where the layout leaves no room.
    """
    true, x = setting.classifier, setting.queries[:32]
    own = serve(setting, profile, policy="order")
    honest = _answers(own, x)
    try:
        queries = [extraction.shifted_query(own.client, own.layer, row) for row in x]
    except ValueError:
        return Finding({}, [])
    shifted = np.stack([own.client.decrypt(own.provider.answer(q)) for q in queries])
    # The bias stays: it is small beside x W, or known from differences.
    truth = x @ true.kernel[:, :-1]
    guess = shifted[:, 1:] - shifted[:, :1]
    found = [
        chance.correlate(_row_units(one), _row_units(truth), rng=rng)
        for one in (guess, honest[:, :-1])
    ]
    summary = {
        **correlation_numbers(found[0], "offsets_shifted"),
        **correlation_numbers(found[1], "offsets_honest"),
    }
    row = [
        "logits without offset, from order", "query one tile further", "known",
        *correlation_cells(found[0]),
    ]  # fmt: skip
    other = ["", "honest query", "known", *correlation_cells(found[1])]
    return Finding(summary, [row, other])


def _row_units(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _scaled_error(guess: np.ndarray, truth: np.ndarray) -> float:
    """Relative error at the factor that is best."""
    factor = np.sum(guess * truth) / max(np.sum(guess**2), 1e-300)
    return chance.relative_error(factor * guess, truth)


def _answers(one: Service, x: np.ndarray) -> np.ndarray:
    """[Q, k] decrypted answers."""
    return np.stack(
        [
            one.client.decrypt(one.provider.answer(one.client.encrypt(one.layer, row)))
            for row in x
        ]
    )
