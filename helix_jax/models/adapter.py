"""LoRA adapters of peft, merged into the weights that they were trained on.

    W' = W + s B A,    s = alpha / r, or alpha / sqrt(r) with use_rslora

and tensors that an adapter stores whole (modules_to_save, trained biases) replace the
base's. Other kinds of adapters, and LoRA variants that compute something else, are
refused by name.

Reference: Hu et al. 2021, arXiv 2106.09685, equation 3; rslora: Kalajdzievski 2023,
arXiv 2312.03732.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import CheckpointError
from helix_jax.models.adapter_config import CONFIG, by_pattern, is_target, read_settings
from helix_jax.models.convert import Match, match_name
from helix_jax.models.families.common import Family
from helix_jax.models.rules import KEEP, QKV_COLUMNS, Rule
from helix_jax.models.spec import ModelSpec
from helix_jax.models.weights import FLOATS, StoredTensor, digest, stored_tensors

_FACTOR = re.compile(
    r"(?P<module>.+)\.lora_((?P<side>A|B)\.weight|(?P<table>embedding_[AB]))"
)
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


class Adapter(NamedTuple):
    """An adapter that can be merged.

    Attributes:
      folder: where it is.
      config: its adapter_config.json.
      factors: module -> {"A": ..., "B": ...} tensors, and {"embedding_A": ...} ones.
      replaced: checkpoint name -> the tensor that replaces it.
      files: its weight files.
    """

    folder: Path
    config: dict[str, Any]
    factors: dict[str, dict[str, StoredTensor]]
    replaced: dict[str, StoredTensor]
    files: list[Path]

    @property
    def base(self) -> str | None:
        """The name of the model that it was trained on."""
        return self.config.get("base_model_name_or_path") or None

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The adapter's part of a model's fingerprint; JSON-able."""
        settings = self.folder / CONFIG
        return {"weights": digest(self.files), "config": digest([settings])}


def read_adapter(folder: Path) -> Adapter:
    """Read the adapter of a folder whose weights are already fetched.

    Raises:
      CheckpointError: a kind or a setting that cannot be merged exactly, missing or
        damaged weights, tensors that do not belong to a LoRA adapter.
    """
    config = read_settings(folder)
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(
            f"{folder} has {CONFIG} but no adapter weights: expected "
            f"{' or '.join(WEIGHTS)}. Fetch them, or remove {CONFIG} if the adapter is "
            "already merged into the weights beside it."
        )
    factors: dict[str, dict[str, StoredTensor]] = {}
    replaced = {}
    for stored in stored_tensors([file]):
        name = stored.name.removeprefix("base_model.model.")
        if stored.kind not in FLOATS.values():
            raise CheckpointError(f"{file}: {stored.name} is {stored.kind}, not float.")
        values = np.array(stored.read(), np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{file}: {stored.name} holds NaN or infinity, so every state would be "
                "NaN. The file is damaged, or the training had diverged."
            )
        # Read at once: adapters are small, and merging asks for them in any order.
        kept = stored._replace(read=partial(_same, values))
        if match := _FACTOR.fullmatch(name):
            side = match["side"] or match["table"]
            factors.setdefault(match["module"], {})[side] = kept
        elif "lora_" in name or "trainable_tokens" in name:
            raise CheckpointError(
                f"{file}: tensor {stored.name!r} belongs to a variant of LoRA that is "
                "not merged here; merge it with merge_and_unload() of peft and save "
                "the result."
            )
        else:
            name = re.sub(r"\.(base_layer|modules_to_save(\.default)?)\.", ".", name)
            replaced[name] = kept
    for module, pair in factors.items():
        if set(pair) not in ({"A", "B"}, {"embedding_A", "embedding_B"}):
            raise CheckpointError(
                f"{file}: {module} has only {sorted(pair)}; fetch it again."
            )
    if not factors and not replaced:
        raise CheckpointError(f"{file} holds no tensors; was the adapter saved?")
    return Adapter(folder, config, factors, replaced, [file])


def merged_tensors(
    tensors: Iterable[StoredTensor], adapter: Adapter, family: Family, spec: ModelSpec
) -> Iterator[StoredTensor]:
    """The tensors of the base with the adapter merged into them, in float32.

    Args:
      tensors: of the base checkpoint, streamed.
      adapter: what to merge.
      family: of the base.
      spec: its architecture.

    Raises:
      CheckpointError: a module that the base does not have, a rank other than the
        config's, shapes that do not fit, targets without weights, or a change to only
        one of two tensors that the config ties.
    """
    factors, replaced = (
        _known({_meaning(name + suffix, family): name for name in names}, adapter)
        for names, suffix in ((adapter.factors, ".weight"), (adapter.replaced, ""))
    )
    _check_ties(factors, replaced, adapter, spec)
    left = dict(factors)
    for stored in tensors:
        match = _meaning(stored.name, family)
        if match is None or match.rule is None:
            yield stored
            continue
        if match in replaced:
            new = adapter.replaced[replaced.pop(match)]
            stored = new._replace(name=stored.name, kind="float32")
        module = left.pop(match, None)
        if module is not None:
            delta = _delta(adapter, module, match.rule)
            stored = _sum(stored, delta, adapter, module)
        elif match not in factors and is_target(adapter.config, stored.name):
            raise CheckpointError(
                f"{adapter.folder}: target_modules name {stored.name}, for which the "
                "adapter holds no weights; fetch it again."
            )
        yield stored
    if left:
        raise CheckpointError(
            f"{adapter.folder} changes {sorted(left.values())[:4]}, which the base "
            "does not have; it was trained on another model."
        )
    for name in replaced.values():  # such as a head that the base does not store
        yield adapter.replaced[name]._replace(name=name, kind="float32")


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _meaning(name: str, family: Family) -> Match | None:
    """The meaning of a name, with or without the prefix of full checkpoints."""
    match = match_name(name, family)
    return match and match._replace(bare=False)


def _known(found: Mapping[Match | None, str], adapter: Adapter) -> dict[Match, str]:
    """Meanings -> names, without parts that are not read here (classifiers, vision)."""
    if None in found:
        raise CheckpointError(
            f"{adapter.folder} changes {found[None]!r}, which this model does not "
            f"have; it was trained on {adapter.base or 'another model'}."
        )
    return {
        match: name
        for match, name in found.items()
        if match is not None and match.rule is not None
    }


def _delta(adapter: Adapter, module: str, rule: Rule) -> np.ndarray:
    """s B A in the layout of the checkpoint's tensor."""
    pair, config = adapter.factors[module], adapter.config
    embedding = "embedding_A" in pair
    down, up = (
        pair[f"embedding_{side}" if embedding else side].read() for side in "AB"
    )
    rank = by_pattern(config.get("rank_pattern"), module, config.get("r", 8))
    alpha = by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 8))
    if down.ndim != 2 or up.ndim != 2 or not len(down) == up.shape[1] == rank:
        raise CheckpointError(
            f"{adapter.folder}: {module} has factors {list(down.shape)} and "
            f"{list(up.shape)}, but its config says rank {rank}."
        )
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    delta = np.float32(scale) * (up @ down)
    kept = rule.codec in (KEEP, QKV_COLUMNS)  # Conv1D and embeddings: [in, out]
    return delta.T if kept else delta


def _sum(
    stored: StoredTensor, delta: np.ndarray, adapter: Adapter, module: str
) -> StoredTensor:
    if stored.shape != delta.shape:
        raise CheckpointError(
            f"{adapter.folder}: the adapter of {module} needs a tensor of shape "
            f"{list(delta.shape)}, the base has {list(stored.shape)}; it was trained "
            f"on {adapter.base or 'another model'}."
        )
    if stored.kind not in FLOATS.values():
        return stored  # refused when it is read

    def read() -> np.ndarray:
        return np.asarray(stored.read(), np.float32) + delta

    return stored._replace(kind="float32", read=read)


def _check_ties(
    factors: Mapping[Match, str],
    replaced: Mapping[Match, str],
    adapter: Adapter,
    spec: ModelSpec,
) -> None:
    """Refuse a change to only one of two tensors that the config ties."""
    added, whole = (
        {one.rule.paths[0]: name for one, name in found.items() if one.rule is not None}
        for found in (factors, replaced)
    )
    tied = {"embed", "head/kernel"}
    changed = {path: name for path, name in (added | whole).items() if path in tied}
    both = tied <= whole.keys() - added.keys()
    if spec.tied and spec.head is not None and changed and not both:
        raise CheckpointError(
            f"{adapter.folder} changes {sorted(changed.values())} alone, which the "
            "config ties to "
            f"{'the embedding' if 'embed' not in changed else 'the head'}; "
            "merge it with peft, set tie_word_embeddings to false and save the result."
        )
