"""Maps between the token states of two models: what experiments share.

ridge is the paper's. kl goes on from ridge and minimises the divergence of the target's
next-token distribution, read through its frozen head; mlp does the same with a small
network added to ridge.
"""

import dataclasses
import heapq
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.fit import choose_map
from experiments.states import TextOptions
from helix_jax.activations.token_pairs import TokenPairs
from helix_jax.activations.token_states import layer_side
from helix_jax.alignment import (
    AffineMap,
    Descent,
    GradientFit,
    Moments,
    Selection,
    StateMap,
    accumulate,
    derangement,
    fit_gradient,
    fit_ridge,
    kl_loss,
    mean_map,
    random_orthogonal_map,
    residual_affine,
    residual_mlp,
    ridge_at,
    to_affine,
)
from helix_jax.errors import RunError
from helix_jax.generation.heads import head_of
from helix_jax.generation.stitch import Part
from helix_jax.models import Model, load_model, load_tokenizer, resolve_layers
from helix_jax.runs import option
from helix_jax.text.corpus import Corpus
from helix_jax.text.hashing import unit_hash
from helix_jax.training.snapshot import load_snapshot, save_snapshot
from helix_jax.types import Text

METHODS = ("ridge", "kl", "mlp")


@dataclasses.dataclass(frozen=True)
class TokenMapOptions(TextOptions):
    """Flags of a map between token states."""

    source: str = option("", "model folder or hub id")
    target: str = option("", "model folder or hub id")
    source_layer: int = option(-1, "0 is the embedding, -1 the last")
    target_layer: int = option(-1, "0 is the embedding, -1 the last")
    source_norm: bool = option(True, "take states after the source's final norm")
    target_norm: bool = option(True, "give states after the target's final norm")
    dtype: str = option("float32", "of the weights: float32, bfloat16 or float16")
    max_tokens: int = option(256, "longer texts lose their end")
    map: str = option("ridge", "ridge, kl or mlp")
    pairs: int = option(1_000_000, "token pairs to fit on")
    select_pairs: int = option(50_000, "token pairs to choose on")
    test_pairs: int = option(100_000, "token pairs to score on")
    loop: str = option("target", "which side's tokens are looped over: target, source")
    hidden: int = option(1024, "width of the network of --map=mlp")
    epochs: int = option(3, "of kl and mlp, at most")
    learning_rate: float = option(4e-3, "of kl and mlp, at its peak")
    batch: int = option(512, "token pairs a step of kl and mlp")
    seed: int = option(0, "of the fit and of the controls")


class TokenSides(NamedTuple):
    """Both models with their tokenizers."""

    source: Model
    source_tokenizer: Any
    target: Model
    target_tokenizer: Any


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


def load_token_sides(options: TokenMapOptions) -> TokenSides:
    """Both models of the flags."""
    return TokenSides(
        *(
            part
            for name in (options.source, options.target)
            for part in (load_model(name, dtype=options.dtype), load_tokenizer(name))
        )
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
        raise RunError(f"--map must be one of {', '.join(METHODS)}, got {method!r}.")
    spec = sides.target.spec
    (layer,) = resolve_layers(spec, (options.target_layer,))
    if method != "ridge" and layer < spec.num_layers:
        raise RunError(
            f"--map={method} reads the target's head, so it must give the states of "
            f"its last layer: --target_layer={options.target_layer} is none."
        )
    key = jax.random.key(options.seed)
    rows = {
        split: token_pairs(sides, corpus, split, options, limit).read(limit)
        for split, limit in (("fit", options.pairs), ("select", options.select_pairs))
    }
    moments = {split: accumulate(_blocks(*own)) for split, own in rows.items()}
    chosen = choose_map(moments)
    controls = _controls(*rows["fit"], moments["fit"], chosen, key)
    numbers = {
        "fit/pairs": len(rows["fit"][0]),
        "fit/penalty": float(chosen.fit.penalty),
        "fit/condition": float(chosen.fit.condition),
        "fit/select_r2": float(np.asarray(chosen.r2)[int(chosen.index)]),
    }
    fitted = chosen.fit.map
    if method != "ridge":
        head = head_of(Part(sides.target.params, spec, layer, options.target_norm))
        start = (
            residual_affine(fitted)
            if method == "kl"
            else residual_mlp(key, moments["fit"], fitted, hidden=options.hidden)
        )
        found = _descend(start, rows, kl_loss(head), key, options, snapshots)
        fitted = to_affine(found.map) if method == "kl" else found.map
        numbers |= {
            "fit/select_kl_nats": float(found.loss),
            "fit/epochs": int(found.epoch),
        }
    return TokenMap(fitted, chosen, controls, moments["fit"], numbers)


def token_pairs(
    sides: TokenSides, corpus: Corpus, split: str, options: TokenMapOptions, limit: int
) -> TokenPairs:
    """The pairs of a split, of texts chosen by hash, somewhat more than `limit`."""
    texts = sample_texts(corpus, split, limit, max_tokens=options.max_tokens)
    return TokenPairs(
        layer_side(sides.source, sides.source_tokenizer,
                   layers=(options.source_layer,), normed=options.source_norm),
        layer_side(sides.target, sides.target_tokenizer,
                   layers=(options.target_layer,), normed=options.target_norm),
        lambda: iter(texts), max_tokens=options.max_tokens, loop=options.loop,
    )  # fmt: skip


def sample_texts(
    corpus: Corpus, split: str, tokens: int, *, max_tokens: int
) -> list[Text]:
    """Texts of a split with about this many tokens or more, chosen and ordered by hash.

    Six characters are reckoned for a token, of those that are not cut off.
    """
    heap: list[tuple[float, str, Text]] = []
    held, wanted = 0, 6 * tokens

    def size(text: Text) -> int:
        return min(len(text.text), 6 * max_tokens)

    for text in corpus.read(split):
        heapq.heappush(heap, (-unit_hash(text.id, salt="tokens"), text.id, text))
        held += size(text)
        while held - size(heap[0][2]) >= wanted:
            held -= size(heapq.heappop(heap)[2])
    return [text for _, _, text in sorted(heap, reverse=True)]


def _blocks(x: np.ndarray, y: np.ndarray, rows: int = 8192):
    return ((x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows))


def _controls(x, y, moments, chosen, key) -> dict[str, AffineMap]:
    """Maps that know nothing of the pairing, by the suffix of their measures."""
    rotation, shuffle = jax.random.split(key)
    order = np.asarray(derangement(shuffle, len(x)))
    deranged = accumulate(
        (x_block, y[order[start : start + len(x_block)]])
        for start, (x_block, _) in zip(range(0, len(x), 8192), _blocks(x, y))
    )
    path = fit_ridge(deranged, penalties=float(chosen.fit.penalty))
    return {
        "mean": mean_map(moments),
        "shuffled": ridge_at(path, 0).map,
        "random": random_orthogonal_map(moments, key=rotation),
    }


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
        told = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
        print(f"epoch {int(now.epoch)}: {told}", flush=True)
        if path is not None:
            save_snapshot(path, now)

    return fit_gradient(
        start, rows["fit"], rows["select"], loss=loss, key=key, settings=settings,
        resume=resume, on_epoch=on_epoch,
    )  # fmt: skip
