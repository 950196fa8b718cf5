"""Maps without pairs, with their ceiling and controls, over several random splits.

| arm      | the map                                                        |
|----------|----------------------------------------------------------------|
| unpaired | of `fit_unpaired`, on texts that the two sides do not share    |
| paired   | ridge on pairs of the source's texts: the ceiling              |
| gaussian | as unpaired, of Gaussian target states, without shape: control |
| random   | a random rotation: control                                     |
| mean     | the mean: control                                              |
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from helix_jax.activations import Pair
from helix_jax.activations.deal import Dealt
from helix_jax.alignment import (
    AffineMap,
    UnpairedFit,
    apply_map,
    deviations,
    fit_unpaired,
    from_batch,
    gaussian_like,
    mean_map,
    r2_of_rows,
    random_orthogonal_map,
    squared_errors,
)
from helix_jax.probes import predict_logits
from helix_jax.progress import bar, stage
from helix_jax.similarity.retrieval import cosine_search
from helix_jax.stats import Interval, bootstrap_interval
from helix_jax.transfer.pair_fit import choose_map, pair_moments
from helix_jax.transfer.task import Task

TRUST = ("agreement", "found")  # self-assessment of a fit without pairs


def fit_arms(
    dealt: Dealt, select: Pair, *, seed: int, starts: int = 3
) -> tuple[dict[str, AffineMap], dict[str, UnpairedFit]]:
    """Fit every arm's map; return the maps, and the fits without pairs.

    Args:
      dealt: rows of both sides to fit on.
      select: pairs that the penalty of the ceiling is chosen on.
      seed: of the fits and the controls.
      starts: of each half of the rows, as in `fit_unpaired`.
    """
    key, rotation = jax.random.split(jax.random.key(seed))
    targets = {"unpaired": dealt.y, "gaussian": gaussian_like(dealt.y, seed=seed)}
    fits = {}
    for arm, y in targets.items():
        with stage(f"fitting without pairs ({arm})"):
            fit = fit_unpaired(dealt.x, y, key=key, starts=starts)
            fits[arm] = jax.block_until_ready(fit)
    maps = {arm: fit.map for arm, fit in fits.items()}
    moments = {"fit": from_batch(dealt.x, dealt.paired), "select": pair_moments(select)}
    maps["paired"] = choose_map(moments).fit.map
    maps["random"] = random_orthogonal_map(moments["fit"], key=rotation)
    maps["mean"] = mean_map(moments["fit"])
    return maps, fits


def score_deal(
    dealt: Dealt,
    pairs: Mapping[str, Pair],
    task: Task | None,
    *,
    seed: int,
    starts: int = 3,
) -> dict[str, np.ndarray]:
    """Score every arm of a deal on every test text.

    Args:
      dealt: rows of both sides to fit on.
      pairs: of the select split, and of the test split, which is only scored.
      task: its probe of the target reads the mapped states; None without labels.
      seed, starts: as for `fit_arms`.

    Returns:
      ARM/error, ARM/deviation, ARM/recall (whether the nearest state, by cosine about
      the mean of the target's rows, is the text's own) and, with a task, ARM/accuracy:
      [N] of the test texts. ARM_agreement and ARM_found of fits without
      pairs, source_rows and target_rows: [].
    """
    maps, fits = fit_arms(dealt, pairs["select"], seed=seed, starts=starts)
    scores = {
        f"{arm}_{name}": np.asarray(float(getattr(fit, name)))
        for arm, fit in fits.items()
        for name in TRUST
    }
    scores["source_rows"] = np.asarray(len(dealt.x))
    scores["target_rows"] = np.asarray(len(dealt.y))
    (x, y), centre = pairs["test"].read(), dealt.y.mean(axis=0)
    for arm, affine in bar(maps.items(), "arms scored"):
        mapped = np.asarray(apply_map(affine, x))
        ranks = cosine_search(mapped, y, centre=centre).ranks(np.arange(len(y)))
        scores[f"{arm}/error"] = squared_errors(affine, x, y)
        scores[f"{arm}/deviation"] = deviations(y)
        scores[f"{arm}/recall"] = (ranks == 1).astype(float)
        if task is not None:
            logits = np.asarray(predict_logits(task.target_probe, mapped))
            right = logits.argmax(-1) == task.labels["test"]
            scores[f"{arm}/accuracy"] = right.astype(float)
    return scores


def summarise_deals(
    arm: str,
    deals: Sequence[Mapping[str, np.ndarray]],
    documents: Sequence[str],
    *,
    resamples: int = 2000,
) -> dict[str, Interval]:
    """An arm's scores over all deals.

    Args:
      arm: of the maps.
      deals: what `score_deal` gives of each.
      documents: [N] of the test texts.
      resamples: of the bootstrap.

    Returns:
      r2, recall, accuracy -> mean over deals, with its interval over documents;
      agreement, found, of fits without pairs -> mean, least and most of all deals.
    """

    def of_rows(name: str) -> np.ndarray:
        return np.mean([scores[f"{arm}/{name}"] for scores in deals], axis=0)

    error, deviation = of_rows("error"), of_rows("deviation")
    summary = {"r2": r2_of_rows(error, deviation, documents, resamples=resamples)}
    for name in ("recall", "accuracy"):
        if f"{arm}/{name}" in deals[0]:
            summary[name] = bootstrap_interval(
                of_rows(name), documents, resamples=resamples
            )
    for name in TRUST:
        if f"{arm}_{name}" in deals[0]:
            values = np.stack([scores[f"{arm}_{name}"] for scores in deals])
            summary[name] = Interval(values.mean(), values.min(), values.max())
    return summary
