"""Attacks on the answers of a layer, on raw answers and under a profile.

They are also measured under "open", whose answers are rounded but not masked, for
comparison; no protection is claimed there.
"""

import time

import numpy as np

from helix_jax.attacks import (
    chance,
    division,
    query_noise,
    raw_answers,
    unused_coefficients,
)
from helix_jax.attacks.setting import (
    Finding,
    Service,
    Setting,
    correlation_cells,
    correlation_numbers,
    serve,
)
from helix_jax.stats import relative_error

_OPEN = "profile open: rounded, not masked"


def measure_division(
    setting: Setting, *, profile: str, repeats: int, rng: np.random.Generator
) -> Finding:
    """Recover weights by dividing second parts.

    Args:
      setting: what to attack.
      profile: of the protected provider.
      repeats: answers to one ciphertext to average.
      rng: for the shuffles.
    """
    kernel, service = setting.classifier.kernel, serve(setting, profile)
    summary: dict[str, float] = {"division_queries": service.layer.plan.tiles}
    queries, seconds = _ask(service, setting.queries)
    raw = [raw_answers.raw_answer(service.provider, query).second for query in queries]
    division.divide(seconds, raw, service.layer)  # compiles
    began = time.perf_counter()
    guess = division.divide(seconds, raw, service.layer)
    summary["division_raw_seconds"] = time.perf_counter() - began
    exact = guess.integers == raw_answers.integer_kernel(kernel, service.layer)
    summary["division_raw_exact_share"] = float(exact.mean())
    error = relative_error(guess.kernel, kernel)
    summary["division_raw_relative_error"] = error
    control = _exact_cell(float(exact.mean()), len(queries), "query")

    def protected(party: Service, name: str, count: int) -> list[str]:
        asked, seconds = _ask(party, setting.queries)
        answers = []
        for query in asked:
            again = [
                division.resend(query, party.client, party.layer) for _ in range(count)
            ]
            words = [
                raw_answers.read_answer(
                    party.provider.answer(other), party.layer
                ).second
                for other in again
            ]
            mean = division.average_words(words)
            answers.append(division.scale_back(mean, party.layer.profile))
        guess = division.divide(seconds, answers, party.layer)
        correlation = chance.correlate(guess.integers, kernel, rng=rng)
        summary.update(correlation_numbers(correlation, f"division_{name}"))
        error = relative_error(guess.kernel, kernel)
        summary[f"division_{name}_relative_error"] = error
        return correlation_cells(correlation)

    rows = [
        [
            "weights by dividing c1",
            "one answer",
            control,
            *protected(service, "guarded", 1),
        ],
        [
            "",
            f"{repeats} answers to one ciphertext",
            control,
            *protected(service, "guarded_averaged", repeats),
        ],
        ["", _OPEN, control, *protected(serve(setting, "open"), "open", 1)],
    ]
    return Finding(summary, rows)


def measure_unused(
    setting: Setting, *, profile: str, repeats: int, rng: np.random.Generator
) -> Finding:
    """Recover weights from coefficients without a result; arguments as above."""
    kernel, service = setting.classifier.kernel, serve(setting, profile)
    layer = service.layer
    tiles, raw, filled, unsent = range(layer.plan.tiles), [], [], []
    for tile in tiles:
        x = unused_coefficients.unit_query(layer, tile)
        query = service.client.encrypt(layer, x)
        answer = raw_answers.raw_answer(service.provider, query)
        raw.append(raw_answers.raw_phases(service.client, answer))
        phases = [
            unused_coefficients.filled_phases(
                service.client,
                layer,
                service.provider.answer(division.resend(query, service.client, layer)),
            )
            for _ in range(repeats)
        ]
        unsent += [
            unused_coefficients.unsent_fractions(phase, layer) for phase in phases
        ]
        filled.append(np.mean(phases, axis=0))
    exact = unused_coefficients.read_weights(raw, layer)
    truth = raw_answers.integer_kernel(kernel, layer)
    share = float(np.mean(exact.integers == truth))
    guess = unused_coefficients.read_weights(filled, layer)
    # Honest results already reveal the first row of every tile.
    hidden = np.arange(len(kernel)) % layer.plan.tile != 0
    correlation = chance.correlate(guess.kernel[hidden], kernel[hidden], rng=rng)
    p_value = chance.uniformity(np.concatenate(unsent))
    summary = {
        "unused_raw_exact_share": share,
        "unused_queries": layer.plan.tiles,
        "unused_guarded_uniform_p_value": p_value,
        **correlation_numbers(correlation, "unused_guarded"),
    }
    cells = correlation_cells(correlation)
    cells[0] += f"; uniform: p = {p_value:.2f}"
    control = _exact_cell(share, layer.plan.tiles, "query")
    against = f"query of one coordinate, mean of {repeats} answers"
    return Finding(
        summary, [["weights from unused coefficients", against, control, *cells]]
    )


def measure_noise(
    setting: Setting, *, profile: str, rng: np.random.Generator
) -> Finding:
    """Recover weights from the noise of queries of zeros; arguments as above."""
    kernel, bias = setting.classifier.kernel, setting.classifier.bias
    zero = np.zeros(len(kernel))
    summary: dict[str, float] = {}

    def queries_of_zero(
        party: Service, *, raw: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layer = party.layer
        count = int(1.5 * layer.plan.tiles * layer.plan.tile) + 8
        errors, whole, sent = [], [], []
        for _ in range(count):
            query = party.client.encrypt(layer, zero)
            errors.append(raw_answers.query_errors(party.client, layer, query, zero))
            if raw:
                answer = raw_answers.raw_answer(party.provider, query)
                phases = raw_answers.raw_phases(party.client, answer)[None]
                whole.append(query_noise.zero_results(phases, layer.plan))
            sent.append(party.client.decrypt(party.provider.answer(query)) - bias)
        noise = np.ldexp(np.stack(sent), layer.result_bits)
        exact = np.concatenate(whole) if raw else np.zeros(0)
        return np.stack(errors), exact, noise

    def protected(
        party: Service, name: str, errors: np.ndarray, noise: np.ndarray
    ) -> list[str]:
        weights = query_noise.solve_weights(errors, noise, party.layer)
        correlation = chance.correlate(weights, kernel, rng=rng)
        summary.update(correlation_numbers(correlation, f"noise_{name}"))
        bits = party.layer.result_bits - party.layer.query_bits
        error = relative_error(np.ldexp(weights, -bits), kernel)
        summary[f"noise_{name}_relative_error"] = error
        return correlation_cells(correlation)

    service = serve(setting, profile)
    errors, whole, noise = queries_of_zero(service, raw=True)
    weights = query_noise.solve_weights(errors, whole, service.layer)
    exact = np.rint(weights) == raw_answers.integer_kernel(kernel, service.layer)
    summary["noise_raw_exact_share"] = float(exact.mean())
    summary["noise_queries"] = len(errors)
    control = _exact_cell(float(exact.mean()), len(errors), "queries")
    cells = protected(service, "guarded", errors, noise)
    unmasked = serve(setting, "open")
    errors, _, noise = queries_of_zero(unmasked, raw=False)
    rows = [
        ["weights from noise", "queries of zero", control, *cells],
        ["", _OPEN, control, *protected(unmasked, "open", errors, noise)],
    ]
    return Finding(summary, rows)


def _ask(service: Service, x: np.ndarray) -> tuple[list[bytes], list[np.ndarray]]:
    """One honest query per tile, and the queries' second parts."""
    queries = [
        service.client.encrypt(service.layer, row)
        for row in x[: service.layer.plan.tiles]
    ]
    return queries, [raw_answers.read_query(q, service.layer).second for q in queries]


def _exact_cell(share: float, count: int, noun: str) -> str:
    return f"{100 * share:.4g}% of weights exact, {count} {noun}"
