"""Rules that pair checkpoint tensors with parameters, and the ways between them.

A rule names one checkpoint tensor and one or more parameters and says how to go both
ways, so that a trained model can also be written in the layout of its family. "{}" in
a name stands for the layer; the parameters of such a rule are stacked, [L, ...].
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
    """One checkpoint name, the parameters it holds, and the way between them."""

    name: str
    paths: tuple[str, ...]
    codec: Codec


# Bert's heads store a second bias; `convert` says when it is the first one.
SHARED_BIAS = "head/shared_bias"
KEEP = Codec(lambda w, spec: (w,), lambda parts, spec: parts[0])
TRANSPOSE = Codec(lambda w, spec: (w.T,), lambda parts, spec: parts[0].T)


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

    def split(w, spec):
        w = w.T if transposed else w
        return np.split(w, sizes(spec), axis=-1)

    def join(parts, spec):
        w = np.concatenate(parts, axis=-1)
        return w.T if transposed else w

    return Codec(split, join)


def _interleaved_split(w: np.ndarray, spec: ModelSpec) -> list[np.ndarray]:
    rows = w.reshape(spec.num_heads, 3, spec.head_width, -1)
    parts = [rows[:, i].reshape(spec.num_heads * spec.head_width, -1) for i in range(3)]
    return [part[:, 0] if w.ndim == 1 else part.T for part in parts]


def _interleaved_join(parts: Sequence[np.ndarray], spec: ModelSpec) -> np.ndarray:
    one = parts[0].ndim == 1
    shape = (spec.num_heads, spec.head_width, -1)
    rows = [(part[:, None] if one else part.T).reshape(shape) for part in parts]
    w = np.stack(rows, axis=1)
    w = w.reshape(3 * spec.num_heads * spec.head_width, -1)
    return w[:, 0] if one else w


QKV_COLUMNS = fused(_query_key_value_sizes, transposed=False)
QKV_ROWS = fused(_query_key_value_sizes, transposed=True)
GATE_UP_ROWS = fused(lambda spec: [spec.ffn_width], transposed=True)
QKV_BY_HEAD = Codec(_interleaved_split, _interleaved_join)


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
    """Rules of several dense layers that the checkpoint keeps as one tensor."""
    return [
        Rule(f"{name}.weight", tuple(f"{path}/kernel" for path in paths), kernel),
        Rule(f"{name}.bias", tuple(f"{path}/bias" for path in paths), bias),
    ]
