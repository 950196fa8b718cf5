"""Maps between the token states of two models, fitted and scored as the flags say.

`helix_jax.generation.token_map` describes ridge, kl and mlp.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax

from experiments.shared.about import BRACKETS
from experiments.shared.token_options import TokenMapOptions
from helix_jax.alignment import Descent, GradientFit
from helix_jax.choices import TOKEN_MAPS
from helix_jax.errors import RunError
from helix_jax.generation import stitch
from helix_jax.generation.heads import head_of
from helix_jax.generation.scores import score_stitch
from helix_jax.generation.stitch import Part
from helix_jax.generation.stitch_files import save_token_map
from helix_jax.generation.token_map import TokenMap, fit_token_map, sample_pairs
from helix_jax.generation.token_sides import TokenSides, sample_texts
from helix_jax.models import resolve_layers
from helix_jax.progress import Progress
from helix_jax.reports import Quantity, Table, arm_table
from helix_jax.runs import Specs
from helix_jax.stats import Interval
from helix_jax.text.corpus import Corpus
from helix_jax.training.resumed import resumed_gradient
from helix_jax.transfer.pair_fit import choose_map


def check_cuts(options: TokenMapOptions, specs: Specs) -> None:
    """Refuse a map to states that the target's blocks or head cannot continue from.

    Args:
      options: flags; a --map that is not a method is a map fitted before.
      specs: architectures of the models.

    Raises:
      RunError: kl or mlp before the last layer, or a final norm before it.
    """
    target = specs[options.target]
    (layer,) = resolve_layers(target, (options.target_layer,))
    if options.map in ("kl", "mlp") and layer < target.num_layers:
        raise RunError(
            f"--map={options.map} reads the target's head, so it must give the states "
            f"of its last layer: --target_layer={options.target_layer} is not."
        )
    if options.map in TOKEN_MAPS and options.target_norm and layer < target.num_layers:
        raise RunError(
            f"--target_layer={options.target_layer} is before the target's last block, "
            "which reads the raw stream: add --notarget_norm."
        )


def fit_map(
    sides: TokenSides,
    corpus: Corpus,
    options: TokenMapOptions,
    *,
    snapshot: Path | None = None,
) -> TokenMap:
    """A map between the cuts of the flags, checked by `check_cuts`.

    Args:
      sides: from `load_token_sides`.
      corpus: its fit and select splits are used.
      options: flags.
      snapshot: file from which a killed gradient fit resumes.

    Raises:
      RunError: the equations cannot be solved.
    """
    shuffle, *keys = jax.random.split(jax.random.key(options.seed), 4)
    samples = {}
    for split, limit in (("fit", options.pairs), ("select", options.select_pairs)):
        with Progress(f"token states, {split} split", unit="texts read") as shown:
            pairs = sides.pairs(
                sample_texts(corpus, split, limit, max_tokens=options.max_tokens),
                shown,
                layers=((options.source_layer,), (options.target_layer,)),
                normed=(options.source_norm, options.target_norm),
                max_tokens=options.max_tokens,
                loop=options.loop,
            )
            samples[split] = sample_pairs(
                pairs, limit, key=shuffle, keep_rows=options.map != "ridge"
            )
    _, target = sides.models
    spec = target.spec
    last = Part(target.params, spec, spec.num_layers, options.target_norm)
    descent = Descent(options.learning_rate, options.batch, options.epochs)
    ridge = choose_map({split: sample.moments for split, sample in samples.items()})
    return fit_token_map(
        ridge,
        **samples,
        method=options.map,
        head=head_of(last),
        hidden=options.hidden,
        key=keys,
        descend=partial(
            resumed_gradient,
            settings=descent,
            snapshot=snapshot,
            on_epoch=_say_epoch,
            title=f"training the map ({options.map})",
        ),
    )


def _say_epoch(now: GradientFit, numbers: dict[str, float]) -> None:
    print(
        f"epoch {int(now.epoch)}: KL {numbers['fit_loss']:.4f} nats on fit pairs, "
        f"{numbers['select_loss']:.4f} on select pairs",
        flush=True,
    )


def score_map(
    sides: TokenSides,
    fitted: TokenMap,
    corpus: Corpus,
    options: TokenMapOptions,
    *,
    resamples: int = 2000,
) -> dict[str, float | Interval]:
    """Numbers of the fit, and teacher-forced measures on the test split.

    If another map was fitted, the ridge map is a separate arm.
    """
    limits = {"max_tokens": options.max_tokens}
    ridge = {} if fitted.descent is None else {"ridge": fitted.ridge.fit.map}
    return fitted.numbers | score_stitch(
        stitch(*sides.models, fitted.map, **options.cuts),
        *sides,
        sample_texts(corpus, "test", options.test_pairs, **limits),
        controls=ridge | fitted.controls,
        key=jax.random.key(options.seed),
        resamples=resamples,
        **limits,
    )


def map_file(
    fitted: TokenMap, sides: TokenSides, corpus: Corpus, options: TokenMapOptions
) -> Callable[..., Path]:
    """A function that writes the map, or another, to a folder; see `Report.files`."""
    source, target = sides.models
    return partial(
        save_token_map,
        map=fitted.map,
        source=source,
        target=target,
        **options.cuts,
        penalty=float(fitted.ridge.fit.penalty),
        max_tokens=options.max_tokens,
        text={**corpus.fingerprint, "split": "fit"},
        confidence=fitted.confidence,
    )


def measure_table(
    title: str,
    numbers: Mapping[str, float | Interval],
    arms: Mapping[str, str],
    measures: Mapping[str, Quantity],
    note: str,
    *,
    room: str = "generation",
) -> Table:
    """A table of what was measured of maps, controls and native models.

    Args:
      title: of the table.
      numbers: from `generation_scores` and `text_scores`.
      arms: suffix of an arm's measures -> its title.
      measures: name, as for the mapped head -> how it is shown.
      note: of the table; an explanation of the brackets is appended.
      room: with which the names of the numbers begin.
    """

    def name_of(name: str, arm: str) -> str:
        native = arm.startswith("_native")
        return f"{room}/{name.removesuffix('_mapped') if native else name}{arm}"

    note = f"{note} {BRACKETS}"
    return arm_table(title, numbers, arms, measures, name_of, note=note)
