"""The embedding modules of a sentence-transformers folder, without the model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helix_jax.errors import CheckpointError
from helix_jax.models.hub import fetch_files
from helix_jax.models.module_list import LIST, module_kinds, modules_root
from helix_jax.models.weights import digest, stored_tensors, weight_files
from helix_jax.textfile import read_json

# Pooling modes of sentence-transformers -> ours; its files spell them in two ways.
POOLING_MODES = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
}
_SENTENCE, _TOKENS = "sentence_embedding", "token_embeddings"
_FILES = ("config.json", "model.safetensors", "pytorch_model.bin")


class DenseModule(NamedTuple):
    """activation(x @ kernel + bias), after the pooling.

    Attributes:
      kernel: [D_in, D_out] float32.
      bias: [D_out] float32, or None.
      activation: "identity", "tanh", "relu", "gelu" or "silu".
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    activation: str


class Normalize(NamedTuple):
    """Scaling to unit length."""


class SentenceModules(NamedTuple):
    """How a text's states become one vector, and how the text is prompted.

    Attributes:
      pooling: how states after the last layer and its norm are pooled, as for `pool`.
      include_prompt: whether the states of the prompt's tokens are pooled too.
      after: the modules that follow, in order.
      weights: digest of the files of dense modules, or None.
      max_tokens: longer texts are truncated; None for no limit.
      prompts: name -> text put before each text.
      default_prompt: the name of the prompt used by default, or None.
    """

    pooling: str
    include_prompt: bool
    after: tuple[DenseModule | Normalize, ...]
    weights: str | None
    max_tokens: int | None
    prompts: dict[str, str]
    default_prompt: str | None


def read_modules(folder: Path, *, name: str) -> SentenceModules | None:
    """The modules of a sentence-transformers folder; None for other folders.

    Args:
      folder: of the model, see `transformer_folder`.
      name: the hub id that it came from, or another argument of `model_folder`.

    Raises:
      CheckpointError: a damaged file, or an unknown module, pooling, activation or
        setting, which the message names.
    """
    root = modules_root(folder)
    if root is None:
        return None
    file, kinds = root / LIST, module_kinds(root)
    wanted = [kind for kind, _ in kinds[:2]]
    if wanted != ["Transformer", "Pooling"] or root / kinds[0][1] != folder:
        raise CheckpointError(
            f"{file} begins with {', '.join(wanted) or 'nothing'}; expected a "
            "Transformer, in this folder or a subfolder, and a Pooling. Give "
            "--pooling for the states of the model alone."
        )
    inside = [f"{path}/{own}" for _, path in kinds[1:] for own in _FILES]
    root = fetch_files(name, root, inside)
    folder = root / kinds[0][1]
    pooling, include_prompt = _pooling(root / kinds[1][1])
    after: list[DenseModule | Normalize] = []
    files: list[Path] = []
    for kind, path in kinds[2:]:
        if kind == "Dense":
            after.append(_dense(root / path))
            files += weight_files(root / path)
        elif kind == "Normalize":
            _read(root / path / "config.json", _between(_SENTENCE), missing={})
            after.append(Normalize())
        elif kind != "Dropout":
            raise CheckpointError(
                f"{file} has a module {kind}, which is not supported after the "
                "pooling; supported are Dense, Normalize and Dropout. Give --pooling "
                "for the states of the model alone."
            )
    prompts, default = _prompts(root / "config_sentence_transformers.json")
    return SentenceModules(
        pooling,
        include_prompt,
        tuple(after),
        digest(files) if files else None,
        _max_tokens(folder),
        prompts,
        default,
    )


def _read(
    file: Path, known: Mapping[str, tuple | None], *, missing: Any = None
) -> dict[str, Any]:
    """A config with known keys only; a tuple lists the accepted values."""
    if missing is not None and not file.is_file():
        return missing
    config = read_json(file, raises=CheckpointError)
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} must be an object; fetch it again.")
    for key, value in config.items():
        if key not in known:
            raise CheckpointError(f"{file}: {key!r} is {value!r}, which is unknown.")
        accepted = known[key]
        if accepted is not None and value not in (*accepted, None):
            raise CheckpointError(
                f"{file}: {key!r} is {value!r}; supported are "
                f"{', '.join(map(repr, accepted))}."
            )
    return config


def _between(name: str) -> dict[str, tuple]:
    return {"module_input_name": (name,), "module_output_name": (name,)}


def _pooling(folder: Path) -> tuple[str, bool]:
    sizes = ("embedding_dimension", "word_embedding_dimension")
    flags = dict.fromkeys(_SWITCHES, (True, False))
    known = dict.fromkeys((*sizes, "pooling_mode"), None) | flags
    file = folder / "config.json"
    config = _read(file, known | {"include_prompt": (True, False)})
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _SWITCHES.items() if config.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in POOLING_MODES:
        raise CheckpointError(
            f"{file}: its pooling is {', '.join(map(repr, modes))}; supported is one "
            f"of {', '.join(POOLING_MODES)}. Give --pooling for another."
        )
    return POOLING_MODES[modes[0]], bool(config.get("include_prompt", True))


def _dense(folder: Path) -> DenseModule:
    known: dict[str, tuple | None] = {
        **dict.fromkeys(("in_features", "out_features", "bias"), None),
        "activation_function": tuple(_ACTIVATIONS),
        "use_residual": (False,),
        **_between(_SENTENCE),
    }
    config = _read(folder / "config.json", known)
    activation = config.get("activation_function")
    tensors = {
        stored.name.removeprefix("linear."): np.asarray(stored.read(), np.float32)
        for stored in stored_tensors(weight_files(folder))
    }
    kernel, bias = tensors.get("weight"), tensors.get("bias")
    shape = config.get("out_features"), config.get("in_features")
    names = {"weight", "bias"} if config.get("bias", True) else {"weight"}
    if set(tensors) != names or kernel is None or kernel.shape != shape:
        raise CheckpointError(
            f"{folder} must hold a linear layer with {sorted(names)}, {shape[1]} -> "
            f"{shape[0]}; it has { ({n: list(t.shape) for n, t in tensors.items()}) }."
        )
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(f"{folder} holds NaN or infinity; fetch it again.")
    named = "tanh" if activation is None else _ACTIVATIONS[activation]
    return DenseModule(np.ascontiguousarray(kernel.T), bias, named)


def _max_tokens(folder: Path) -> int | None:
    known: dict[str, tuple | None] = {
        "max_seq_length": None,
        "do_lower_case": (True, False),
        "transformer_task": ("feature-extraction",),
        "modality_config": None,
        "module_output_name": (_TOKENS,),
        "model_args": ({},),
        "tokenizer_args": ({},),
        "config_args": ({},),
    }
    limits = []
    for file in sorted(folder.glob("sentence_*_config.json"))[:1]:
        config = _read(file, known)
        text = {"method": "forward", "method_output_name": "last_hidden_state"}
        if config.get("modality_config", {"text": text}) != {"text": text}:
            raise CheckpointError(
                f"{file}: modality_config is {config['modality_config']}; supported is "
                f"only text, with {text}."
            )
        if config.get("do_lower_case") and not _lower_cases(folder):
            raise CheckpointError(
                f"{file}: do_lower_case is True, but the tokenizer itself keeps "
                "capitals, which is not supported; give --pooling and texts in lower "
                "case."
            )
        limit = config.get("max_seq_length")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise CheckpointError(
                f"{file}: max_seq_length is {limit!r}; expected a number of tokens. "
                "Correct it, or give --pooling."
            )
        limits.append(limit)
    if limits in ([], [None]):
        file = folder / "tokenizer_config.json"
        own = read_json(file, raises=CheckpointError) if file.is_file() else {}
        limits = [own.get("model_max_length")]
    # Tokenizers without a limit store a number of 30 digits.
    return limits[0] if isinstance(limits[0], int) and limits[0] < 2**31 else None


def _lower_cases(folder: Path) -> bool:
    file = folder / "tokenizer.json"
    record = read_json(file, raises=CheckpointError) if file.is_file() else {}
    text = json.dumps(record.get("normalizer"))
    return '"lowercase": true' in text or '"type": "Lowercase"' in text


def _prompts(file: Path) -> tuple[dict[str, str], str | None]:
    config = read_json(file, raises=CheckpointError) if file.is_file() else {}
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    texts = isinstance(prompts, dict) and all(
        isinstance(text, str) for text in prompts.values() if text is not None
    )
    if not texts or (default is not None and default not in prompts):
        raise CheckpointError(
            f"{file}: prompts must map names to texts, with default_prompt_name one of "
            f"the names; got {prompts!r} and {default!r}."
        )
    return {name: text or "" for name, text in prompts.items()}, default
