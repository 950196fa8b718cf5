"""Every pair of several spaces by any measures, computed as each kind requires."""

from collections.abc import Sequence
from typing import Any

from helix_jax.progress import bar, stage
from helix_jax.similarity.matrix import ROW_MEASURES, Pairs
from helix_jax.similarity.scores import (
    THOUSAND,
    Scores,
    Shuffles,
    SplitRows,
    join_scores,
    left_out_rows,
    score_fitted,
    score_rows,
    stack_scores,
)


def score_pairs(
    spaces: Sequence[SplitRows],
    pairs: Pairs,
    measures: Sequence[str],
    documents: Sequence[str],
    *,
    labels: SplitRows | None = None,
    rank: int | None = None,
    neighbours: int = 10,
    shuffles: Shuffles = THOUSAND,
) -> Scores:
    """Scores of pairs: of all rows, without each group of documents, and shuffled.

    Args:
      spaces: states of the same texts, by split.
      pairs: (a, b) places in `spaces`.
      measures: names among MEASURES, one or more.
      documents: [N] document of each test row.
      labels: classes of the rows; needed by HEAD_MEASURES.
      rank: principal directions of svcca, pwcca and procrustes; None is one per 20 fit
        rows, at most 64.
      neighbours: of mutual_knn and cknna.
      shuffles: of the nulls; its key also assigns the documents to groups.

    Returns:
      Scores of [pairs], for `summarise`.

    Raises:
      ValueError: as `score_rows` and `score_fitted`.
    """
    kept = left_out_rows(documents, key=shuffles.key)
    scores = Scores({}, {}, {}, {})
    of_rows = [name for name in measures if name in ROW_MEASURES]
    if of_rows:
        test = [space.test for space in spaces]
        with stage(f"every pair scored, and {shuffles.permutations} shuffles of it"):
            scores = score_rows(
                test, pairs, of_rows, kept, neighbours=neighbours, shuffles=shuffles
            )
    fitted = [name for name in measures if name not in ROW_MEASURES]
    if fitted:
        rank = rank or max(1, min(64, len(spaces[0].fit) // 20))
        settings: dict[str, Any] = {
            "rank": rank,
            "labels": labels,
            "shuffles": shuffles,
        }
        each = [
            score_fitted(spaces[a], spaces[b], fitted, kept, **settings)
            for a, b in bar(pairs, "pairs fitted and scored")
        ]
        scores = join_scores(scores, stack_scores(each))
    return scores
