"""Checkpoint tensors <-> parameters: each name matches one rule, each is set once."""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from helix_jax.errors import CheckpointError
from helix_jax.models.families.common import Family
from helix_jax.models.fill import PAGES, Part, aligned_empty, all_finite, fill, whole
from helix_jax.models.params import parameter_shapes, unstored
from helix_jax.models.rules import KEEP, SHARED_BIAS, Rule
from helix_jax.models.spec import ModelSpec
from helix_jax.models.weights import FLOATS, StoredTensor
from helix_jax.models.wrappers import OTHER_PARTS, RENAMED

# Tied parameters -> the one that stands for both: the embedding, and in bert's heads
# the first bias. Without tying, the second bias is stored and never used.
TIED = {
    "embed": "embed",
    "head/kernel": "embed",
    "head/bias": "head/bias",
    SHARED_BIAS: "head/bias",
}
# transformers' classes for question answering call every base model "transformer".
ANSWERING = (r"^transformer\.(embed_tokens|layers|norm)\.", r"model.\1.")


class Match(NamedTuple):
    """The meaning of a checkpoint name: a rule and indices; ignored without a rule.

    Attributes:
      rule: the one rule that matches.
      indices: numbers of the layer and the expert or head, one for each "{}" of the
        rule.
      bare: the name lacked the prefix of full checkpoints.
    """

    rule: Rule | None
    indices: tuple[int, ...] = ()
    bare: bool = False


def match_name(name: str, family: Family) -> Match | None:
    """The meaning of a checkpoint name within a family; None for an unknown one.

    Raises:
      CheckpointError: more than one rule matches.
    """
    for pattern, replacement in (*RENAMED, ANSWERING, *family.renamed):
        name = re.sub(pattern, replacement, name)
    for prefix in ("", family.prefix):
        full = prefix + name
        found = [
            (rule, tuple(map(int, numbers.groups())))
            for rule in family.rules
            if (numbers := _pattern(rule.name).fullmatch(full))
        ]
        if len(found) > 1:
            raise CheckpointError(
                f"{name!r} matches {len(found)} rules of {family.name!r}: "
                f"{[rule.name for rule, _ in found]}, expected one."
            )
        if found:
            return Match(*found[0], bare=bool(prefix))
        ignored = (*OTHER_PARTS, *family.ignored)
        if any(re.fullmatch(pattern, full) for pattern in ignored):
            return Match(None, bare=bool(prefix))
    return None


def without_absent_head(
    spec: ModelSpec, family: Family, names: Iterable[str]
) -> ModelSpec:
    """The spec, without an output head if the checkpoint is of a base model.

    Base-model checkpoints are recognised by names without the family's prefix; a full
    checkpoint that lacks its head is damaged, which `to_params` reports.
    """
    matches = [match for name in names if (match := match_name(name, family))]
    rules = [match.rule for match in matches if match.rule is not None]
    has_head = any(rule.paths[0].startswith("head") for rule in rules)
    bare = any(match.bare for match in matches)
    if not bare or has_head or (spec.tied and spec.head == "linear"):
        return spec
    return dataclasses.replace(spec, head=None)


def to_params(
    tensors: Iterable[StoredTensor],
    spec: ModelSpec,
    family: Family,
    *,
    dtype: np.dtype,
    where: str = "the checkpoint",
) -> dict[str, np.ndarray]:
    """All parameters of a checkpoint: `read_parts` without cuts.

    Returns:
      path -> array, exactly the paths of `parameter_shapes(spec)`.
    """
    cuts = {path: [whole(shape)] for path, shape in parameter_shapes(spec).items()}
    parts = read_parts(tensors, spec, family, cuts, dtype=dtype, where=where)
    return {path: part.array for path, (part,) in parts.items()}


def read_parts(
    tensors: Iterable[StoredTensor],
    spec: ModelSpec,
    family: Family,
    cuts: Mapping[str, Sequence[tuple[slice, ...]]],
    *,
    dtype: np.dtype,
    where: str = "the checkpoint",
) -> dict[str, list[Part]]:
    """Parts of the parameters of a checkpoint, in one pass over its tensors.

    Only the pages of a file that hold the parts are read, except for kernels that a
    family interleaves (`rules.grouped`): such a tensor is read whole.

    Args:
      tensors: streamed.
      spec: the architecture; it says which parameters exist and their shapes.
      family: its rules, and the names that it ignores.
      cuts: path -> index of each part, for exactly the paths of
        `parameter_shapes(spec)`.
      dtype: of the result.
      where: for messages.

    Returns:
      path -> its parts, in the order of `cuts`.

    Raises:
      CheckpointError: a name that matches no rule or several, a parameter set twice or
        never, a wrong shape, a tensor that is not floating point, NaN, a value too
        large for the dtype, a tied head that is not the embedding.
    """
    shapes = parameter_shapes(spec)
    held: dict[str, list[Part]] = {}
    filled = {
        path: np.zeros(shape[: _indexed_axes(path, family)], bool)
        for path, shape in shapes.items()
    }
    tied: dict[str, dict[str, StoredTensor]] = {}
    for stored in tensors:
        match = match_name(stored.name, family)
        about = f"{where}: tensor {stored.name!r} {list(stored.shape)}"
        if match is None:
            raise CheckpointError(
                f"{about} matches no rule of family {family.name!r}. The config and "
                "the weights do not belong together, or the weights are quantised or "
                "have a part that is not supported."
            )
        rule, indices, _ = match
        if rule is None or _unused(rule, spec):
            continue
        if spec.tied and rule.paths[0] in TIED:
            _check_kind(stored, about)
            rule = Rule(rule.name, (TIED[rule.paths[0]],), KEEP)
            same = tied.setdefault(rule.paths[0], {})
            same[stored.name] = stored
            if len(same) > 1:
                continue
        if any(path not in shapes for path in rule.paths):
            raise CheckpointError(
                f"{about} is {list(rule.paths)}, which the config says this model does "
                "not have. The config and the weights do not belong together."
            )
        second = "expert" if "experts/" in rule.paths[0] else "head"
        limits = zip(("layer", second), indices, shapes[rule.paths[0]])
        for kind, number, count in limits:
            if number >= count:
                raise CheckpointError(
                    f"{about} is {kind} {number}, but the config has {count}."
                )
        _check_kind(stored, about)
        for path, part in _split(rule, stored, spec, shapes, about):
            if filled[path][indices].any():
                raise CheckpointError(f"{about} sets {path!r} twice.")
            filled[path][indices] = True
            if path not in held:
                held[path] = _allocate(path, cuts[path], dtype, where)
            for target, index in filter(None, (one.of(indices) for one in held[path])):
                fill(target, part[index], stored.release)
                _check_finite(target, part[index], about)
    for same in tied.values():
        digests = [_digest(one) for one in same.values() if len(same) > 1]
        if len(set(digests)) > 1:
            raise CheckpointError(
                f"{where}: the config ties the output head to the embedding "
                "(tie_word_embeddings), but the checkpoint holds different tensors for "
                f"{sorted(same)}. If they are meant to differ, set "
                "tie_word_embeddings to false in config.json."
            )
    for path, layer in unstored(spec):
        if path not in held:
            held[path] = _allocate(path, cuts[path], dtype, where)
        for target, _ in filter(None, (one.of((layer,)) for one in held[path])):
            target[...] = 1
        filled[path][layer] = True
    _check_complete(filled, where)
    return held


def from_params(
    flat: Mapping[str, np.ndarray], spec: ModelSpec, family: Family
) -> dict[str, np.ndarray]:
    """Checkpoint tensors of a parameter pytree, the inverse of `to_params`.

    Args:
      flat: path -> array.
      spec: the architecture.
      family: its rules.

    Returns:
      checkpoint name -> array.
    """
    tensors, absent = {}, unstored(spec)
    for rule in family.rules:
        # The second bias of bert's heads is written too, as in bert's own files.
        paths = [TIED[path] if path == SHARED_BIAS else path for path in rule.paths]
        if not rule.when(spec) or not all(path in flat for path in paths):
            continue
        parts = [flat[path] for path in paths]
        for indices in np.ndindex(parts[0].shape[: rule.name.count("{}")]):
            if (paths[0], *indices) in absent:
                continue
            tensors[rule.name.format(*indices)] = np.asarray(
                rule.codec.join([part[indices] for part in parts], spec), order="C"
            )
    return tensors


def _unused(rule: Rule, spec: ModelSpec) -> bool:
    """Whether this model does not use a tensor that its family has a rule for."""
    if spec.head is None and rule.paths[0].startswith("head"):
        return True
    return rule.paths[0] == SHARED_BIAS and not spec.tied


def _allocate(
    path: str, cuts: Sequence[tuple[slice, ...]], dtype: np.dtype, where: str
) -> list[Part]:
    shapes = [tuple(one.stop - one.start for one in index) for index in cuts]
    try:
        arrays = [aligned_empty(shape, dtype) for shape in shapes]
    except (MemoryError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{where}: {path!r} of the config's shape {list(shapes[0])} does not fit "
            "into memory; check the sizes in config.json, or use a larger machine."
        ) from error
    return [Part(index, array) for index, array in zip(cuts, arrays)]


def _check_finite(target: np.ndarray, stored: np.ndarray, about: str) -> None:
    if all_finite(target):
        return
    if not np.isfinite(stored).all():
        raise CheckpointError(
            f"{about} holds NaN or infinity, so every state would be NaN. The file is "
            "damaged, or the training had diverged when it was saved."
        )
    raise CheckpointError(
        f"{about} holds values too large for {target.dtype}; load it as "
        f"{'bfloat16' if target.dtype == np.float16 else 'float32'}."
    )


def _indexed_axes(path: str, family: Family) -> int:
    """The number of leading axes of a parameter that checkpoint names number."""
    counts = [rule.name.count("{}") for rule in family.rules if path in rule.paths]
    return max(counts, default=int(path.startswith("layers/")))


@cache  # a family has tens of rules
def _pattern(name: str) -> re.Pattern:
    return re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))


def _digest(stored: StoredTensor) -> str:
    raw = np.ascontiguousarray(stored.read()).reshape(-1).view(np.uint8)
    hasher = hashlib.sha256()
    for start in range(0, len(raw), PAGES):
        hasher.update(raw[start : start + PAGES])
        stored.release()
    return hasher.hexdigest()


def _check_kind(stored: StoredTensor, about: str) -> None:
    if stored.kind not in FLOATS.values():
        raise CheckpointError(
            f"{about} is {stored.kind}, expected float32, bfloat16 or float16. "
            "Quantised checkpoints need the torch engine: use --engine=torch, or "
            "load the original weights."
        )


def _split(
    rule: Rule,
    stored: StoredTensor,
    spec: ModelSpec,
    shapes: Mapping[str, tuple[int, ...]],
    about: str,
) -> list[tuple[str, np.ndarray]]:
    """(path, part) pairs of one tensor, shapes checked."""
    try:
        parts = rule.codec.split(stored.read(), spec)
    except ValueError:
        parts = ()
    expected = [shapes[path][rule.name.count("{}") :] for path in rule.paths]
    got = [tuple(part.shape) for part in parts]
    if got != [tuple(shape) for shape in expected]:
        raise CheckpointError(
            f"{about} has the wrong shape: it gives {got or 'nothing'}, the config "
            f"needs {expected} for {list(rule.paths)}."
        )
    return list(zip(rule.paths, parts))


def _check_complete(filled: Mapping[str, np.ndarray], where: str) -> None:
    missing = [
        path + "".join(f"[{number}]" for number in indices)
        for path, found in sorted(filled.items())
        for indices in np.argwhere(~found)
    ]
    if missing:
        raise CheckpointError(
            f"{where}: {len(missing)} parameters of the config have no tensor: "
            f"{', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''}. A shard "
            "may be missing, or the config belongs to another model."
        )
