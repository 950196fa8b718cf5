"""How much of a mask's secret a crafted key reads, by the shape of the layer."""

import numpy as np

from helix_jax.alignment import AffineMap
from helix_jax.attacks import crafted_key, raw_answers
from helix_jax.attacks.setting import Finding, Service, Setting, serve
from helix_jax.private.profiles import find_profile

SHAPES = ((8, 512), (16, 256), (64, 64), (256, 16))  # width, classes of made-up layers


def measure_crafted_key(setting: Setting, *, profile: str) -> Finding:
    """Register a key that is none, and read the mask's secret from one answer.

    Args:
      setting: whom to attack; layers of `SHAPES` with Gaussian weights come after.
      profile: of the provider.

    Returns:
      Finding, empty where the profile has no masks. Where all of the secret is read the
      mask is taken off, and the largest error of what is left, as a fraction of q, has
      its place in the summary: about 2^-40 is rounding.
    """
    if not find_profile(profile).guarded:
        return Finding({}, [])
    settings = {"own": setting} | {
        f"{width}x{classes}": made_setting(width, classes) for width, classes in SHAPES
    }
    summary, rows = {}, []
    for name, attacked in settings.items():
        width, classes = attacked.classifier.kernel.shape
        known, error = read_mask(serve(attacked, profile), attacked.classifier)
        summary[f"crafted_key_{name}_known_share"] = known
        cell = f"{100 * known:.3g}% of the mask's secret read"
        if error is not None:
            summary[f"crafted_key_{name}_unmasked_error"] = error
            cell += f"; c1 without it to {error:.1g} of q"
        made = "" if name == "own" else "made-up layer, "
        against = f"{made}width {width}, {classes} classes"
        rows.append(["" if rows else "crafted public key", against, None, cell, "0%"])
    return Finding(summary, rows)


def made_setting(width: int, classes: int) -> Setting:
    """A Gaussian classifier, and queries of norm 8 at most."""
    rng = np.random.default_rng(width + classes)
    kernel = rng.standard_normal((width, classes))
    classifier = AffineMap(kernel, rng.standard_normal(classes))
    queries = np.full((1, width), 8 / np.sqrt(width))
    return Setting(classifier, queries, queries, queries, queries, 0.0)


def read_mask(service: Service, classifier: AffineMap) -> tuple[float, float | None]:
    """The share of a mask's secret that is read, and the error of what is unmasked.

    Args:
      service: a guarded provider and a client that it knows.
      classifier: the provider's, for its width.

    Returns:
      (share in [0, 1], largest error as a fraction of q; None where a part of the
      secret is not known).
    """
    client, provider, layer = service
    zero = np.zeros(len(classifier.kernel))
    bias = client.decrypt(provider.answer(client.encrypt(layer, zero)))
    key = crafted_key.craft_key(layer)
    provider.register(key.bundle)
    query = crafted_key.empty_query(layer, key)
    answer = provider.answer(query)
    secret = crafted_key.read_secret(answer, layer, key, bias)
    if not secret.known.all():
        return float(secret.known.mean()), None
    profile = layer.profile
    second = raw_answers.raw_answer(provider, query).second
    raw = np.asarray(raw_answers.inverse_transform(second, profile=profile))
    raw = raw_answers.lift(raw, profile) / profile.modulus
    left = crafted_key.unmask(answer, layer, key, secret)
    gap = (left - raw.astype(np.float64) + 0.5) % 1 - 0.5
    return 1.0, float(np.abs(gap).max())
