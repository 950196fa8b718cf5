"""Rules that pair checkpoint tensors with parameters, and convert between them.

A rule names one checkpoint tensor and one or more parameters and converts in both
directions, so that a trained model can also be written in the layout of its family.
"{}" in a name stands for the layer, a second one for the expert or head; the parameters
of such a rule are stacked, [L, ...], [L, E, ...] or [L, H, ...].
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.models.spec import ModelSpec


class Codec(NamedTuple):
    """How a checkpoint tensor becomes parameters (split) and back (join)."""

    split: Callable[[np.ndarray, ModelSpec], Sequence[np.ndarray]]
    join: Callable[[Sequence[np.ndarray], ModelSpec], np.ndarray]


class Rule(NamedTuple):
    """One checkpoint name, the parameters it holds, and their conversion.

    `when` says for which specs the name is written; it may be read for all.
    """

    name: str
    paths: tuple[str, ...]
    codec: Codec
    when: Callable[[ModelSpec], bool] = lambda spec: True


# Bert's heads store a second bias; `convert` says when it equals the first.
SHARED_BIAS = "head/shared_bias"
KEEP = Codec(lambda w, spec: (w,), lambda parts, spec: parts[0])
TRANSPOSE = Codec(
    lambda w, spec: (_transposed(w),), lambda parts, spec: _transposed(parts[0])
)


def _transposed(w: np.ndarray) -> np.ndarray:
    """[..., a, b] as [..., b, a]; a bias unchanged."""
    return w if w.ndim == 1 else w.swapaxes(-1, -2)


def _query_key_value_sizes(spec: ModelSpec) -> list[int]:
    keys = spec.num_kv_heads * spec.head_width
    queries = spec.num_heads * spec.head_width
    return [queries, queries + keys]


def fused(sizes: Callable[[ModelSpec], list[int]], *, transposed: bool) -> Codec:
    """Several kernels or biases side by side on the output axis.

    Args:
      sizes: spec -> the cut points on the output axis.
      transposed: the checkpoint keeps [outputs, inputs].
    """

    def split(w: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
        w = _transposed(w) if transposed else w
        return np.split(w, sizes(spec), axis=-1)

    def join(parts: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
        w = np.concatenate(parts, axis=-1)
        return _transposed(w) if transposed else w

    return Codec(split, join)


def grouped(sizes: Callable[[ModelSpec], tuple[int, list[int]]]) -> Codec:
    """Several kernels [outputs, inputs], or biases, in interleaved groups.

    Args:
      sizes: spec -> number of groups, and outputs of each kernel in one group.
    """

    def split(w: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
        groups, counts = sizes(spec)
        rows = w.reshape(groups, sum(counts), *w.shape[1:])
        parts = np.split(rows, np.cumsum(counts)[:-1], axis=1)
        return [part.reshape(-1, *w.shape[1:]).T for part in parts]

    def join(parts: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
        groups, counts = sizes(spec)
        rows = [
            part.T.reshape(groups, count, *part.shape[:-1])
            for part, count in zip(parts, counts)
        ]
        return np.concatenate(rows, axis=1).reshape(-1, *parts[0].shape[:-1])

    return Codec(split, join)


def _group_sizes(spec: ModelSpec) -> tuple[int, list[int]]:
    queries = spec.num_heads // spec.num_kv_heads * spec.head_width
    return spec.num_kv_heads, [queries, spec.head_width, spec.head_width]


QKV_COLUMNS = fused(_query_key_value_sizes, transposed=False)
QKV_ROWS = fused(_query_key_value_sizes, transposed=True)
GATE_UP_ROWS = fused(lambda spec: [spec.ffn_width], transposed=True)
# Each key-value head follows the query heads that it serves.
QKV_BY_GROUP = grouped(_group_sizes)


def dense(name: str, path: str, kernel: Codec = TRANSPOSE) -> list[Rule]:
    """Rules of one dense layer: NAME.weight (torch: [out, in]) and NAME.bias."""
    return [
        Rule(f"{name}.weight", (f"{path}/kernel",), kernel),
        Rule(f"{name}.bias", (f"{path}/bias",), KEEP),
    ]


def norm(name: str, path: str) -> list[Rule]:
    """Rules of one norm: NAME.weight and NAME.bias."""
    return [
        Rule(f"{name}.weight", (f"{path}/scale",), KEEP),
        Rule(f"{name}.bias", (f"{path}/bias",), KEEP),
    ]


def fused_dense(
    name: str, paths: Sequence[str], kernel: Codec, bias: Codec
) -> list[Rule]:
    """Rules of several dense layers that the checkpoint stores as one tensor."""
    return [
        Rule(f"{name}.weight", tuple(f"{path}/kernel" for path in paths), kernel),
        Rule(f"{name}.bias", tuple(f"{path}/bias" for path in paths), bias),
    ]
