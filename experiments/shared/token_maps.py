"""Maps between the token states of two models, fitted and scored as the flags say.

What ridge, kl and mlp are stands in `helix_jax.generation.token_map`.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments.shared.token_sides import (
    TokenMapOptions,
    TokenSides,
    sample_texts,
    token_pairs,
)
from helix_jax.alignment import Descent, GradientFit, StateMap, fit_gradient, load_map
from helix_jax.artefacts import holds_artefact
from helix_jax.errors import RunError
from helix_jax.generation import stitch
from helix_jax.generation.heads import head_of
from helix_jax.generation.metrics import native_sums, teacher_forced
from helix_jax.generation.scores import generation_scores
from helix_jax.generation.stitch import Part
from helix_jax.generation.stitch_files import save_token_map
from helix_jax.generation.token_map import (
    METHODS,
    TokenMap,
    refine_map,
    sample_pairs,
    token_controls,
)
from helix_jax.models import resolve_layers
from helix_jax.progress import Progress, stage
from helix_jax.reports import format_interval
from helix_jax.runs import write_atomically
from helix_jax.runs.experiment import Specs
from helix_jax.runs.workdir import flat_numbers
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus
from helix_jax.textfile import read_json
from helix_jax.training.snapshot import load_snapshot, save_snapshot
from helix_jax.transfer.pair_fit import choose_map

CONTROLS = ("shuffled", "random")  # that write texts too


def check_cuts(options: TokenMapOptions, specs: Specs) -> None:
    """Refuse a map that the target's blocks or its head could not go on from.

    Args:
      options: flags; a --map that is no method is one that was fitted before.
      specs: architectures of the models.

    Raises:
      RunError: kl or mlp before the last layer, or a final norm in the middle.
    """
    target = specs[options.target]
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
    snapshots: Path | None = None,
) -> TokenMap:
    """A map between the cuts of the flags, which `check_cuts` has seen.

    Args:
      sides: from `load_token_sides`.
      corpus: its fit and select splits are used.
      options: flags.
      snapshots: folder in which a gradient fit that is killed can go on.

    Raises:
      RunError: a system that cannot be solved.
    """
    shuffle, rotation, *of_descent = jax.random.split(jax.random.key(options.seed), 4)
    samples = {}
    for split, limit in (("fit", options.pairs), ("select", options.select_pairs)):
        with Progress(f"token states, {split} split", unit="texts read") as shown:
            texts = sample_texts(corpus, split, limit, max_tokens=options.max_tokens)
            pairs = token_pairs(
                sides,
                texts,
                shown,
                layers=((options.source_layer,), (options.target_layer,)),
                normed=(options.source_norm, options.target_norm),
                max_tokens=options.max_tokens,
                loop=options.loop,
            )
            samples[split] = sample_pairs(
                pairs, limit, key=shuffle, keep_rows=options.map != "ridge"
            )
    ridge = choose_map({split: sample.moments for split, sample in samples.items()})
    with stage("fitting the controls"):
        controls = token_controls(
            samples["fit"], penalty=float(ridge.fit.penalty), key=rotation
        )
    fitted, descent = ridge.fit.map, None
    if options.map != "ridge":
        _, target = sides.models
        spec = target.spec
        last = Part(target.params, spec, spec.num_layers, options.target_norm)
        fitted, descent = refine_map(
            fitted,
            samples["fit"],
            samples["select"],
            method=options.map,
            head=head_of(last),
            hidden=options.hidden,
            key=of_descent,
            descend=partial(_descend, options=options, snapshots=snapshots),
        )
    return TokenMap(fitted, ridge, controls, samples["fit"].moments, descent)


def _descend(
    start: Any,
    fit: Any,
    select: Any,
    *,
    options: TokenMapOptions,
    snapshots: Path | None,
    **given: Any,
) -> GradientFit:
    """`fit_gradient` of the flags, which goes on from its last snapshot."""
    path, resume = None, None
    if snapshots is not None:
        path = snapshots / "fit.safetensors"
        if path.exists():
            none = Descent(options.learning_rate, options.batch, epochs=0)
            like = fit_gradient(start, fit, select, settings=none, **given)
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
            fit,
            select,
            settings=Descent(options.learning_rate, options.batch, options.epochs),
            resume=resume,
            on_epoch=on_epoch,
            on_step=shown.at,
            **given,
        )


def score_token_map(
    sides: TokenSides,
    fitted: TokenMap,
    corpus: Corpus,
    options: TokenMapOptions,
    *,
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """Teacher-forced measures on the test split, as in `generation.scores`.

    The ridge map is an arm of its own where another map was fitted.
    """
    (source, target), limits = sides.models, {"max_tokens": options.max_tokens}
    texts = sample_texts(corpus, "test", options.test_pairs, **limits)
    ridge = {} if fitted.descent is None else {"ridge": fitted.ridge.fit.map}
    with Progress("scoring the maps", unit="texts read") as shown:
        scored = teacher_forced(
            stitch(source, target, fitted.map, **options.cuts),
            target,
            *sides.tokenizers,
            partial(shown.over, texts),
            controls=ridge | fitted.controls,
            key=jax.random.key(options.seed),
            **limits,
        )
    with Progress("scoring the source alone", unit="texts read") as shown:
        source_alone = native_sums(
            source, sides.tokenizers[0], partial(shown.over, texts), **limits
        )
    with stage("intervals over documents"):
        return generation_scores(scored, source_alone, resamples=resamples)


def map_file(
    fitted: TokenMap,
    sides: TokenSides,
    corpus: Corpus,
    options: TokenMapOptions,
    *,
    control: str = "",
) -> Callable[[Path], Path]:
    """What writes the map, or one of its controls, to a folder, see `Report.files`."""
    source, target = sides.models
    return partial(
        save_token_map,
        map=fitted.controls[control] if control else fitted.map,
        source=source,
        target=target,
        **options.cuts,
        penalty=float(fitted.ridge.fit.penalty),
        max_tokens=options.max_tokens,
        text={**corpus.fingerprint, "split": "fit"},
    )


def fit_and_score(
    folder: Path, sides: TokenSides, corpus: Corpus, options: TokenMapOptions
) -> None:
    """Fit a map of the flags, score it teacher-forced, write all of it.

    FOLDER/map, FOLDER/controls/NAME and FOLDER/scores.json; the map comes last, so that
    it stands for the whole.
    """
    fitted = fit_token_map(sides, corpus, options, snapshots=folder)
    numbers = fitted.numbers | score_token_map(sides, fitted, corpus, options)
    scores = {
        name: value if isinstance(value, int) else float(value)
        for name, value in flat_numbers(numbers).items()
    }
    write_atomically(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    made_of = (fitted, sides, corpus, options)
    for name in CONTROLS:
        map_file(*made_of, control=name)(folder / "controls" / name)
    map_file(*made_of)(folder / "map")


def read_controls(folder: Path) -> dict[str, StateMap]:
    """The controls that `fit_and_score` wrote; none for a map from elsewhere."""
    return {
        name: load_map(folder / "controls" / name)[0]
        for name in CONTROLS
        if holds_artefact(folder / "controls" / name)
    }


def read_scores(folder: Path) -> dict[str, float]:
    """The scores that `fit_and_score` wrote; none for a map from elsewhere."""
    path = folder / "scores.json"
    return read_json(path, raises=RunError) if path.is_file() else {}


def arm_cells(
    numbers: Mapping[str, float | Interval],
    arm: str,
    measures: Mapping[str, tuple[str, float, int]],
) -> list[str | None]:
    """What was measured of an arm, or of a native model, as cells of a table.

    Args:
      numbers: from `generation_scores` and `text_scores`.
      arm: what stands behind the names of its measures.
      measures: name, as of the mapped head -> title, scale, digits.
    """
    native = arm.startswith("_native")
    return [
        format_interval(
            numbers,
            f"generation/{name.removesuffix('_mapped') if native else name}{arm}",
            scale=scale,
            digits=digits,
        )
        for name, (_, scale, digits) in measures.items()
    ]
