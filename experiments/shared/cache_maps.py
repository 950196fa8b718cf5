"""The maps of the program `caches`: moments of all layers, source layers, ridge.

They are written to the work directory as soon as they are fitted, so that a run that is
killed after that reads no text again.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.shared.cache_blocks import arm_of
from experiments.shared.cache_options import CacheOptions
from experiments.shared.kept_arrays import kept
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.caches import (
    CacheForm,
    CacheMap,
    CacheMoments,
    FittedCacheMap,
    LayerChoice,
    LayerMaps,
    cache_form,
    cache_side,
    choose_layers,
    fit_cache_map,
    fit_cache_residual,
    read_cache_moments,
)
from helix_jax.caches.fit import PARTS
from helix_jax.caches.prompt_confidence import layer_directions
from helix_jax.generation.token_sides import TokenSides, sample_texts
from helix_jax.map_confidence import Confidence
from helix_jax.progress import Progress
from helix_jax.runs import Run
from helix_jax.text.corpus import Corpus


class CacheFits(NamedTuple):
    """What the fit and select splits give.

    Attributes:
      pairs: token pairs of the fit split.
      means: [2 L', K' D_head'] of the target's states on the fit split.
      choice: "keys", "values" -> source layers.
      fitted: arm -> fitted map.
      directions: "keys", "values" -> those of each layer of the kept map, see
        `layer_directions`.
    """

    pairs: int
    means: np.ndarray
    choice: dict[str, LayerChoice]
    fitted: dict[str, FittedCacheMap]
    directions: dict[str, list[Confidence]]


def fit_caches(
    config: CacheOptions, run: Run, sides: TokenSides, corpus: Corpus
) -> CacheFits:
    """Each arm's map, from one pass over each split or from the work directory."""

    def make():
        moments = read_moments(sides, corpus, config)
        choice = choose_layers(moments, count=max(config.layers) or 1)
        fit = moments["fit"]
        fitted = fit_maps(moments, choice, config)
        found = layer_directions(fit, fitted[arm_of(config.keep)].map)
        pairs = int(fit.keys.joint.count)
        return _flat(CacheFits(pairs, fit.means, choice, fitted, found))

    arrays = kept(run, "maps", make)
    return _fits(arrays, *(cache_form(model.spec) for model in sides.models))


def read_moments(
    sides: TokenSides, corpus: Corpus, config: CacheOptions
) -> dict[str, CacheMoments]:
    """Moments of both caches on the fit and select splits."""
    both = [cache_side(*side) for side in zip(*sides)]
    found = {}
    for split, limit in (("fit", config.pairs), ("select", config.select_pairs)):
        texts = sample_texts(corpus, split, limit, max_tokens=config.max_tokens)
        with Progress(f"caches of the {split} split", unit="texts read") as shown:
            pairs = TokenPairs(
                *both,
                partial(shown.over, texts),
                max_tokens=config.max_tokens,
                block_rows=min(4096, limit),
                window_tokens=config.window_tokens,
            )
            found[split] = read_cache_moments(pairs, limit=limit, skip=config.opening)
    return found


def fit_maps(
    moments: Mapping[str, CacheMoments],
    choice: Mapping[str, LayerChoice],
    config: CacheOptions,
) -> dict[str, FittedCacheMap]:
    """Arm -> fitted map, for each number of source layers and for the ranks."""
    fitted = {}
    for count in config.layers:
        chosen = choice if count else None
        fitted[arm_of(count)] = fit_cache_map(moments, chosen, count=count)
    if config.rank:
        most = max(config.layers)
        fitted["mapped_rank"] = fit_cache_map(
            moments, choice, count=most, rank=config.rank
        )
    if config.residual_rank:
        fitted["residual"] = fit_cache_residual(moments, rank=config.residual_rank)
    return fitted


def _flat(fits: CacheFits) -> dict[str, np.ndarray]:
    arrays = {"pairs": np.array(fits.pairs), "means": fits.means}
    for part, chosen in fits.choice.items():
        arrays |= {f"{part}.layers": chosen.layers, f"{part}.alone": chosen.alone}
    for arm, one in fits.fitted.items():
        for part in PARTS:
            own = getattr(one.map, part)
            for name in ("layers", "kernel", "bias"):
                arrays[f"{arm}.{part}.{name}"] = np.asarray(getattr(own, name))
            arrays[f"{arm}.{part}.r2"] = np.asarray(one.r2[part])
            arrays[f"{arm}.{part}.penalties"] = np.asarray(one.penalties[part])
    for part, layers in fits.directions.items():
        for layer, own in enumerate(layers):
            named = own.arrays().items()
            arrays |= {f"directions.{part}.{layer}.{name}": v for name, v in named}
    return arrays


def _fits(
    arrays: Mapping[str, np.ndarray], source: CacheForm, target: CacheForm
) -> CacheFits:
    choice = {
        part: LayerChoice(arrays[f"{part}.layers"], arrays[f"{part}.alone"])
        for part in PARTS
    }
    fitted = {}
    arms = [name.split(".")[0] for name in arrays if name.endswith(".keys.kernel")]
    for arm in arms:
        own = {
            part: [arrays[f"{arm}.{part}.{n}"] for n in ("layers", "kernel", "bias")]
            for part in PARTS
        }
        r2, penalties = (
            {part: arrays[f"{arm}.{part}.{name}"] for part in PARTS}
            for name in ("r2", "penalties")
        )
        parts = [LayerMaps(*map(jnp.asarray, own[part])) for part in PARTS]
        fitted[arm] = FittedCacheMap(CacheMap(*parts, source, target), r2, penalties)
    directions = {
        part: [
            Confidence(
                **{
                    name: arrays[f"directions.{part}.{layer}.{name}"]
                    for name in Confidence._fields[:-1]
                },
                regressions={},
            )
            for layer in range(target.layers)
        ]
        for part in PARTS
    }
    pairs = int(arrays["pairs"])
    return CacheFits(pairs, arrays["means"], choice, fitted, directions)
