"""What a folder holds that is no model folder, or more than one, and what to do."""

import logging
from pathlib import Path

from helix_jax.errors import CheckpointError
from helix_jax.textfile import read_json

LOG = logging.getLogger(__name__)

# Modules of sentence-transformers that the hidden states and their pooling stand for.
_WITHOUT_WEIGHTS = ("Transformer", "Pooling", "Normalize", "Dropout")


def explain_folder(folder: Path) -> str:
    """One line about a folder without config.json: what it is, and what to do."""
    about = f"{folder} has no config.json"
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    packed = sorted(name for name in names if name.endswith(".gguf"))
    if packed:
        return (
            f"{about}: it holds GGUF weights, which the engine jax does not read. Take "
            "--engine=torch, or convert them with transformers: AutoModelForCausalLM."
            f"from_pretrained({str(folder)!r}, gguf_file={packed[0]!r})."
            "save_pretrained(NEW), the tokenizer likewise, and give NEW."
        )
    if "params.json" in names:
        return (
            f"{about} but params.json: weights in the format of the model's authors. "
            "Give the repository in transformers' format (often the same name with "
            "-hf), or convert them with transformers.models.llama."
            "convert_llama_weights_to_hf."
        )
    if "model_index.json" in names:
        return f"{about} but model_index.json: a diffusion pipeline, no language model."
    inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inside:
        return (
            f"{about}, its folders {', '.join(inside[:6])} have; name one of them, for "
            f"example {folder / inside[-1]}."
        )
    weights = sorted(name for name in names if name.endswith((".safetensors", ".bin")))
    if weights:
        return (
            f"{about} but {', '.join(weights[:3])}; fetch config.json from where the "
            "weights came from."
        )
    return f"{about}; is it a model folder? Name one with config.json and weights."


def explain_weights(folder: Path) -> str:
    """One line about a folder without weights that can be read."""
    other = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in (".h5", ".msgpack", ".gguf", ".onnx", ".pt", ".pth", ".ckpt")
        or path.suffix in (".safetensors", ".bin")
    )
    found = f", found {', '.join(other[:6])}" if other else ""
    return (
        f"{folder} has no weights: expected model.safetensors, pytorch_model.bin, or "
        f"an index.json with shards{found}. Fetch them, or write them again with "
        "save_pretrained of transformers."
    )


def note_modules(folder: Path) -> None:
    """Say which parts of a sentence encoder come after the hidden states.

    Raises:
      CheckpointError: modules.json is damaged.
    """
    file = folder / "modules.json"
    if not file.is_file():
        return
    modules = read_json(file, raises=CheckpointError)
    try:
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    except (TypeError, KeyError) as error:
        raise CheckpointError(
            f"{file} must be a list of modules with a type each; fetch it again."
        ) from error
    trained = [kind for kind in kinds if kind not in _WITHOUT_WEIGHTS]
    if trained:
        LOG.warning(
            "%s: its sentence embeddings pass through %s after pooling, which are no "
            "part of the hidden states that are read here.",
            folder,
            ", ".join(trained),
        )
