"""Maps between the token states of two models: what experiments share.

ridge is the paper's. kl goes on from ridge and minimises the divergence of the target's
next-token distribution, read through its frozen head; mlp does the same with a small
network added to ridge.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.maps import choose_map
from experiments.shared.token_sides import (
    METHODS,
    TokenMapOptions,
    TokenSides,
    sample_texts,
    token_pairs,
)
from helix_jax.alignment import (
    AffineMap,
    Descent,
    GradientFit,
    Moments,
    Selection,
    StateMap,
    accumulate_with_shuffled,
    fit_gradient,
    fit_ridge,
    kl_loss,
    mean_map,
    random_orthogonal_map,
    residual_affine,
    residual_mlp,
    ridge_at,
    save_map,
    to_affine,
)
from helix_jax.errors import RunError
from helix_jax.generation import Stitch, stitch
from helix_jax.generation.heads import head_of
from helix_jax.generation.metrics import native_sums, teacher_forced
from helix_jax.generation.scores import generation_scores
from helix_jax.generation.stitch import Part
from helix_jax.models import Model, ModelSpec, resolve_layers
from helix_jax.progress import Progress, stage
from helix_jax.runs.prepare import must_be_among
from helix_jax.text.corpus import Corpus
from helix_jax.training.snapshot import load_snapshot, save_snapshot


class TokenMap(NamedTuple):
    """A fitted map.

    Attributes:
      map: as asked for.
      ridge: the ridge map and its penalty, from which the others start.
      controls: maps that know nothing of the pairing, by name.
      moments: of the fit pairs.
      numbers: of the fit, for a summary.
    """

    map: StateMap
    ridge: Selection
    controls: dict[str, AffineMap]
    moments: Moments
    numbers: dict[str, float]


def check_cuts(options: TokenMapOptions, target: ModelSpec) -> None:
    """Refuse a map that the target's blocks or its head could not go on from.

    Args:
      options: flags; a --map that is no method is one that was fitted before.
      target: architecture of the target.

    Raises:
      RunError: kl or mlp before the last layer, or a final norm in the middle.
    """
    (layer,) = resolve_layers(target, (options.target_layer,))
    if options.map in ("kl", "mlp") and layer < target.num_layers:
        raise RunError(
            f"--map={options.map} reads the target's head, so it must give the states "
            f"of its last layer: --target_layer={options.target_layer} is none."
        )
    if options.map in METHODS and options.target_norm and layer < target.num_layers:
        raise RunError(
            f"--target_layer={options.target_layer} is before the target's last block, "
            "which reads the raw stream: add --notarget_norm."
        )


def fit_token_map(
    sides: TokenSides,
    corpus: Corpus,
    options: TokenMapOptions,
    *,
    method: str | None = None,
    snapshots: Path | None = None,
) -> TokenMap:
    """A map between the cuts of the flags.

    Args:
      sides: from `load_token_sides`.
      corpus: its fit and select splits are used.
      options: flags.
      method: "ridge", "kl" or "mlp"; None takes --map.
      snapshots: folder in which a gradient fit that is killed can go on.

    Returns:
      TokenMap.

    Raises:
      RunError: an unknown method, kl or mlp before the target's last layer, or a
        system that cannot be solved.
    """
    method = method or options.map
    if method not in METHODS:
        raise RunError(f"--map{must_be_among(method, METHODS)}")
    check_cuts(dataclasses.replace(options, map=method), sides.target.spec)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    rows, moments, deranged = {}, {}, {}
    for split, limit in (("fit", options.pairs), ("select", options.select_pairs)):
        with Progress(f"token states, {split} split", unit="texts read") as shown:
            pairs = token_pairs(sides, corpus, split, options, limit, shown)
            if method == "ridge":  # needs no row twice: any number of them
                blocks = _first(pairs.rows(), limit)
            else:
                rows[split] = pairs.read(limit)
                blocks = _blocks(*rows[split])
            moments[split], deranged[split] = accumulate_with_shuffled(
                blocks, key=keys[0]
            )
    chosen = choose_map(moments)
    with stage("fitting the controls"):
        path = fit_ridge(deranged["fit"], penalties=float(chosen.fit.penalty))
        controls = {
            "mean": mean_map(moments["fit"]),
            "shuffled": ridge_at(path, 0).map,
            "random": random_orthogonal_map(moments["fit"], key=keys[1]),
        }
    numbers = {
        "fit/pairs": int(moments["fit"].count),
        "fit/penalty": float(chosen.fit.penalty),
        "fit/condition": float(chosen.fit.condition),
        "fit/select_r2": float(np.asarray(chosen.r2)[int(chosen.index)]),
    }
    fitted = chosen.fit.map
    if method != "ridge":
        spec = sides.target.spec
        last = Part(sides.target.params, spec, spec.num_layers, options.target_norm)
        head = head_of(last)
        start = (
            residual_affine(fitted)
            if method == "kl"
            else residual_mlp(keys[2], moments["fit"], fitted, hidden=options.hidden)
        )
        found = _descend(start, rows, kl_loss(head), keys[3], options, snapshots)
        fitted = to_affine(found.map) if method == "kl" else found.map
        numbers |= {
            "fit/select_kl_nats": float(found.loss),
            "fit/epochs": int(found.epoch),
        }
    return TokenMap(fitted, chosen, controls, moments["fit"], numbers)


def _blocks(x: np.ndarray, y: np.ndarray, rows: int = 8192):
    return ((x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows))


def _first(blocks, limit: int):
    """The first `limit` rows of a stream."""
    for x, y in blocks:
        yield x[:limit], y[:limit]
        limit -= len(x)
        if limit <= 0:
            return


def _descend(start, rows, loss, key, options, snapshots) -> GradientFit:
    settings = Descent(
        learning_rate=options.learning_rate, batch=options.batch, epochs=options.epochs
    )
    path = None if snapshots is None else snapshots / "fit.safetensors"
    resume = None
    if path is not None and path.exists():
        empty = dataclasses.replace(settings, epochs=0)
        like = fit_gradient(
            start, rows["fit"], rows["select"], loss=loss, key=key, settings=empty
        )
        resume = load_snapshot(path, like)

    def on_epoch(now: GradientFit, numbers: dict[str, float]) -> None:
        print(
            f"epoch {int(now.epoch)}: KL {numbers['fit_loss']:.4f} nats on fit pairs, "
            f"{numbers['select_loss']:.4f} on select pairs",
            flush=True,
        )
        if path is not None:
            save_snapshot(path, now)

    with Progress(f"training the map ({options.map})", unit="steps") as shown:
        return fit_gradient(
            start,
            rows["fit"],
            rows["select"],
            loss=loss,
            key=key,
            settings=settings,
            resume=resume,
            on_epoch=on_epoch,
            on_step=shown.at,
        )


def score_token_map(
    sides: TokenSides,
    fitted: TokenMap,
    corpus: Corpus,
    options: TokenMapOptions,
    *,
    resamples: int = 2000,
) -> dict[str, float]:
    """Teacher-forced measures on the test split, as in `generation.scores`.

    The ridge map is an arm of its own where another map was fitted.
    """
    parts = stitch_of(sides, fitted, options)
    texts = sample_texts(
        corpus, "test", options.test_pairs, max_tokens=options.max_tokens
    )
    arms = dict(fitted.controls)
    if fitted.map is not fitted.ridge.fit.map:
        arms = {"ridge": fitted.ridge.fit.map, **arms}
    with Progress("scoring the maps", unit="texts read") as shown:
        scored = teacher_forced(
            parts,
            sides.target,
            sides.source_tokenizer,
            sides.target_tokenizer,
            lambda: shown.over(texts),
            controls=arms,
            key=jax.random.key(options.seed),
            max_tokens=options.max_tokens,
        )
    with Progress("scoring the source alone", unit="texts read") as shown:
        own = native_sums(
            sides.source,
            sides.source_tokenizer,
            lambda: shown.over(texts),
            max_tokens=options.max_tokens,
        )
    with stage("intervals over documents"):
        found = generation_scores(scored, own, resamples=resamples)
    if "ridge" in arms:
        native, ridge, mapped = (
            found[f"generation/perplexity_{name}"]
            for name in ("native_target", "mapped_ridge", "mapped")
        )
        found["generation/gap_closed"] = (ridge - mapped) / (ridge - native)
        found["generation/log_gap_closed"] = np.log(ridge / mapped) / np.log(
            ridge / native
        )
    return found


def stitch_of(sides: TokenSides, fitted: TokenMap, options: TokenMapOptions) -> Stitch:
    """The stitch at the cuts of the flags."""
    return stitch(
        sides.source,
        sides.target,
        fitted.map,
        source_layer=options.source_layer,
        target_layer=options.target_layer,
        source_norm=options.source_norm,
        target_norm=options.target_norm,
    )


def save_token_map(
    folder: Path,
    fitted: TokenMap,
    sides: TokenSides,
    corpus: Corpus,
    options: TokenMapOptions,
) -> None:
    """Write the map with what it was made of."""

    def record(model: Model, layer: int, normed: bool) -> dict[str, Any]:
        layers = list(resolve_layers(model.spec, (layer,)))
        return {
            **model.fingerprint,
            "layers": layers,
            "final_norm": normed,
            "pooling": "token",
            "max_tokens": options.max_tokens,
            "text": {**corpus.fingerprint, "split": "fit"},
        }

    save_map(
        folder,
        fitted.map,
        source=record(sides.source, options.source_layer, options.source_norm),
        target=record(sides.target, options.target_layer, options.target_norm),
        penalty=float(fitted.ridge.fit.penalty),
        split="fit",
    )
