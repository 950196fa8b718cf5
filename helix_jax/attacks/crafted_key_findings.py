"""How much of a mask's secret a crafted key reads if keys need no proof, by shape."""

from typing import NamedTuple

import numpy as np

from helix_jax.alignment import AffineMap
from helix_jax.attacks import crafted_fit_key, crafted_key, raw_answers
from helix_jax.attacks.row_division import raw_covariance
from helix_jax.attacks.setting import Finding, Service, Setting, serve
from helix_jax.errors import ProtocolError
from helix_jax.private import Client, FitProvider, Provider
from helix_jax.private.fit_bits import fewest_rows
from helix_jax.private.fit_plan import plan_fit
from helix_jax.private.internals import admit_unproved
from helix_jax.private.policies import SHARE
from helix_jax.private.profiles import find_profile

SHAPES = (
    (8, 512),
    (16, 256),
    (64, 64),
    (256, 16),
)  # width, classes of synthetic layers
FITS = ((256, 12), (768, 12))  # width, bits per result of synthetic fits


class MaskFinding(NamedTuple):
    """The effect of a crafted key on one provider.

    Attributes:
      refused: whether the provider refuses the key.
      known: share of the mask's secret that is read if the key is admitted unproved.
      error: largest error of the unmasked second parts, as a fraction of q; None if a
        part of the secret is not known.
    """

    refused: bool
    known: float
    error: float | None


def measure_crafted_key(setting: Setting, *, profile: str) -> Finding:
    """Register a crafted key, and read the mask's secret from one answer.

    Args:
      setting: what to attack first; layers of `SHAPES` with Gaussian weights and fits
        of `FITS` to Gaussian rows follow.
      profile: of the provider.

    Returns:
      Finding, empty if the profile has no masks: what a key reads that is admitted
      unproved, and whether the provider refuses it. If the whole secret is read, the
      mask is removed and the summary has the largest error of the second parts, as a
      fraction of q: about 2^-40 is rounding.
    """
    if not find_profile(profile).guarded:
        return Finding({}, [])
    settings = {"own": setting} | {
        f"{width}x{classes}": made_setting(width, classes) for width, classes in SHAPES
    }
    summary: dict[str, float] = {}
    rows: list[list[str]] = []

    def report(name: str, against: str, found: MaskFinding) -> None:
        summary[f"crafted_key_{name}_refused"] = float(found.refused)
        summary[f"crafted_key_{name}_known_share"] = found.known
        cell = f"{100 * found.known:.3g}% of the mask's secret read"
        if found.error is not None:
            summary[f"crafted_key_{name}_unmasked_error"] = found.error
            cell += f"; c1 without it to {found.error:.1g} of q"
        attack = "" if rows else "crafted public key"
        outcome = "refused" if found.refused else "admitted"
        rows.append([attack, against, cell, outcome, "0%"])

    for name, attacked in settings.items():
        width, classes = attacked.classifier.kernel.shape
        made = "" if name == "own" else "synthetic layer, "
        found = attack_layer(serve(attacked, profile), width)
        report(name, f"{made}width {width}, {classes} classes", found)
    for width, precision in FITS:
        found = attack_fit(made_fit(width, profile, precision), width)
        against = f"synthetic fit, width {width}, {precision} bits a result"
        report(f"fit_{width}", against, found)
    return Finding(summary, rows)


def made_setting(width: int, classes: int) -> Setting:
    """A Gaussian classifier, and queries of norm 8."""
    rng = np.random.default_rng(width + classes)
    kernel = rng.standard_normal((width, classes))
    classifier = AffineMap(kernel, rng.standard_normal(classes))
    queries = np.full((1, width), 8 / np.sqrt(width))
    return Setting(classifier, queries, queries, queries, queries, 0.0)


def attack_layer(service: Service, width: int) -> MaskFinding:
    """Attack the guarded provider of a layer of this width, which knows one client."""
    client, provider, layer = service
    bias = client.decrypt(provider.answer(client.encrypt(layer, np.zeros(width))))
    key = crafted_key.craft_key(layer)
    refused = is_refused(provider, key, client)
    admit_unproved(provider, key.public)
    query = crafted_key.empty_query(layer, key)
    answer = provider.answer(query)
    secret = crafted_key.read_secret(answer, layer, key, bias)
    second = raw_answers.read_answer(answer, layer).second
    raw = raw_answers.raw_answer(provider, query).second
    return _finding(refused, second, raw, key, secret)


def made_fit(width: int, profile: str, precision: int) -> FitProvider:
    """A fit to two Gaussian columns, of as few rows as the default share admits."""
    rows = fewest_rows(width, precision=precision, share=SHARE)
    y = np.random.default_rng(width).standard_normal((rows, 2))
    return FitProvider(y, profile=profile, precision=precision)


def attack_fit(provider: FitProvider, width: int) -> MaskFinding:
    """Attack a guarded fit, with source rows of this width."""
    plan = plan_fit(provider.offer.rows, width, provider.offer.profile)
    key = crafted_fit_key.craft_fit_key(provider.offer, plan)
    refused = is_refused(provider, key, Client(provider.offer.profile.name))
    admit_unproved(provider, key.public)
    for message in crafted_fit_key.empty_rows(provider.offer, plan, key):
        provider.absorb(message)
    words = crafted_fit_key.read_results(list(provider.results()), provider.offer, plan)
    secret = crafted_fit_key.read_fit_secret(words, plan, key)
    raw = raw_covariance(provider)
    raw = raw.reshape(-1, *raw.shape[-2:])
    return _finding(refused, words.second, raw, key, secret)


def is_refused(
    provider: Provider | FitProvider, key: crafted_key.CraftedKey, client: Client
) -> bool:
    """Whether the provider refuses the key with every proof that its owner may try."""
    for bundle in crafted_key.bundles(key, client):
        try:
            provider.register(bundle)
        except ProtocolError:
            continue
        return False
    return True


def _finding(
    refused: bool,
    second: np.ndarray,
    raw: np.ndarray,
    key: crafted_key.CraftedKey,
    secret: crafted_key.MaskSecret,
) -> MaskFinding:
    """What was read; arguments as for `crafted_key.unmasked_error`."""
    if not secret.known.all():
        return MaskFinding(refused, float(secret.known.mean()), None)
    error = crafted_key.unmasked_error(second, raw, key, secret)
    return MaskFinding(refused, 1.0, error)
