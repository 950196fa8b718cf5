"""What a client learns about logits under the policy "label"."""

import numpy as np

from helix_jax.attacks import chance, chosen_shares
from helix_jax.attacks.setting import (
    Finding,
    Setting,
    correlation_cells,
    correlation_numbers,
    serve,
)
from helix_jax.private.labels import shares
from helix_jax.stats import relative_error

BISECTIONS = (1, 8, 16)
_ROWS = 8


def measure_labels(
    setting: Setting, *, profile: str, rng: np.random.Generator
) -> Finding:
    """Look for logits in what is decrypted, and for differences by chosen shares.

    Args:
      setting: what to attack.
      profile: of the protected provider.
      rng: for the shuffles.
    """
    true, service = setting.classifier, serve(setting, profile, policy="label")
    side = chosen_shares.MovedShares(service.client, service.layer)
    side.read_elements(service.provider.agree(side.agree()))
    x = setting.queries[: shares.most_queries(service.layer)]
    logits = x @ true.kernel + true.bias
    answer = service.provider.answer(side.encrypt(x))
    phases = service.client.open_answer(answer, labels=True).phases
    found = chance.correlate(phases, logits, rng=rng)
    numbers = correlation_numbers(found, "labels_decrypted")
    numbers["labels_uniform_p_value"] = chance.uniformity(
        phases / service.layer.profile.modulus
    )
    cells = correlation_cells(found)
    cells[0] += f"; uniform: p = {numbers['labels_uniform_p_value']:.2f}"
    rows = [["logits under label", "what is decrypted", "known", *cells]]
    # The largest logit minus the second largest, for a few rows.
    pairs = np.argsort(-logits[:_ROWS], axis=1)[:, :2]
    truth = -np.diff(np.take_along_axis(logits[:_ROWS], pairs, axis=1))[:, 0]
    guesses = chosen_shares.bisect(
        side, service.provider, x[:_ROWS], pairs, queries=max(BISECTIONS)
    )
    for count in BISECTIONS:
        error = relative_error(guesses[count - 1], truth)
        numbers[f"labels_bisected_{count}_relative_error"] = error
        times = f"{count} {'query' if count == 1 else 'queries'}"
        against = f"a difference of two, {times} of chosen shares"
        rows.append(["", against, "known", f"error {error:.2g}", "error 1"])
    return Finding(numbers, rows)
