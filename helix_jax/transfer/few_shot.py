"""Arms with little task data: public text, and a few texts of the task.

| arm of `public_arms`   | the map is fitted on                                  |
|------------------------|-------------------------------------------------------|
| public                 | other text alone                                      |
| public_32 ..           | other text and 32 texts of the task, without labels   |

| arm of `few_shot_arms` | no map                                                |
|------------------------|-------------------------------------------------------|
| few_shot_32 ..         | a probe on the source's states of 32 labelled texts   |
"""

from collections.abc import Mapping, Sequence

import numpy as np

from helix_jax.alignment import (
    AffineMap,
    Moments,
    accumulate,
    fit_ridge,
    merge,
    select_penalty,
)
from helix_jax.errors import RunError
from helix_jax.probes import predict_logits
from helix_jax.progress import bar
from helix_jax.transfer.task import Task, draw_texts, trained_probe

Arms = dict[str, list[np.ndarray]]  # name -> [N, C] logits of each draw


def public_arms(
    task: Task,
    public: Mapping[str, Moments],
    *,
    counts: Sequence[int],
    share: float,
    seeds: int,
) -> Arms:
    """The target's probe on states mapped by ridge on other text.

    Args:
      task: read on its test split.
      public: moments of other text, fit and select splits.
      counts: texts of the task added to it.
      share: of the weight that these texts have, in (0, 1]; 1 uses only these texts.
      seeds: number of draws of them.
    """

    def map_of(fit: Moments) -> AffineMap:
        return select_penalty(fit_ridge(fit), public["select"]).fit.map

    arms = {"public": [task.read_mapped(map_of(public["fit"]))]}
    for count in counts:
        logits = []
        for seed in bar(range(seeds), f"maps of public text and {count}"):
            rows = draw_texts(task.ids["fit"], count, seed=seed)
            few = accumulate([(task.x["fit"][rows], task.y["fit"][rows])])
            if share < 1:
                weight = np.asarray(public["fit"].count) * share / (1 - share)
                few = merge(public["fit"], few._replace(count=weight))
            logits.append(task.read_mapped(map_of(few)))
        arms[f"public_{count}"] = logits
    return arms


def few_shot_arms(task: Task, *, counts: Sequence[int], seeds: int) -> Arms:
    """Probes on a few labelled source states; a quarter of them chooses the penalty.

    Args:
      task: whose fit split the texts are drawn from, read on its test split.
      counts: of texts.
      seeds: number of draws of them.

    Raises:
      RunError: the texts of a draw are of one class.
    """
    arms = {}
    for count in counts:
        logits = []
        for seed in bar(range(seeds), f"probes of {count} texts"):
            rows = draw_texts(task.ids["fit"], count, seed=seed)
            x, labels = task.x["fit"][rows], task.labels["fit"][rows]
            held = max(1, count // 4)
            if len(np.unique(labels[held:])) < 2:
                raise RunError(
                    f"the {count} few-shot texts drawn with seed {seed} are of one "
                    "class; ask for more."
                )
            split = x[held:], labels[held:], x[:held], labels[:held]
            probe = trained_probe(*split, len(task.classes))
            logits.append(predict_logits(probe, task.x["test"]))
        arms[f"few_shot_{count}"] = logits
    return arms
