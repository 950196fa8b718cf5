"""The map from a sum over silos with differential privacy, and its errors."""

import numpy as np

from helix_jax.alignment import AffineMap, Moments, evaluate_map
from helix_jax.private.aggregation.private_sums import (
    PrivateFormat,
    decode_private,
    encode_private,
)
from helix_jax.private.aggregation.rehearsal import rehearse
from helix_jax.private.aggregation.session import default_threshold, most_colluders
from helix_jax.private.aggregation.silo_maps import SiloMoments
from helix_jax.private.curator import noisy_map, private_map
from helix_jax.private.unit_rows import expand_map, unit_rows


def private_errors(
    data: SiloMoments,
    *,
    epsilon: float,
    delta: float,
    rank: int,
    threshold: int | None = None,
) -> dict[str, float]:
    """Sum the silos' rows under masks with noise, fit, and score on held-out rows.

    Args:
      data: with the silos' rows, and public ones.
      epsilon, delta: of a pair of rows, against the aggregator and as many colluding
        silos as the threshold tolerates.
      rank: directions of the source.
      threshold: silos that must stay; None for `default_threshold`.

    Returns:
      Fractions of the variance left unexplained: private_error, and clipped_error with
      the same rank and clipping but no noise; private_upload_bytes, the most of a silo;
      private_silos, how many silos' noise is counted.

    Raises:
      ValueError: as in `unit_rows` or `PrivateFormat`.
    """
    count = len(data.rows)
    threshold = threshold or default_threshold(count)
    least = threshold - most_colluders(count, threshold)
    source, target = unit_rows(data.public[0], rank=rank), unit_rows(data.public[1])
    rows = [(source.apply(x), target.apply(y)) for x, y in data.rows]
    layout = PrivateFormat(rank, rows[0][1].shape[1], least, epsilon, delta)
    done = rehearse(
        [encode_private(*pair, layout) for pair in rows],
        content=layout.content,
        threshold=threshold,
        leaves={silo: "mask" for silo in range(data.kept + 1, count + 1)},
    )
    total = decode_private(done.total, layout, parties=len(done.survivors))
    x, y = (np.concatenate(side) for side in zip(*rows[: data.kept]))
    maps = {"private": noisy_map(*total), "clipped": private_map(x, y, None)}
    return {
        f"{name}_error": _left(expand_map(affine, source, target), data.test)
        for name, affine in maps.items()
    } | {
        "private_upload_bytes": max(done.upload_bytes.values()),
        "private_silos": least,
    }


def _left(affine: AffineMap, test: Moments) -> float:
    return 1 - float(evaluate_map(affine, test).r2)
