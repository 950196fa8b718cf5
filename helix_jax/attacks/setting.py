"""The parties of the attacks, and the record of a finding."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap
from helix_jax.attacks.chance import Correlation
from helix_jax.private import Client, Layer, Provider
from helix_jax.progress import bar
from helix_jax.stats import Interval


class Setting(NamedTuple):
    """A provider's secrets, and a client's queries.

    Attributes:
      classifier: the provider's, kernel [d, k] and bias [k] float64.
      queries: [Q, d] float64, embeddings that the client asks about.
      held: [M, d] float64, embeddings of other texts.
      x, y: [N, d_x] and [N, d_y] float, paired states of a fit.
      penalty: relative, of the map's ridge.
    """

    classifier: AffineMap
    queries: np.ndarray
    held: np.ndarray
    x: np.ndarray
    y: np.ndarray
    penalty: float


def planted_setting(seed: int) -> Setting:
    """Gaussian states of width 24 and 20, a linear map with noise, Gaussian weights."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1600, 24))
    y = x @ rng.standard_normal((24, 20)) / 5 + 0.5 * rng.standard_normal((1600, 20))
    classifier = AffineMap(rng.standard_normal((20, 4)), rng.standard_normal(4))
    return Setting(classifier, y[:400], y[400:], x, y, 1e-4)


class Finding(NamedTuple):
    """The finding of an attack.

    Attributes:
      numbers: name -> number, or Interval.
      rows: of the table, with cells for HEADER; None where an attack was not run.
    """

    numbers: Mapping[str, float | Interval]
    rows: Sequence[Sequence[str | None]]


def measure_attacks(
    setting: Setting, attacks: Mapping[str, Callable[[Setting], Finding]]
) -> Finding:
    """Run every attack in order; their findings, and NAME_seconds of each.

    Args:
      setting: what to attack.
      attacks: name -> attack.
    """
    numbers: dict[str, float | Interval] = {}
    rows: list[list[str | None]] = []
    for name, attack in bar(attacks.items(), "attacks"):
        began = time.perf_counter()
        finding = attack(setting)
        numbers.update(finding.numbers)
        numbers[f"{name}_seconds"] = time.perf_counter() - began
        rows += map(list, finding.rows)
    for above, row in itertools.pairwise(rows):  # each row is complete in itself
        row[0] = row[0] or above[0]
    return Finding(numbers, rows)


HEADER = ("attack", "against", "unprotected", "guarded", "chance")


class Service(NamedTuple):
    """A provider of the classifier, and a registered client."""

    client: Client
    provider: Provider
    layer: Layer


def serve(setting: Setting, profile: str, *, policy: str = "logits") -> Service:
    """Start both sides of a setting's classifier."""
    norm = float(np.linalg.norm(setting.queries, axis=1).max())
    provider = Provider(
        setting.classifier.kernel,
        setting.classifier.bias,
        input_norm=norm,
        profile=profile,
        policy=policy,
    )
    client = Client(profile)
    provider.register(client.public_bundle())
    return Service(client, provider, client.read_layer(provider.layer.to_bytes()))


def correlation_numbers(found: Correlation, start: str) -> dict[str, float]:
    """A correlation as numbers of a summary."""
    return {
        f"{start}_correlation": found.value,
        f"{start}_chance_low": found.low,
        f"{start}_chance_high": found.high,
        f"{start}_p_value": found.p_value,
    }


def correlation_cells(found: Correlation) -> list[str]:
    """A correlation and its chance interval as cells of a table."""
    chance = f"{found.low:+.3f} to {found.high:+.3f}"
    sign = "<" if found.p_value < 0.001 else "="
    value = f"correlation {found.value:+.3f} (p {sign} {max(found.p_value, 0.001):.2g})"
    return [value, chance]
