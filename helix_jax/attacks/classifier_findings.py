"""Extraction of the classifier from its answers, by policy and by budget."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from helix_jax.alignment import AffineMap
from helix_jax.attacks import chance, extraction, weight_packing
from helix_jax.attacks.setting import Finding, Service, Setting, serve
from helix_jax.private import LabelClient
from helix_jax.private.labels import shares
from helix_jax.stats import Interval, relative_error

SHOWN = ("quarter", "d_plus_1", "2d", "4d")


def budgets_of(width: int) -> dict[str, int]:
    """Numbers of queries, by name."""
    return {
        "quarter": width // 4,
        "half": width // 2,
        "d_plus_1": width + 1,
        "2d": 2 * width,
        "4d": 4 * width,
    }


def measure_extraction(
    setting: Setting, *, profile: str, policies: Sequence[str]
) -> Finding:
    """Steal the classifier from plain logits, and from answers under every policy.

    Args:
      setting: what to attack, with at least 4 d queries.
      profile: of the protected provider.
      policies: answer policies to attack.
    """
    true, held = setting.classifier, setting.held
    budgets = budgets_of(len(true.kernel))
    x = setting.queries[: budgets["4d"]]
    named = (held @ true.kernel + true.bias).argmax(axis=1)
    largest = float(np.bincount(named).max() / len(held))
    summary: dict[str, float | Interval] = {"extraction_chance_agreement": largest}
    users: dict[str, Interval] = {}
    rows: list[list[str]] = []
    truth = extraction.differences(true)
    ones = np.concatenate([held, np.ones((len(held), 1))], axis=1)

    plain = x @ true.kernel + true.bias

    def steal(policy: str, results: np.ndarray) -> dict[str, str]:
        solve: Callable[[np.ndarray, np.ndarray], AffineMap] = _solve_labels
        if policy != "label":
            noisy = policy.startswith("rounded")
            solve = partial(extraction.solve_logits, noisy=noisy)
        cells, start = {}, f"extraction_{policy.replace(':', '_')}"
        # How useful answers under the policy are to an honest client.
        right = results.argmax(axis=1) == plain.argmax(axis=1)
        users[policy] = chance.rate(int(right.sum()), len(right))
        summary[f"{start}_user_agreement"] = users[policy]
        for budget, count in budgets.items():
            stolen = solve(x[:count], results[:count])
            same = extraction.agreement(stolen, true, held)
            agreeing = chance.rate(int(same.sum()), len(same))
            guess = extraction.differences(stolen)
            # Of differences between classes, up to a factor: only these decide.
            errors = {
                "weights": _scaled_error(guess, truth),
                "logits": _scaled_error(ones @ guess, ones @ truth),
            }
            name = f"{start}_{budget}"
            summary[f"{name}_agreement"] = agreeing
            summary.update({f"{name}_{k}_relative_error": v for k, v in errors.items()})
            cells[budget] = (
                f"{100 * agreeing.value:.1f}% agree; error {errors['logits']:.1g} of "
                f"logits, {errors['weights']:.1g} of W"
            )
        return cells

    control = steal("plain", plain)
    for policy in policies:
        service = serve(setting, profile, policy=policy)
        cells = steal(policy, _answers(service, x))
        for budget in SHOWN:
            rows.append(
                [
                    "" if rows else "classifier from answers",
                    _against(policy, budgets[budget], users[policy]),
                    control[budget],
                    cells[budget],
                    f"{100 * largest:.1f}% agree; error 1",
                ]
            )
    return Finding(summary, rows)


def measure_packed_weights(
    setting: Setting, *, profile: str, policies: Sequence[str]
) -> Finding:
    """Read weights that were rounded to 8 bits, one to three per result.

    Args:
      setting: its classifier is rounded, and its bias left out.
      profile: of the protected provider.
      policies: answer policies to attack.
    """
    integers, unit = weight_packing.quantise(setting.classifier)
    classifier = AffineMap(unit * integers, np.zeros(integers.shape[1]))
    own = setting._replace(classifier=classifier)
    common = np.unique(integers, return_counts=True)[1].max() / integers.size
    numbers: dict[str, float | Interval] = {
        "packed_weights_chance_exact": float(common)
    }
    rows: list[list[str]] = []

    def share(packing: weight_packing.Packing, results: np.ndarray) -> Interval:
        same = weight_packing.unpack(packing, results, unit) == integers
        return chance.rate(int(same.sum()), same.size)

    for policy in policies:
        service = serve(own, profile, policy=policy)
        for shared in (3, 2, 1):
            packing = weight_packing.pack(
                len(integers), service.layer.input_norm, shared=shared
            )
            plain = share(packing, packing.x @ classifier.kernel)
            found = share(packing, _answers(service, packing.x))
            name = f"packed_weights_{policy.replace(':', '_')}_{shared}"
            numbers |= {f"{name}_exact": found, f"{name}_plain_exact": plain}
            bits = service.provider.answer_bits / integers.shape[1]
            rows.append(
                [
                    "" if rows else "int8 weights, several in a result",
                    f"{policy}, {len(packing.x)} queries, {bits:.0f} bits a result",
                    f"{100 * plain.value:.0f}% exact",
                    f"{100 * found.value:.1f}% exact",
                    f"{100 * common:.1f}%: the commonest",
                ]
            )
    return Finding(numbers, rows)


def _solve_labels(x: np.ndarray, shown: np.ndarray) -> AffineMap:
    return extraction.solve_labels(x, shown.argmax(axis=1), shown.shape[1])


def _against(policy: str, count: int, right: Interval) -> str:
    return f"{policy} ({100 * right.value:.0f}% right), {count} queries"


def _scaled_error(guess: np.ndarray, truth: np.ndarray) -> float:
    """Relative error of the guess times the best factor."""
    factor = np.sum(guess * truth) / max(np.sum(guess**2), 1e-300)
    return relative_error(factor * guess, truth)


def _answers(service: Service, x: np.ndarray) -> np.ndarray:
    """[Q, k] decrypted answers; one-hot labels under the policy "label"."""
    if service.layer.policy.name == "label":
        side = LabelClient(service.client, service.layer)
        side.read_elements(service.provider.agree(side.agree()))
        step = shares.most_queries(service.layer)
        labels = [
            side.read(
                service.provider.label(
                    side.choose(service.provider.answer(side.encrypt(some)))
                )
            )
            for some in (x[i : i + step] for i in range(0, len(x), step))
        ]
        return np.eye(service.layer.plan.classes)[np.concatenate(labels)]
    return np.stack(
        [
            service.client.decrypt(
                service.provider.answer(service.client.encrypt(service.layer, row))
            )
            for row in x
        ]
    )
