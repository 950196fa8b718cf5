"""Checkpoint names <-> parameters: each name matches one rule, each is set once.

A rule pairs one checkpoint tensor with one or more parameters and says how to go both
ways, so that a trained model can also be written in the layout of its family. "{}" in
a name stands for the layer; the parameters of such a rule are stacked, [L, ...].
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from helix_jax.errors import CheckpointError
from helix_jax.models.params import parameter_shapes
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


def to_params(
    tensors: Iterable[tuple[str, np.ndarray]],
    spec: ModelSpec,
    rules: Sequence[Rule],
    *,
    dtype: np.dtype,
    ignored: Sequence[str] = (),
    where: str = "the checkpoint",
) -> dict[str, np.ndarray]:
    """Parameters of a checkpoint, in one pass over its tensors.

    Args:
      tensors: (name, array) pairs, streamed.
      spec: the architecture; it says which parameters exist and their shapes.
      rules: the family's rules.
      dtype: of the result.
      ignored: regular expressions of names that hold no parameter.
      where: for messages.

    Returns:
      path -> array, exactly the paths of `parameter_shapes(spec)`.

    Raises:
      CheckpointError: a name that no rule or more than one matches, a parameter set
        twice or never, a wrong shape, a tensor that is not floating point.
    """
    shapes = parameter_shapes(spec)
    active = [rule for rule in rules if all(path in shapes for path in rule.paths)]
    patterns = [
        re.compile(re.escape(rule.name).replace(r"\{\}", r"(\d+)")) for rule in active
    ]
    flat: dict[str, np.ndarray] = {}
    filled: set[tuple[str, int | None]] = set()
    for name, tensor in tensors:
        found = [(r, m) for r, p in zip(active, patterns) if (m := p.fullmatch(name))]
        if not found and any(re.fullmatch(pattern, name) for pattern in ignored):
            continue
        if len(found) != 1:
            raise CheckpointError(
                f"{where}: tensor {name!r} {list(tensor.shape)} matches {len(found)} "
                f"rules of family {spec.family!r}, expected one. The config and the "
                "weights do not belong together, or the family has a part that is not "
                "supported."
            )
        rule, match = found[0]
        layer = int(match.group(1)) if match.groups() else None
        if layer is not None and layer >= spec.num_layers:
            raise CheckpointError(
                f"{where}: {name!r} is layer {layer}, the config has {spec.num_layers}."
            )
        for path, part in _split(rule, tensor, spec, shapes, name, where):
            if (path, layer) in filled:
                raise CheckpointError(f"{where}: {name!r} sets {path!r} twice.")
            filled.add((path, layer))
            if layer is None:
                flat[path] = np.ascontiguousarray(part, dtype)
            else:
                if path not in flat:
                    flat[path] = np.empty(shapes[path], dtype)
                flat[path][layer] = part
    wanted = {
        (path, layer)
        for path in shapes
        for layer in (range(spec.num_layers) if path.startswith("layers/") else (None,))
    }
    missing = sorted(wanted - filled, key=str)
    if missing:
        shown = ", ".join(
            path if layer is None else f"{path}[{layer}]" for path, layer in missing[:6]
        )
        raise CheckpointError(
            f"{where}: {len(missing)} parameters of the config have no tensor: {shown}"
            f"{', ...' if len(missing) > 6 else ''}. A shard may be missing, or the "
            "config belongs to another model."
        )
    return flat


def _split(rule, tensor, spec, shapes, name, where):
    """(path, part) pairs of one tensor, shapes checked."""
    kind = tensor.dtype.name
    if not (kind.startswith("float") or kind == "bfloat16"):
        raise CheckpointError(
            f"{where}: {name!r} is {kind}, expected float32, bfloat16 or float16. "
            "Quantised checkpoints are not supported; load the original weights."
        )
    try:
        parts = rule.codec.split(tensor, spec)
    except ValueError:
        parts = ()
    expected = [
        shapes[path][1:] if "{}" in rule.name else shapes[path] for path in rule.paths
    ]
    got = [tuple(part.shape) for part in parts]
    if got != [tuple(shape) for shape in expected]:
        raise CheckpointError(
            f"{where}: {name!r} has shape {list(tensor.shape)}, which gives {got}; the "
            f"config wants {expected} for {list(rule.paths)}."
        )
    return list(zip(rule.paths, parts))


def from_params(
    flat: Mapping[str, np.ndarray], spec: ModelSpec, rules: Sequence[Rule]
) -> dict[str, np.ndarray]:
    """Checkpoint tensors of a parameter pytree, the inverse of `to_params`.

    Args:
      flat: path -> array.
      spec: the architecture.
      rules: the family's rules.

    Returns:
      checkpoint name -> array.
    """
    tensors = {}
    for rule in rules:
        if not all(path in flat for path in rule.paths):
            continue
        parts = [flat[path] for path in rule.paths]
        if "{}" in rule.name:
            for layer in range(spec.num_layers):
                tensors[rule.name.format(layer)] = np.ascontiguousarray(
                    rule.codec.join([part[layer] for part in parts], spec)
                )
        else:
            tensors[rule.name] = np.ascontiguousarray(rule.codec.join(parts, spec))
    return tensors
