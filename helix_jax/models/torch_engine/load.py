"""Hugging Face folders and hub ids -> networks that torch runs."""

import re
from pathlib import Path
from typing import Any

from helix_jax.errors import CheckpointError
from helix_jax.models.checkpoint import DTYPES, find_source
from helix_jax.models.hub import fetch_weights, model_name, resolved_revision
from helix_jax.models.torch_engine.ending import find_ending
from helix_jax.models.torch_engine.library import refusing, torch_library, versions
from helix_jax.models.torch_engine.spec import (
    network_class,
    packed_file,
    read_torch_config,
    spec_of,
    text_part,
)
from helix_jax.models.torch_engine.states import TorchModel
from helix_jax.models.weights import digest, weight_files


def load_torch_model(
    name_or_path: str, *, dtype: str = "float32", revision: str | None = None
) -> TorchModel:
    """Load a Hugging Face folder or hub id for torch, as transformers loads it.

    Args:
      name_or_path: a local folder with config.json and weights, quantised ones too, or
        with one GGUF file; or a hub id.
      dtype: float32, bfloat16 or float16, of what is not quantised.
      revision: branch, tag or commit of a hub id.

    Returns:
      TorchModel, on a GPU if torch has one.

    Raises:
      CheckpointError: torch is not installed, no such folder, a model with its own
        code, an adapter, weights that do not fit, or a network whose streams cannot be
        identified.
    """
    torch = torch_library(name_or_path)
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype must be one of {list(DTYPES)}, got {dtype!r}.")
    source = find_source(name_or_path, revision)
    if source.adapter is not None:
        raise CheckpointError(
            f"{source.adapter} holds an adapter, which the torch engine does not "
            "merge; merge it with peft (merge_and_unload, save_pretrained) first."
        )
    config = read_torch_config(source.base)
    folder = fetch_weights(source.base_name, source.base)
    packed = packed_file(folder)
    files = [folder / packed] if packed else weight_files(folder)
    whole = _load(folder, config, getattr(torch, dtype), packed)
    network = text_part(whole)
    spec = spec_of(network, folder)
    ending = find_ending(network, spec.width, spec.vocab_size)
    if ending.num_layers != spec.num_layers:
        raise CheckpointError(
            f"{folder}: {spec.family} gives states of {ending.num_layers} layers, but "
            f"its config says {spec.num_layers}, so layers cannot be numbered with "
            "certainty; the torch engine does not run it."
        )
    record = {
        "model": model_name(name_or_path),
        "revision": resolved_revision(source.base),
        "dtype": dtype,
        "weights": digest(files),
        "config": None if packed else digest([folder / "config.json"]),
        "engine": versions(),
    }
    return TorchModel(spec, network, ending, record, source.base)


def _load(folder: Path, config: Any, dtype: Any, packed: str | None) -> Any:
    """The network with its weights, on its device.

    Raises:
      CheckpointError: transformers refuses them, or leaves parameters at random values.
    """
    torch = torch_library(str(folder))
    # float32 must keep all its bits; matrix products keep them by default.
    torch.backends.cudnn.allow_tf32 = False
    named = {"gguf_file": packed} if packed else {"config": config}
    gpu = torch.cuda.is_available()
    quantised = packed or getattr(config, "quantization_config", None)
    if gpu and quantised:  # which cannot be moved once they are loaded
        named["device_map"] = "cuda"
    with refusing(f"load {folder}"):
        network, info = network_class(config).from_pretrained(
            folder,
            dtype=dtype,
            trust_remote_code=False,
            output_loading_info=True,
            **named,
        )
        if gpu and not quantised:
            network = network.to("cuda")
    reads = {id(parameter) for parameter in text_part(network).parameters()}
    parameters = dict(network.named_parameters())
    random = sorted(
        name
        for name in info["missing_keys"]
        # Poolers come after the hidden states, and checkpoints may lack them.
        if "pooler" not in name and id(parameters.get(name)) in reads
    )
    wrong = random + sorted(str(key) for key in info["mismatched_keys"])
    if wrong:
        raise CheckpointError(
            f"{folder}: {len(wrong)} parameters of a {config.model_type} have no "
            f"tensor of their shape in the weights: {', '.join(wrong[:6])}. The config "
            "belongs to another model, or a file is missing."
        )
    names = [name for name, _ in network.named_modules()]
    blocks = {*names, *(f"{network.base_model_prefix}.{name}" for name in names)}
    unread = sorted(
        key
        for key in map(str, info["unexpected_keys"])
        if key.endswith(".weight") and _block(key) in blocks
    )
    if unread:
        raise CheckpointError(
            f"{folder}: transformers' {config.model_type} leaves {len(unread)} tensors "
            f"of its blocks unread: {', '.join(unread[:6])}. It computes something "
            "other than the model that they were trained in."
        )
    return network.eval().requires_grad_(False)


def _block(key: str) -> str:
    """The name of a tensor's block, up to its number; "no block" if it is in none."""
    found = re.match(r".*?\.\d+(?=\.)", key)
    return found[0] if found else "no block"
