"""The attacks on answers of a layer, each raw and under a profile.

Under "open", whose answers are rounded and not masked, they are measured beside, and
nothing is claimed.
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
    """Weights by dividing second parts.

    Args:
      setting: whom to attack.
      profile: of the protected provider.
      repeats: answers to one ciphertext that are averaged.
      rng: of the shuffles.
    """
    kernel, own = setting.classifier.kernel, serve(setting, profile)
    summary = {"division_queries": own.layer.plan.tiles}
    queries, seconds = _ask(own, setting.queries)
    raw = [raw_answers.raw_answer(own.provider, query).second for query in queries]
    division.divide(seconds, raw, own.layer)  # compiles
    began = time.perf_counter()
    guess = division.divide(seconds, raw, own.layer)
    summary["division_raw_seconds"] = time.perf_counter() - began
    exact = guess.integers == raw_answers.integer_kernel(kernel, own.layer)
    summary["division_raw_exact_share"] = float(exact.mean())
    error = relative_error(guess.kernel, kernel)
    summary["division_raw_relative_error"] = error
    control = _exact_cell(float(exact.mean()), len(queries), "query")

    def protected(one: Service, name: str, count: int):
        asked, seconds = _ask(one, setting.queries)
        answers = []
        for query in asked:
            again = [division.resend(query, one.layer) for _ in range(count)]
            words = [
                raw_answers.read_answer(one.provider.answer(other), one.layer).second
                for other in again
            ]
            mean = division.average_words(words)
            answers.append(division.scale_back(mean, one.layer.profile))
        guess = division.divide(seconds, answers, one.layer)
        found = chance.correlate(guess.integers, kernel, rng=rng)
        summary.update(correlation_numbers(found, f"division_{name}"))
        error = relative_error(guess.kernel, kernel)
        summary[f"division_{name}_relative_error"] = error
        return correlation_cells(found)

    rows = [
        [
            "weights by dividing c1",
            "one answer",
            control,
            *protected(own, "guarded", 1),
        ],
        [
            "",
            f"{repeats} answers to one ciphertext",
            control,
            *protected(own, "guarded_averaged", repeats),
        ],
        ["", _OPEN, control, *protected(serve(setting, "open"), "open", 1)],
    ]
    return Finding(summary, rows)


def measure_unused(
    setting: Setting, *, profile: str, repeats: int, rng: np.random.Generator
) -> Finding:
    """Weights from the coefficients that carry no result; arguments as above."""
    kernel, own = setting.classifier.kernel, serve(setting, profile)
    layer = own.layer
    tiles, raw, filled, unsent = range(layer.plan.tiles), [], [], []
    for tile in tiles:
        x = unused_coefficients.unit_query(layer, tile)
        query = own.client.encrypt(layer, x)
        answer = raw_answers.raw_answer(own.provider, query)
        raw.append(raw_answers.raw_phases(own.client, answer))
        phases = [
            unused_coefficients.filled_phases(
                own.client, layer, own.provider.answer(division.resend(query, layer))
            )
            for _ in range(repeats)
        ]
        unsent += [unused_coefficients.unsent_fractions(one, layer) for one in phases]
        filled.append(np.mean(phases, axis=0))
    exact = unused_coefficients.read_weights(raw, layer)
    truth = raw_answers.integer_kernel(kernel, layer)
    share = float(np.mean(exact.integers == truth))
    guess = unused_coefficients.read_weights(filled, layer)
    # What was asked is in the results: the first row of every tile.
    hidden = np.arange(len(kernel)) % layer.plan.tile != 0
    found = chance.correlate(guess.kernel[hidden], kernel[hidden], rng=rng)
    p_value = chance.uniformity(np.concatenate(unsent))
    summary = {
        "unused_raw_exact_share": share,
        "unused_queries": layer.plan.tiles,
        "unused_guarded_uniform_p_value": p_value,
        **correlation_numbers(found, "unused_guarded"),
    }
    cells = correlation_cells(found)
    cells[0] += f"; uniform: p = {p_value:.2f}"
    control = _exact_cell(share, layer.plan.tiles, "query")
    against = f"query of one coordinate, mean of {repeats} answers"
    return Finding(
        summary, [["weights from unused coefficients", against, control, *cells]]
    )


def measure_noise(
    setting: Setting, *, profile: str, rng: np.random.Generator
) -> Finding:
    """Weights from the noise of queries of zero; arguments as above."""
    kernel, bias = setting.classifier.kernel, setting.classifier.bias
    zero, summary = np.zeros(len(kernel)), {}

    def queries_of_zero(one: Service, *, raw: bool):
        layer = one.layer
        count = int(1.5 * layer.plan.tiles * layer.plan.tile) + 8
        errors, whole, sent = [], [], []
        for _ in range(count):
            query = one.client.encrypt(layer, zero)
            errors.append(raw_answers.query_errors(one.client, layer, query, zero))
            if raw:
                answer = raw_answers.raw_answer(one.provider, query)
                phases = raw_answers.raw_phases(one.client, answer)[None]
                whole.append(query_noise.zero_results(phases, layer.plan))
            sent.append(one.client.decrypt(one.provider.answer(query)) - bias)
        noise = np.ldexp(np.stack(sent), layer.result_bits)
        return np.stack(errors), np.concatenate(whole) if raw else None, noise

    def protected(one: Service, name: str, errors: np.ndarray, noise: np.ndarray):
        weights = query_noise.solve_weights(errors, noise, one.layer)
        found = chance.correlate(weights, kernel, rng=rng)
        summary.update(correlation_numbers(found, f"noise_{name}"))
        bits = one.layer.result_bits - one.layer.query_bits
        error = relative_error(np.ldexp(weights, -bits), kernel)
        summary[f"noise_{name}_relative_error"] = error
        return correlation_cells(found)

    own = serve(setting, profile)
    errors, whole, noise = queries_of_zero(own, raw=True)
    weights = query_noise.solve_weights(errors, whole, own.layer)
    exact = np.rint(weights) == raw_answers.integer_kernel(kernel, own.layer)
    summary["noise_raw_exact_share"] = float(exact.mean())
    summary["noise_queries"] = len(errors)
    control = _exact_cell(float(exact.mean()), len(errors), "queries")
    cells = protected(own, "guarded", errors, noise)
    other = serve(setting, "open")
    errors, _, noise = queries_of_zero(other, raw=False)
    rows = [
        ["weights from noise", "queries of zero", control, *cells],
        ["", _OPEN, control, *protected(other, "open", errors, noise)],
    ]
    return Finding(summary, rows)


def _ask(one: Service, x: np.ndarray) -> tuple[list[bytes], list[np.ndarray]]:
    """As many honest queries as there are tiles, and their second parts."""
    queries = [one.client.encrypt(one.layer, row) for row in x[: one.layer.plan.tiles]]
    return queries, [raw_answers.read_query(q, one.layer).second for q in queries]


def _exact_cell(share: float, count: int, noun: str) -> str:
    return f"{100 * share:.4g}% of weights exact, {count} {noun}"
